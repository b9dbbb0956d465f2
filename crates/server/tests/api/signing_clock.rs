//! A License Server whose clock is wrong signs nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::offline::{OfflineRequest, Purpose, RequestFile};
use license_core::signing_clock::ClockDoubt;
use license_server::app::App;
use license_server::audit::{Actor, Change};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::clock::{AcceptError, accept, status, watch};
use license_server::licensing::history::forget;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::key_changes::rotate_in;
use license_server::licensing::keys_error::KeysError;
use license_server::licensing::offline::sign;
use license_server::open::OpenError;
use license_service::clock::{Clock as _, ManualClock, SystemClock};
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::gates::process::{Process, free_port};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, NONCE, Vendor, system_info};

on_both_engines! {
    a_clock_that_shows_2038_for_a_minute_signs_nothing;
    a_server_that_starts_in_2038_signs_nothing_until_its_clock_is_right_or_accepted;
    a_clock_that_is_behind_is_noticed_where_the_database_has_one;
    a_server_whose_clock_is_wrong_forgets_nothing;
    a_server_that_starts_behind_the_recorded_time_signs_nothing_until_its_clock_is_right;
}

fn end_of_32_bits() -> DateTime<Utc> {
    "2038-01-19T03:14:00Z".parse().unwrap()
}

async fn ready(vendor: &Vendor) -> (u16, Value) {
    let url = format!("{}/readyz", vendor.url);
    let answer = vendor.http.get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Every call from a site must be retried, and nothing has changed.
async fn nothing_is_signed(vendor: &Vendor, key: &str) {
    let body = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "installationName": "Test", "installationVersion": "1.0.0",
        "usageMetrics": {"camerasInUse": 1, "usersActive": 2, "storageUsedGb": 3},
        "systemInfo": system_info(),
    });
    let unknown = json!({"licenseKey": "hello", "hardwareId": "machine"});
    let seats = "SELECT CAST(last_seq AS VARCHAR(20)) FROM seats ORDER BY id";
    let before = vendor.database.texts(seats).await;
    for (call, body) in [
        ("activate", &body),
        ("validate", &body),
        ("heartbeat", &body),
        ("deactivate", &body),
        ("validate", &unknown),
    ] {
        let url = format!("{}/api/licenses/{call}", vendor.url);
        let answer = vendor.http.post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{call}");
        assert_eq!(answer.headers()["retry-after"], "60");
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["code"], "not_signing");
    }
    assert_eq!(vendor.database.texts(seats).await, before);
    let file = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: key.to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        created_at: vendor.clock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let lease = TimeDelta::days(90);
    let file = RequestFile::read(&file.to_file()).unwrap();
    let signed = sign(&vendor.app, file, lease, Actor::CommandLine).await;
    assert!(signed.is_err(), "{signed:?}");
    let rotated = rotate_in(&vendor.app, TimeDelta::zero(), Actor::CommandLine).await;
    assert!(matches!(rotated, Err(KeysError::Clock(_))), "{rotated:?}");
    assert_eq!(ready(vendor).await.0, 503);
}

async fn a_clock_that_shows_2038_for_a_minute_signs_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    assert_eq!(ready(&vendor).await.0, 200);
    let right = vendor.clock.now();
    for wrong in [
        end_of_32_bits(),
        right + TimeDelta::minutes(11),
        right + TimeDelta::days(2),
    ] {
        vendor.clock.set_wall(wrong);
        nothing_is_signed(&vendor, &key).await;
        // The job records nothing of it.
        watch(&vendor.app).await.unwrap();
        let (_, text) = ready(&vendor).await;
        let clock = text["clock"].as_str().unwrap();
        assert!(
            clock.contains("ahead") || clock.contains("forward"),
            "{clock}"
        );
        vendor.clock.set_wall(right);
        assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");
        assert_eq!(ready(&vendor).await.0, 200);
    }
    vendor.clock.set_wall(right + TimeDelta::minutes(9));
    assert_eq!(vendor.validate(&key, "machine").await.word(), "yes");
    let restarted = vendor.twin().await;
    assert_eq!(restarted.validate(&key, "machine").await.word(), "yes");
    restarted.stop().await;
    vendor.end().await;
}

