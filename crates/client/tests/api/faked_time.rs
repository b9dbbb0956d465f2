//! The real program under a wall clock that lies (libfaketime): turned back,
//! frozen, dead, far ahead. Its monotonic clocks tell the truth.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::{Clock as _, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::nginx::Nginx;
use crate::program::Program;
use crate::vendor::Vendor;

const PAID: &str = "module.map_view";

/// What the wall clock shows: an offset such as `+10d` or `-400d`, or an
/// instant at which it begins, or at which it stands still.
const RIGHT: &str = "+0";
const DEAD: &str = "@1970-01-01 00:00:20";
const END_OF_32_BITS: &str = "@2038-01-19 03:14:00";

/// A License Client whose wall clock a test sets, and its vendor.
struct Site {
    vendor: Vendor,
    program: Option<Program>,
    directory: TempDir,
    flags: Vec<String>,
}

impl Site {
    /// With a lease of `lease` and grace of `grace` seconds, so that a test can
    /// wait for their end.
    async fn new(lease: i64, grace: i64) -> Self {
        let now = SystemClock.now();
        let vendor = Vendor::start_at(now, TimeDelta::seconds(lease), TimeDelta::seconds(grace));
        let vendor = vendor.await;
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("kept").display().to_string();
        let flags = [
            "--license-trusted-keys",
            &vendor.trusted_keys(),
            "--license-api-url",
            &vendor.url,
            "--state-dir",
            &state_dir,
        ];
        let flags = flags.map(str::to_owned).to_vec();
        let site = Self {
            vendor,
            program: None,
            directory,
            flags,
        };
        site.set_wall(RIGHT);
        site
    }

    fn timestamp_file(&self) -> PathBuf {
        self.directory.path().join("wall")
    }

    fn set_wall(&self, to: &str) {
        std::fs::write(self.timestamp_file(), format!("{to}\n")).unwrap();
    }

