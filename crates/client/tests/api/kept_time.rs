//! Removing, editing and restoring the stored time gains nothing, and an honest site that has
//! lost it is not locked out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_client::app::App;
use license_client::effective_clock::EffectiveClock;
use license_client::licensing::keep_time::keep_in_file;
use license_client::licensing::resume::resume;
use license_client::licensing::validate::validate;
use license_core::offline::{OfflineRequest, Purpose, nonce, to_file};
use license_core::protocol::ActivateRequest;
use license_core::time_guard::Mark;
use license_server::audit::Actor;
use license_server::licensing::answer::answer;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::document::Addressee;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::{read, sign};
use license_server::licensing::site_answer::SiteAnswer;
use license_server::licensing::site_question::{ByFile, CallDetails, SiteQuestion};
use license_service::clock::{Clock as _, ManualClock};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, START, Site};
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    an_expired_license_stays_expired_after_any_edit_of_the_stored_data;
    grace_that_is_over_stays_over_when_the_wall_clock_is_turned_back_as_well;
    with_nothing_kept_a_site_lapses_only_after_one_validation_was_tried;
    an_answer_that_never_comes_holds_the_time_back_for_a_minute;
    a_connected_site_that_has_lost_everything_is_not_locked_out_by_a_dead_battery;
    a_signed_answer_replaces_a_mark_that_says_too_much;
    a_license_file_counts_no_longer_than_signed_regardless_of_the_request;
    a_mark_that_is_too_far_ahead_is_corrected_by_a_license_file;
    a_time_that_cannot_be_kept_is_shown_and_is_a_security_event;
}

const PAID: &str = "module.analytics_advanced";
const FILES: [&str; 3] = ["time.json", "time.key", "local-copy.json"];
const ROW: &str = "license_client.effective_time";

/// Everything that is kept of the time.
#[derive(Clone)]
struct Kept {
    files: BTreeMap<&'static str, Option<Vec<u8>>>,
    row: Option<String>,
}

impl Kept {
    async fn read(site: &Site) -> Self {
        let read = |name| (name, std::fs::read(site.state_file(name)).ok());
        let row = format!("SELECT value FROM system_config WHERE key = '{ROW}'");
        Self {
            files: FILES.into_iter().map(read).collect(),
            row: site.database.texts(&row).await.pop().flatten(),
        }
    }

    async fn write(&self, site: &Site) {
        for (name, content) in &self.files {
            let file: PathBuf = site.state_file(name);
            match content {
                Some(content) => std::fs::write(file, content).unwrap(),
                None => drop(std::fs::remove_file(file)),
            }
        }
        let mut sql = format!("DELETE FROM system_config WHERE key = '{ROW}';");
        if let Some(row) = &self.row {
            sql += &format!("INSERT INTO system_config (key, value) VALUES ('{ROW}', '{row}');");
        }
        site.database.execute(&sql).await;
    }

    fn nothing() -> Self {
        Self {
            files: FILES.into_iter().map(|name| (name, None)).collect(),
            row: None,
        }
    }