async fn a_server_whose_clock_is_wrong_forgets_nothing(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    vendor.heartbeat(&key, "machine", 1).await;
    vendor.free(&key, "machine").await.unwrap();
    watch(&vendor.app).await.unwrap();
    let right = vendor.clock.now();
    let kept = async || {
        let usage = vendor.look(&format!("/licenses/{key}/usage")).await;
        let usage = usage["usage"].as_array().unwrap().len();
        (vendor.seat(&key, "machine").await.is_some(), usage)
    };
    // While it runs, and when it starts.
    vendor.clock.set_wall(end_of_32_bits());
    forget(&vendor.app).await.unwrap();
    vendor.clock.set_wall(right);
    assert_eq!(kept().await, (true, 1));
    let clock = Arc::new(ManualClock::at(end_of_32_bits()));
    let wrong = vendor.twin_with(clock.clone()).await;
    forget(&wrong.app).await.unwrap();
    assert_eq!(kept().await, (true, 1));
    // The machine's lease still counts.
    let moved = vendor.activate(&key, "another").await;
    assert_eq!(moved.moves_left(), 2);
    wrong.stop().await;
    // With the right clock, it is all forgotten in time.
    vendor.clock.advance(TimeDelta::days(401));
    forget(&vendor.app).await.unwrap();
    assert_eq!(kept().await, (false, 0));
    vendor.end().await;
}

async fn a_server_that_starts_in_2038_signs_nothing_until_its_clock_is_right_or_accepted(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    watch(&vendor.app).await.unwrap();
    let right = vendor.clock.now();

    // Here both clocks of the machines show 2038: only the record says otherwise.
    let clock = Arc::new(ManualClock::at(end_of_32_bits()));
    let wrong = vendor.twin_with(clock.clone()).await;
    nothing_is_signed(&wrong, &key).await;
    let seen = status(&wrong.app.store, clock.clone()).await.unwrap();
    let doubt = seen.doubt.unwrap();
    assert!(doubt.contains("license-server clock accept"), "{doubt}");
    assert!(doubt.contains("newest recorded time 2026-11-24"), "{doubt}");
    if engine == Engine::Sqlite {
        clock.set_wall(right + TimeDelta::hours(1));
        assert_eq!(wrong.validate(&key, "machine").await.word(), "yes");
    }
    wrong.stop().await;

    // A server that was off for a week is correct, and staff confirm it.
    let clock = Arc::new(ManualClock::at(right + TimeDelta::days(7)));
    let rested = vendor.twin_with(clock.clone()).await;
    nothing_is_signed(&rested, &key).await;
    let change = |clock: &ManualClock| Change {
        by: Actor::CommandLine,
        at: clock.now(),
    };
    let store = &rested.app.store;
    accept(store, &*clock, &change(&clock)).await.unwrap();
    // Nor does the other server sign by it, whose clock shows another time.
    watch(&rested.app).await.unwrap();
    watch(&vendor.app).await.unwrap();
    assert_eq!(rested.validate(&key, "machine").await.word(), "yes");
    assert_eq!(ready(&rested).await.0, 200);
    let log = rested.audit("").await;
    assert_eq!(log[0]["action"], "clock_accepted");
    assert_eq!(log[0]["actor"], "command line");
    clock.set_wall(end_of_32_bits());
    nothing_is_signed(&rested, &key).await;
    clock.set_wall(right + TimeDelta::days(7));
    rested.stop().await;
    let clock = Arc::new(ManualClock::at(right + TimeDelta::days(7)));
    let again = vendor.twin_with(clock).await;
    assert_eq!(again.validate(&key, "machine").await.word(), "yes");
    again.stop().await;
    vendor.end().await;
}