    async fn start(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let file = self.timestamp_file().display().to_string();
        let environment = [
            ("LD_PRELOAD", library()),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        self.program = Some(Program::start_with(&flags, &environment).await);
    }

    /// Ends the program and starts it again on what it has kept.
    async fn restart(&mut self) {
        self.running().terminate();
        self.start().await;
    }

    fn running(&mut self) -> &mut Program {
        self.program.as_mut().unwrap()
    }

    fn program(&self) -> &Program {
        self.program.as_ref().unwrap()
    }

    async fn activate(&self) {
        let request = IssueRequest::of(Tier::Professional);
        let key = self.vendor.issue(request).await;
        let body = json!({ "licenseKey": key });
        let (status, answer) = self
            .program()
            .send(Method::POST, "/api/license/activate", &body)
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn validate(&self) -> Value {
        // The vendor's clock tells the truth.
        self.vendor.clock.set_wall(SystemClock.now());
        let path = "/api/license/validate";
        let (_, answer) = self.program().send(Method::POST, path, &json!({})).await;
        serde_json::from_str(&answer).unwrap()
    }

    async fn is_on(&self, feature: &str) -> bool {
        let body = json!({ "featureKey": feature });
        let path = "/api/license/feature/check";
        let (_, answer) = self.program().send(Method::POST, path, &body).await;
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["available"] == true
    }

    async fn standing(&self) -> String {
        let status = self.program().json("/api/license/status").await;
        status["standing"].as_str().unwrap().to_owned()
    }

    /// How long until the licensed feature is off; recording stays on.
    async fn goes_off_after(&self, at_most: Duration) -> Duration {
        let start = Instant::now();
        while self.is_on(PAID).await {
            assert!(start.elapsed() < at_most, "still on after {at_most:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(self.is_on("module.recording_basic").await);
        start.elapsed()
    }
}

/// Where Debian puts it, on any machine.
pub fn library() -> String {
    let found = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = found.into_iter().find(|path| path.exists());
    let found = found.expect("faketime is installed by 'cargo xtask test'");
    found.display().to_string()
}

/// The program reads its clocks once a second, in real time, which is what these tests are about.
async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_site_is_activated_regardless_of_its_wall_clock() {
    for wall in [RIGHT, DEAD, END_OF_32_BITS, "-400d", "+30d"] {
        let mut site = Site::new(3600, 3600).await;
        site.set_wall(wall);
        site.start().await;
        assert!(site.is_on("module.live_view").await, "{wall}");
        site.activate().await;
        assert!(site.is_on(PAID).await, "{wall}");
        site.restart().await;
        assert_eq!(site.standing().await, "active", "{wall}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sites_wall_clock_may_be_stepped_anywhere() {
    let mut site = Site::new(3600, 3600).await;
    site.start().await;
    site.activate().await;
    for wall in [
        "-10m",
        "-400d",
        DEAD,
        "+25h",
        "+400d",
        END_OF_32_BITS,
        RIGHT,
    ] {
        site.set_wall(wall);
        pause(1.3).await;
        assert_eq!(site.standing().await, "active", "{wall}");
        assert!(site.is_on(PAID).await, "{wall}");
    }
    assert_eq!(site.validate().await["standing"], "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_turned_back_or_frozen_gains_nothing() {
    for wall in ["-10d", DEAD, "2026-11-25 00:00:00"] {
        let mut site = Site::new(2, 3).await;
        site.start().await;
        site.activate().await;
        site.vendor.go_away().await;
        site.set_wall(wall);
        let took = site.goes_off_after(Duration::from_secs(9)).await;
        assert!(took > Duration::from_secs(2), "{wall}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_is_turned_back_at_every_restart_gains_nothing() {
    let mut site = Site::new(2, 4).await;
    site.start().await;
    site.activate().await;
    site.vendor.go_away().await;
    let start = Instant::now();
    let mut restarts = 0;
    while site.is_on(PAID).await {
        assert!(start.elapsed() < Duration::from_secs(12));
        restarts += 1;
        site.set_wall(&format!("-{restarts}d"));
        site.restart().await;
        pause(0.5).await;
    }
    assert!(restarts >= 2, "{restarts}");
    assert!(start.elapsed() > Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_leaps_ahead_takes_nothing_away_before_its_time() {
    let mut site = Site::new(2, 5).await;
    site.start().await;
    site.activate().await;
    site.vendor.go_away().await;
    site.set_wall("+10d");
    let took = site.goes_off_after(Duration::from_secs(12)).await;
    assert!(took > Duration::from_secs(4), "{took:?}");
    // It poisons nothing: with the vendor back, all is as it was.
    site.vendor.clock.set_wall(SystemClock.now());
    site.vendor.come_back().await;
    assert_eq!(site.validate().await["standing"], "active");
    assert!(site.is_on(PAID).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_that_has_passed_once_has_passed() {
    let mut site = Site::new(100_000, 100_000).await;
    let expires_at = Some(SystemClock.now().trunc_subsecs(0) + TimeDelta::hours(1));
    let request = IssueRequest {
        expires_at,
        ..IssueRequest::of(Tier::Professional)
    };
    let key = site.vendor.issue(request).await;
    site.start().await;
    let body = json!({ "licenseKey": key });
    let path = "/api/license/activate";
    site.program().send(Method::POST, path, &body).await;
    assert!(site.is_on(PAID).await);
    site.vendor.go_away().await;
    // Two hours ahead are believed, and are not taken back.
    site.set_wall("+2h");
    site.goes_off_after(Duration::from_secs(5)).await;
    for wall in [RIGHT, "-10d"] {
        site.set_wall(wall);
        site.restart().await;
        pause(1.2).await;
        assert_eq!(site.standing().await, "lapsed");
        assert!(!site.is_on(PAID).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_works_with_a_clock_that_is_dead_or_far_ahead() {
    let mut site = Site::new(3600, 3600).await;
    let nginx = Nginx::with_tls(&site.vendor.url).await;
    let (url, ca) = (nginx.url.clone() + "/api", nginx.certificate());
    site.flags[3] = url;
    site.flags.extend(["--license-ca-file".to_owned(), ca]);
    site.start().await;
    site.activate().await;
    for wall in [DEAD, END_OF_32_BITS, "-400d", "+4000d"] {
        site.set_wall(wall);
        site.restart().await;
        pause(1.2).await;
        let answer = site.validate().await;
        assert_eq!(answer["standing"], "active", "{wall}: {answer}");
        let status = site.program().json("/api/license/status").await;
        assert_eq!(status["lastFailure"], Value::Null, "{wall}");
        let validated = status["lastValidated"].as_str().unwrap().to_owned() + "Z";
        let validated: DateTime<Utc> = validated.parse().unwrap();
        assert!(
            (SystemClock.now() - validated).abs() < TimeDelta::minutes(2),
            "{wall}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_trusted_keys_the_wall_clock_counts_as_it_always_did() {
    let mut site = Site::new(3600, 3600).await;
    site.flags.drain(..2);
    site.start().await;
    site.activate().await;
    site.vendor.go_away().await;
    site.validate().await;
    assert_eq!(site.standing().await, "grace");
    site.set_wall("+73h");
    site.goes_off_after(Duration::from_secs(5)).await;
    site.set_wall(RIGHT);
    pause(0.2).await;
    assert!(site.is_on(PAID).await);
}