    /// With the parts that `taken` names as they are in `other`.
    fn with(&self, taken: &[&'static str], other: &Self) -> Self {
        let mut mixed = self.clone();
        for part in taken {
            match *part {
                "row" => mixed.row = other.row.clone(),
                name => {
                    mixed.files.insert(name, other.files[name].clone());
                }
            }
        }
        mixed
    }

    /// All of it written by hand, as at `at`, as well as that goes without the
    /// key.
    fn forged(&self, at: DateTime<Utc>) -> Self {
        let mark =
            json!({"at": at, "signedAt": "2099-01-01T00:00:00Z", "leadMs": 0, "assumedMs": 0});
        let mut forged = self.clone();
        let parse =
            |name| -> Value { serde_json::from_slice(self.files[name].as_ref().unwrap()).unwrap() };
        let mut time = parse("time.json");
        let mut content: Value = serde_json::from_str(time["content"].as_str().unwrap()).unwrap();
        content["at"] = json!(at);
        time["content"] = content.to_string().into();
        let mut copy = parse("local-copy.json");
        copy["effectiveTime"] = mark.clone();
        let text = |value: Value| Some(value.to_string().into_bytes());
        forged.files.insert("time.json", text(time));
        forged.files.insert("local-copy.json", text(copy));
        forged.row = Some(mark.to_string());
        forged
    }
}

/// A site whose license has been over for an hour by a wall clock that is
/// believed, and what was kept while it was good. Its vendor is away.
async fn expired(engine: Engine) -> (Site, Vendor, Kept) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let expires_at = Some(at("2026-11-23T23:00:00Z"));
    let request = IssueRequest {
        expires_at,
        ..IssueRequest::of(Tier::Professional)
    };
    site.activate(&vendor.issue(request).await).await;
    vendor.go_away().await;
    site.restart().await;
    let good = Kept::read(&site).await;
    assert!(good.row.is_some());
    assert!(good.files.values().all(Option::is_some));
    assert!(site.is_available(PAID).await);
    site.clock.set_wall(at("2026-11-24T00:00:00Z"));
    site.restart().await;
    assert_eq!(site.status().await["reason"], "license_expired");
    site.stop().await;
    (site, vendor, good)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Each choice of the places where the time is kept.
fn choices() -> Vec<Vec<&'static str>> {
    let choice = |bits: u32| {
        let places = ["time.json", "local-copy.json", "row"];
        let chosen = (0..3).filter(|place| bits & (1 << place) != 0);
        chosen.map(|place| places[place]).collect()
    };
    (1..8).map(choice).collect()
}

async fn an_expired_license_stays_expired_after_any_edit_of_the_stored_data(engine: Engine) {
    let (mut site, _vendor, good) = expired(engine).await;
    let over = Kept::read(&site).await;
    let forged = over.forged(START.parse().unwrap());
    let nothing = Kept::nothing();
    for ahead in [TimeDelta::hours(30), TimeDelta::days(365)] {
        site.clock.set_wall(at(START) + ahead);
        for taken in choices() {
            for (name, other) in [("removed", &nothing), ("edited", &forged), ("old", &good)] {
                // Everything put back together is a machine that is put back.
                if name == "old" && taken.len() == 3 {
                    continue;
                }
                over.with(&taken, other).write(&site).await;
                site.restart().await;
                let case = format!("{name} {taken:?}, {ahead}");
                let is_left = taken.len() < 3;
                if is_left {
                    // As long as one is left it does not come on for a moment.
                    assert!(!site.is_available(PAID).await, "{case}");
                }
                site.until(&case, async || !site.is_available(PAID).await)
                    .await;
                assert_eq!(site.status().await["reason"], "license_expired", "{case}");
                assert!(site.is_available("module.recording_basic").await);
                // A file that is gone is as much of an event as one that was edited.
                let is_event = name != "old" && taken.contains(&"time.json");
                assert_eq!(security_events(&site).await > 0, is_event, "{case}");
                site.stop().await;
            }
        }
    }
    // Nor does a key that was removed or replaced.
    for key in [None, Some(b"00".repeat(64))] {
        let mut kept = over.clone();
        kept.files.insert("time.key", key);
        kept.write(&site).await;
        site.restart().await;
        assert!(!site.is_available(PAID).await);
        assert!(security_events(&site).await > 0);
        site.stop().await;
    }
    site.end().await;
}

async fn grace_that_is_over_stays_over_when_the_wall_clock_is_turned_back_as_well(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    vendor.go_away().await;
    site.restart().await;
    let good = Kept::read(&site).await;
    site.advance(TimeDelta::hours(97));
    assert_eq!(site.status().await["reason"], "grace_period_expired");
    site.stop().await;
    let over = Kept::read(&site).await;
    // Any one of the three is enough.
    for taken in choices().into_iter().filter(|taken| taken.len() < 3) {
        for other in [&Kept::nothing(), &good, &over.forged(at(START))] {
            over.with(&taken, other).write(&site).await;
            site.clock.set_wall(at(START));
            site.restart().await;
            let reason = site.status().await["reason"].clone();
            assert_eq!(reason, "grace_period_expired", "{taken:?}");
            site.stop().await;
        }
    }
    site.end().await;
}