async fn a_clock_that_is_behind_is_noticed_where_the_database_has_one(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    let right = vendor.clock.now();
    vendor.clock.set_wall(right - TimeDelta::minutes(11));
    watch(&vendor.app).await.unwrap();
    let change = vendor.app.change(Actor::CommandLine);
    let accepted = accept(&vendor.app.store, &*vendor.clock, &change).await;
    let opened = async |directory: &Path| {
        let mut storage = vendor.storage();
        storage.keys_dir = Some(directory.to_owned());
        // Nothing tells of an earlier key, so that a first one may be made.
        vendor.database.execute("DELETE FROM seats").await;
        vendor.database.execute("DELETE FROM audit_log").await;
        vendor.database.execute("DELETE FROM key_record").await;
        let terms = vendor.app.terms.clone();
        App::open(&storage, terms, vendor.clock.clone()).await.err()
    };
    let directory = tempfile::tempdir().unwrap();
    if engine == Engine::Postgres {
        nothing_is_signed(&vendor, &key).await;
        assert!(matches!(
            accepted,
            Err(AcceptError::Doubt(ClockDoubt::Database { .. }))
        ));
        let (_, text) = ready(&vendor).await;
        let said =
            "the clock is 11 min behind the database's clock; correct the clock that is wrong";
        assert_eq!(text["clock"], said);
        // A first key would have a wrong date, too.
        let error = opened(&directory.path().join("keys")).await;
        assert!(matches!(error, Some(OpenError::Clock(_))), "{error:?}");
        vendor.clock.set_wall(right);
        watch(&vendor.app).await.unwrap();
        assert_eq!(ready(&vendor).await.0, 200);
    } else {
        accepted.unwrap();
        let (_, text) = ready(&vendor).await;
        assert_eq!(text["clock"], "ok");
        assert!(opened(&directory.path().join("keys")).await.is_none());
    }
    vendor.end().await;
}

async fn a_server_that_starts_behind_the_recorded_time_signs_nothing_until_its_clock_is_right(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let begun = vendor.clock.now();
    let request = IssueRequest {
        expires_at: Some(begun + TimeDelta::days(200)),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    assert_eq!(vendor.activate(&key, "machine").await.word(), "yes");
    vendor.clock.advance(TimeDelta::days(301));
    watch(&vendor.app).await.unwrap();
    let right = vendor.clock.now();
    assert_eq!(vendor.validate(&key, "machine").await.word(), "expired");
    for behind in [TimeDelta::days(300), TimeDelta::minutes(15)] {
        let clock = Arc::new(ManualClock::at(right - behind));
        let wrong = vendor.twin_with(clock.clone()).await;
        nothing_is_signed(&wrong, &key).await;
        let (_, text) = ready(&wrong).await;
        let said = text["clock"].as_str().unwrap();
        assert!(said.contains("behind the newest recorded time"), "{said}");
        if engine == Engine::Sqlite {
            clock.set_wall(right);
            assert_eq!(wrong.validate(&key, "machine").await.word(), "expired");
            assert_eq!(ready(&wrong).await.0, 200);
        }
        wrong.stop().await;
    }
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_signed_nothing_may_rest() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    watch(&vendor.app).await.unwrap();
    let clock = vendor.clock.clone();
    let seen = async || status(&vendor.app.store, clock.clone()).await.unwrap();
    assert_eq!(seen().await.recorded, None);
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let later = Arc::new(ManualClock::at(clock.now() + TimeDelta::days(30)));
    let twin = vendor.twin_with(later).await;
    assert_eq!(twin.activate(&key, "machine").await.word(), "yes");
    // What was signed is recorded at the latest when the service stops.
    twin.stop().await;
    assert!(seen().await.recorded > Some(clock.now() + TimeDelta::days(29)));
    vendor.end().await;
}

/// The real program, whose wall clock a test sets (libfaketime).
struct Program<'a> {
    directory: &'a Path,
    http: reqwest::Client,
}