async fn with_nothing_kept_a_site_lapses_only_after_one_validation_was_tried(engine: Engine) {
    let (site, _vendor, _) = expired(engine).await;
    Kept::nothing().write(&site).await;
    site.clock.set_wall(at("2038-01-19T03:14:08Z"));
    // Without jobs: nothing calls the License Server unless the test does.
    let app = App::new(site.settings(), site.clock.clone()).unwrap();
    resume(&app).await.unwrap();
    let standing = |app: &App| {
        let now = app.clock.now();
        app.snapshot().standing(now).as_str()
    };
    assert_ne!(standing(&app), "lapsed");
    assert!(app.calls().is_validation_wanted());
    // What has run is kept, and that it has waited.
    license_client::licensing::keep_time::keep_time(&app).await;
    assert!(site.state_file("time.json").exists());
    let kept = Kept::read(&site).await;
    validate(&app).await;
    assert_eq!(standing(&app), "lapsed");
    license_client::licensing::keep_time::keep_time(&app).await;
    assert!(site.state_file("time.json").exists());
    app.store.close().await;
    // From now on without asking, also after a start that was killed while it waited.
    for file in [None, Some(kept)] {
        if let Some(kept) = file {
            kept.write(&site).await;
        }
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        resume(&app).await.unwrap();
        assert_eq!(standing(&app), "lapsed");
        app.store.close().await;
    }
    site.end().await;
}

/// A License Server that takes every connection, and never answers.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    (listener, url)
}

async fn an_answer_that_never_comes_holds_the_time_back_for_a_minute(engine: Engine) {
    let (good, vendor, _) = expired(engine).await;
    let (_listener, url) = silent().await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-trusted-keys",
        keys.as_str(),
        "--license-api-timeout",
        "3600",
    ];
    let shared = TestDatabase::same_as(&good.database);
    let mut site = Site::start_on(shared, &url, &flags).await;
    site.stop().await;
    // What is left beside the license says nothing of the time.
    let forget = async |site: &Site| {
        let file = site.state_file("local-copy.json");
        let mut copy: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        copy.as_object_mut().unwrap().remove("effectiveTime");
        std::fs::write(&file, copy.to_string()).unwrap();
        std::fs::remove_file(site.state_file("time.json")).unwrap();
        let sql = format!("DELETE FROM system_config WHERE key = '{ROW}'");
        site.database.execute(&sql).await;
    };
    forget(&site).await;
    site.clock.set_wall(at(START) + TimeDelta::days(10));
    site.restart().await;
    assert_ne!(site.standing().await, "lapsed", "it asks first");
    assert_eq!(security_events(&site).await, 1, "time.json is missing");
    site.until("the time is kept meanwhile", async || {
        site.state_file("time.json").exists()
    })
    .await;
    site.advance(TimeDelta::seconds(61));
    site.until("the wall clock counts", async || {
        site.standing().await == "lapsed"
    })
    .await;
    site.stop().await;
    // A start that was ended while it waited was the only one that waits.
    forget(&site).await;
    for (number, expected) in ["active", "lapsed", "lapsed"].into_iter().enumerate() {
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        resume(&app).await.unwrap();
        let standing = app.snapshot().standing(app.clock.now());
        let reason = standing.as_str().replace("grace", "active");
        assert_eq!(reason, expected, "start {number}");
        keep_in_file(&app).await;
        app.store.close().await;
    }
    site.stop().await;
    good.end().await;
}

async fn a_connected_site_that_has_lost_everything_is_not_locked_out_by_a_dead_battery(
    engine: Engine,
) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    for wall in ["2038-01-19T03:14:08Z", "1970-01-01T00:00:10Z"] {
        site.stop().await;
        Kept::nothing().write(&site).await;
        site.clock.set_wall(at(wall));
        let app = App::new(site.settings(), site.clock.clone()).unwrap();
        resume(&app).await.unwrap();
        let standing = |app: &App| app.snapshot().standing(app.clock.now()).as_str();
        assert_eq!(standing(&app), "active", "before it has asked");
        validate(&app).await;
        assert_eq!(standing(&app), "active", "after it has asked");
        assert!((app.clock.now() - at(START)).abs() < TimeDelta::minutes(10));
        app.store.close().await;
        site.restart().await;
        assert_eq!(site.standing().await, "active", "{wall}");
    }
    site.end().await;
}

async fn a_signed_answer_replaces_a_mark_that_says_too_much(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    site.stop().await;
    let kept = Kept::read(&site).await;
    let far = kept.forged(at("2099-01-01T00:00:00Z"));
    kept.with(&["row"], &far).write(&site).await;
    site.restart().await;
    site.until("the License Server has said what time it is", async || {
        site.standing().await == "active"
    })
    .await;
    site.until("the row is right", async || {
        let row = Kept::read(&site).await.row.unwrap();
        let mark: Value = serde_json::from_str(&row).unwrap();
        mark["at"].as_str().unwrap().starts_with("2026-11-23")
    })
    .await;
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_bad_clock_does_not_move_the_time_of_others() {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut one = Site::start(Engine::Postgres, &vendor.url, &flags).await;
    one.activate(&vendor.issue_professional().await).await;
    vendor.go_away().await;
    let shared = TestDatabase::same_as(&one.database);
    let mut other = Site::start_on(shared, &vendor.url, &flags).await;
    other.stop().await;
    for name in FILES {
        std::fs::remove_file(other.state_file(name)).unwrap();
    }
    other.clock.set_wall(at("2038-01-19T03:14:08Z"));
    other.restart().await;
    other
        .until("the other one has lapsed", async || {
            other.standing().await == "lapsed"
        })
        .await;
    other.stop().await;
    // Not even one that has to go by the shared row alone is moved by it.
    one.stop().await;
    for name in FILES {
        std::fs::remove_file(one.state_file(name)).unwrap();
    }
    let app = Arc::new(App::new(one.settings(), one.clock.clone()).unwrap());
    resume(&app).await.unwrap();
    let now = app.clock.now();
    assert!(now - at(START) < TimeDelta::minutes(10), "{now}");
    assert_ne!(app.snapshot().standing(now).as_str(), "lapsed");
    app.store.close().await;
    one.end().await;
}

#[test]
fn a_mark_that_is_found_after_a_signed_answer_does_not_count() {
    let machine = Arc::new(ManualClock::at(at(START)));
    let mark = Mark::unsigned(at("2038-01-19T03:14:08Z"));
    for answered in [true, false] {
        let (clock, _) = EffectiveClock::start(machine.clone(), None);
        if answered {
            clock.prove(at(START), Duration::ZERO);
        }
        clock.recall(Some(&mark), None);
        let expected = if answered { at(START) } else { mark.at };
        assert_eq!(clock.now(), expected);
    }
}

/// A file that answers an activation whose request says what the licensee likes.
async fn file_for(site: &Site, vendor: &Vendor, request: &OfflineRequest) -> String {
    // The site waits for it.
    let pending = serde_json::to_string(&[request.pending()]).unwrap();
    let row = "license_client.offline_requests";
    let sql = format!(
        "DELETE FROM system_config WHERE key = '{row}'; \
         INSERT INTO system_config (key, value) VALUES ('{row}', '{pending}')"
    );
    site.database.execute(&sql).await;
    let to = Addressee {
        license_key: request.license_key.clone(),
        nonce: Some(request.nonce.clone()),
        installation_id: request.installation_id.clone(),
        hardware_id: request.hardware_id.clone(),
    };
    let question = SiteQuestion::Activate(ActivateRequest {
        license_key: request.license_key.clone(),
        hardware_id: request.hardware_id.clone(),
        installation_id: request.installation_id.clone(),
        installation_name: String::new(),
        installation_version: String::new(),
    });
    let call = CallDetails {
        offline: Some(ByFile {
            lease: TimeDelta::days(90),
            by: Actor::CommandLine,
            written_at: vendor.clock.now(),
        }),
        ..CallDetails::default()
    };
    // As a server signed it that did not look at the request's time.
    let answer = answer(&vendor.app, &question, to, &call).await.unwrap();
    let SiteAnswer::License(license) = answer else {
        panic!("{answer:?}");
    };
    to_file(&[""; 0], license["signature"].as_str().unwrap())
}

async fn import(site: &Site, file: &str) -> Value {
    let body = json!({ "file": file });
    let (_, answer) = site.post("/api/license/offline/import", Some(body)).await;
    answer
}

/// Everything goes but the ids, the secret and the request that waits.
async fn forget_all_but_the_request(site: &Site) {
    let sql = "DELETE FROM local_license_cache; DELETE FROM local_feature_flags; \
               DELETE FROM system_config WHERE key IN ('license_client.evidence', \
               'license_client.effective_time', 'license_client.heartbeat_at')";
    site.database.execute(sql).await;
    for name in FILES {
        drop(std::fs::remove_file(site.state_file(name)));
    }
}

async fn a_license_file_counts_no_longer_than_signed_regardless_of_the_request(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, "http://127.0.0.1:1/api", &flags).await;
    let key = vendor.issue_professional().await;
    let start = at(START);
    let far = at("2100-01-01T00:00:00Z");
    for (asked, created_at) in [
        (far, far),
        (far, start),
        (start, far),
        (at("1970-01-01T00:00:00Z"), far),
    ] {
        let request = OfflineRequest {
            purpose: Purpose::Activate,
            license_key: key.clone(),
            hardware_id: HARDWARE_ID.to_owned(),
            installation_id: INSTALLATION_ID.to_owned(),
            installation_name: String::new(),
            installation_version: String::new(),
            nonce: nonce([7; 24], asked),
            created_at,
            key_set: 1,
            newest_seq: None,
        };
        vendor.advance(TimeDelta::seconds(1));
        let file = file_for(&site, &vendor, &request).await;
        for (wall, wall_at_the_import) in [
            (start + TimeDelta::days(156), start + TimeDelta::days(156)),
            (start + TimeDelta::days(522), start + TimeDelta::days(522)),
            // Set for just the moment of the import, or already before.
            (start + TimeDelta::days(156), far),
            (far, far),
        ] {
            site.stop().await;
            forget_all_but_the_request(&site).await;
            site.clock.set_wall(wall);
            site.restart().await;
            site.clock.set_wall(wall_at_the_import);
            let answer = import(&site, &file).await;
            let detail = answer["detail"].as_str().unwrap_or_default();
            assert!(
                detail.contains("has expired at 2027-02-21"),
                "{asked} {wall}: {answer}"
            );
            assert!(!site.is_available(PAID).await);
            site.clock.set_wall(wall);
        }
        // The file itself is good: on its day it counts.
        site.stop().await;
        forget_all_but_the_request(&site).await;
        site.clock.set_wall(start + TimeDelta::days(1));
        site.restart().await;
        assert_eq!(import(&site, &file).await["result"], "licensed");
        assert!(site.is_available(PAID).await);
        site.stop().await;
        forget_all_but_the_request(&site).await;
        site.restart().await;
    }
    site.end().await;
}