impl Program<'_> {
    fn set_wall(&self, to: &str) {
        std::fs::write(self.directory.join("wall"), format!("{to}\n")).unwrap();
    }

    fn command(&self) -> Command {
        let found = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let found = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let library = found.into_iter().find(|path| path.exists());
        let library = library.expect("faketime is installed by 'cargo xtask test'");
        let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", self.directory.join("wall"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("STATE_DIR", self.directory.join("state"))
            .env("ADMIN_TOKEN", ADMIN_TOKEN)
            .current_dir(self.directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    async fn start(&self) -> Process {
        let port = free_port();
        let mut command = self.command();
        command.args(["serve", "--port", &port.to_string()]);
        Process::start(&mut command, port).await
    }

    /// What a command prints.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    async fn post(&self, server: &Process, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", server.url));
        let request = request.bearer_auth(ADMIN_TOKEN).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_program_refuses_to_sign_in_2038() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program {
        directory: directory.path(),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    program.set_wall("+0");
    let server = program.start().await;
    let wanted = json!({"tier": "standard", "customer": "Harbour Ltd"});
    let (status, issued) = program.post(&server, "/api/admin/licenses", wanted).await;
    assert_eq!(status, 201, "{issued}");
    let site = json!({
        "licenseKey": issued["licenseKey"], "hardwareId": "machine",
        "installationId": INSTALLATION, "installationName": "", "installationVersion": "",
    });
    let ask = async |server: &Process, call: &str| {
        let path = format!("/api/licenses/{call}");
        let (status, answer) = program.post(server, &path, site.clone()).await;
        (status, answer.to_string())
    };
    assert_eq!(ask(&server, "activate").await.0, 200);

    // Set forward while it runs, and back.
    program.set_wall("@2038-01-19 03:14:00");
    for call in ["activate", "validate", "deactivate"] {
        let (status, text) = ask(&server, call).await;
        assert!(
            status == 503 && text.contains("not_signing"),
            "{call}: {status} {text}"
        );
    }
    program.set_wall("+0");
    let (status, text) = ask(&server, "validate").await;
    assert!(status == 200 && !text.contains("2038"), "{status} {text}");
    drop(server);

    // Restarted there: the record says that it was never there before.
    program.set_wall("@2038-01-19 03:14:00");
    let server = program.start().await;
    assert_eq!(ask(&server, "validate").await.0, 503);
    let (_, text) = program.run(&["clock", "status"]);
    assert!(text.contains("Signs:     no: the clock is"), "{text}");
    let request = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: issued["licenseKey"].as_str().unwrap().to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: String::new(),
        installation_version: String::new(),
        nonce: NONCE.to_owned(),
        created_at: SystemClock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    };
    let file = directory.path().join("request.txt");
    std::fs::write(&file, request.to_file()).unwrap();
    let file = file.display().to_string();
    for command in [
        &["offline", "sign", &file][..],
        &["keys", "rotate", "--at-once"],
    ] {
        let (is_done, text) = program.run(command);
        assert!(
            !is_done && text.contains("clock accept"),
            "{command:?}: {text}"
        );
    }
    drop(server);
    program.set_wall("+0");
    let (is_done, text) = program.run(&["offline", "sign", &file]);
    assert!(is_done, "{text}");

    // After a week's rest a person says that the clock is right, while it runs.
    program.set_wall("+7d");
    let server = program.start().await;
    assert_eq!(ask(&server, "validate").await.0, 503);
    let (is_done, text) = program.run(&["clock", "accept"]);
    assert!(is_done && text.contains("Signs:     yes"), "{text}");
    let (_, log) = program.run(&["audit"]);
    assert!(log.contains("clock_accepted"), "{log}");
    drop(server);
    let server = program.start().await;
    assert_eq!(ask(&server, "validate").await.0, 200);
}