async fn a_mark_that_is_too_far_ahead_is_corrected_by_a_license_file(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, "http://127.0.0.1:1/api", &flags).await;
    let key = vendor.issue_professional().await;
    let ask = async |site: &Site, purpose: &str, key: Option<&str>| {
        let body = json!({"purpose": purpose, "licenseKey": key});
        let (_, answer) = site.post("/api/license/offline/request", Some(body)).await;
        let request = read(answer["file"].as_str().unwrap()).unwrap();
        let lease = TimeDelta::days(90);
        sign(&vendor.app, request, lease, Actor::CommandLine).await
    };
    let file = ask(&site, "activate", Some(&key)).await.unwrap().file;
    assert_eq!(import(&site, &file).await["result"], "licensed");
    for (keeps_its_files, lead_ms) in [(true, 0), (true, i64::MAX), (false, 0)] {
        site.stop().await;
        let mark = json!({"at": "2100-01-01T00:00:00Z", "signedAt": "2100-01-01T00:00:00Z",
            "leadMs": lead_ms, "assumedMs": 0, "toldMs": 0});
        let far = Kept {
            row: Some(mark.to_string()),
            ..Kept::read(&site).await
        };
        far.write(&site).await;
        if !keeps_its_files {
            FILES
                .iter()
                .for_each(|name| std::fs::remove_file(site.state_file(name)).unwrap());
        }
        site.restart().await;
        assert_eq!(site.standing().await, "lapsed");
        // It is in its own file by now.
        site.restart().await;
        assert_eq!(site.standing().await, "lapsed");
        for (purpose, key) in [("renew", None), ("activate", Some(key.as_str()))] {
            vendor.advance(TimeDelta::seconds(1));
            site.advance(TimeDelta::seconds(1));
            let file = ask(&site, purpose, key).await.unwrap().file;
            let answer = import(&site, &file).await;
            assert_eq!(answer["result"], "licensed", "{answer}");
            assert_eq!(site.standing().await, "active");
        }
        site.restart().await;
        assert_eq!(site.standing().await, "active");
    }
    site.end().await;
}

async fn a_time_that_cannot_be_kept_is_shown_and_is_a_security_event(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.activate(&vendor.issue_professional().await).await;
    assert_eq!(site.status().await["timeTrouble"], Value::Null);
    assert_eq!(security_events(&site).await, 0);
    site.stop().await;
    // A directory in its place cannot be replaced, as little as a mount.
    let file = site.state_file("time.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let trigger = match engine {
        Engine::Sqlite => format!(
            "CREATE TRIGGER still BEFORE UPDATE ON system_config WHEN NEW.key = '{ROW}' \
             BEGIN SELECT RAISE(IGNORE); END"
        ),
        Engine::Postgres => format!(
            "CREATE FUNCTION still() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN IF NEW.key = '{ROW}' THEN RETURN NULL; END IF; RETURN NEW; END$$; \
             CREATE TRIGGER still BEFORE UPDATE ON system_config FOR EACH ROW EXECUTE FUNCTION still()"
        ),
    };
    site.database.execute(&trigger).await;
    site.restart().await;
    site.advance(TimeDelta::hours(1));
    let app = App::new(site.settings(), site.clock.clone()).unwrap();
    resume(&app).await.unwrap();
    license_client::licensing::keep_time::keep_time(&app).await;
    let trouble = app.time_trouble().unwrap();
    assert!(trouble.contains("time.json in STATE_DIR"), "{trouble}");
    assert!(trouble.contains("does not keep it"), "{trouble}");
    app.store.close().await;
    site.until("the status shows it", async || {
        let status = site.status().await;
        status["timeTrouble"]
            .as_str()
            .is_some_and(|it| it.contains("time.json"))
    })
    .await;
    // The file that cannot be read is one, and that it cannot be written another.
    assert!(security_events(&site).await >= 2);
    site.stop().await;
    std::fs::remove_dir(&file).unwrap();
    let drop_it = match engine {
        Engine::Sqlite => "DROP TRIGGER still",
        Engine::Postgres => "DROP TRIGGER still ON system_config; DROP FUNCTION still()",
    };
    site.database.execute(drop_it).await;
    site.restart().await;
    assert_eq!(site.status().await["timeTrouble"], Value::Null);
    site.end().await;
}
