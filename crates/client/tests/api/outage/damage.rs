//! Files, tables and commits that are moved, lost or damaged.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{answers_from_memory, rows, short, until_ready};
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::database_gate::{Gate, Way};
use crate::harness::{KEY, Site};
use crate::program::Program;
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    missing_tables_say_what_to_do_and_a_restart_makes_them;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_into_a_file_that_was_moved() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let file = site.database.url.strip_prefix("sqlite:").unwrap();
    let (file, aside) = (Path::new(file), format!("{file}.aside"));
    std::fs::rename(file, &aside).unwrap();
    let (status, body) = site.activate("another").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let switch = site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    );
    assert_eq!(switch.await.0, StatusCode::SERVICE_UNAVAILABLE);
    site.until("it says why", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("was moved, deleted or replaced"))
    })
    .await;
    answers_from_memory(&site).await;
    assert!(!file.exists(), "none is made in its place");
    std::fs::rename(&aside, file).unwrap();
    until_ready(&site).await;
    assert_eq!(site.activate("another").await.0, StatusCode::OK);
    site.end().await;
}

/// A file that root has restored, for example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_another_users_is_changed_as_soon_as_it_is_given_back() {
    is_used_when_given_back("license.db", "license.db' is not writable by").await;
    // Only SQLite finds this one, and keeps it read-only.
    is_used_when_given_back("license.db-wal", "read-only for the user of this service").await;
}

/// `name` is the file that belongs to another user at first, about which the log says `said`.
async fn is_used_when_given_back(name: &str, said: &str) {
    // A user that exists on no machine.
    const SERVICE: u32 = 54_321;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("license.db");
    std::fs::write(&file, "").unwrap();
    let foreign = directory.path().join(name);
    std::fs::write(&foreign, "").unwrap();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let read_only = |is_read_only: bool| {
        let mode = if is_read_only { 0o444 } else { 0o600 };
        std::fs::set_permissions(&foreign, Permissions::from_mode(mode)).unwrap();
        if is_root {
            let owner = if is_read_only { 0 } else { SERVICE };
            chown(&foreign, Some(owner), Some(owner)).unwrap();
        }
    };
    read_only(true);
    let url = format!("sqlite:{}", file.display());
    let flags = [
        "--license-api-url",
        "http://127.0.0.1:9/api",
        "--database-url",
        url.as_str(),
    ];
    let program = if is_root {
        let user = Some(SERVICE);
        chown(directory.path(), user, user).unwrap();
        if foreign != file {
            chown(&file, user, user).unwrap();
        }
        Program::start_as(SERVICE, directory, &flags).await
    } else {
        Program::start(&flags).await
    };
    let readiness = async || program.try_get("/readyz").await.unwrap();
    let answer = readiness().await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let start = Instant::now();
    while !program.log().contains(said) {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{}",
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read_only(false);
    while readiness().await.status() != StatusCode::OK {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{}",
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As after a restore of the rows alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_is_behind_its_table_is_advanced_and_no_line_is_lost() {
    let cloud = ScriptedCloud::start().await;
    let database = TestDatabase::new(Engine::Postgres).await;
    let site = Site::start_on(database, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let lines = "SELECT count(*)::text FROM local_license_validation_attempts";
    let before: u32 = rows(&site.database, lines).await[0].parse().unwrap();
    let tables = [
        "local_license_validation_attempts",
        "local_license_cache",
        "local_feature_flags",
    ];
    for table in tables {
        let restart = format!("ALTER SEQUENCE {table}_id_seq RESTART");
        site.database.execute(&restart).await;
    }
    for _ in 0..3 {
        site.validate().await;
    }
    site.activate(KEY).await;
    let after: u32 = rows(&site.database, lines).await[0].parse().unwrap();
    assert_eq!(after, before + 4);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_may_have_stored_the_license() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_with_timeouts(through, &cloud.url, short()).await;
    gate.set(Way::CommitUnanswered);
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], "outcome_unknown", "{answer}");
    assert_eq!(
        answer["detail"],
        "The change may have been stored: the database has not answered within 1.4 s; check \
         whether it was stored before you repeat it"
    );
    gate.set(Way::Open);
    // It is found where it was stored.
    site.until("the stored license counts", async || {
        site.status().await["hasLicense"] == true
    })
    .await;
    gate.set(Way::CommitCut);
    let path = "/api/license/features/module.map_view";
    let (status, answer) = site.put(path, json!({"systemEnabled": true})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], "outcome_unknown", "{answer}");
    // Before a commit, nothing is stored.
    gate.set(Way::Cut);
    let (status, answer) = site.put(path, json!({"systemEnabled": false})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], Value::Null, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("The feature was not changed, because"),
        "{detail}"
    );
    gate.set(Way::Open);
    site.stop().await;
    direct.drop_database().await;
}

const GONE: &str = "the tables are gone: restore the database, or restart the service to create \
    them";

async fn missing_tables_say_what_to_do_and_a_restart_makes_them(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    for table in [
        "local_license_cache",
        "local_license_validation_attempts",
        "local_feature_flags",
        "system_config",
    ] {
        site.database.execute(&format!("DROP TABLE {table}")).await;
    }
    let found = async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"].as_str().unwrap().to_owned()
    };
    site.until("readiness says what to do", async || {
        found().await.ends_with(GONE)
    })
    .await;
    let (_, diagnostics) = site.post("/api/license/diagnostics", None).await;
    let findings = diagnostics["findings"].as_array().unwrap();
    let database = findings.iter().find(|it| it["what"] == "database").unwrap();
    assert_eq!(database["health"], "error", "{database}");
    assert_eq!(database["advice"], GONE, "{database}");
    let found = database["found"].as_str().unwrap();
    assert!(
        found.contains("system_config") && !found.contains(GONE),
        "{found}"
    );
    site.restart().await;
    until_ready(&site).await;
    site.end().await;
}

/// The log, readiness and the doctor name what is wrong, and nothing is said to be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_no_missing_table() {
    let other = TestDatabase::new(Engine::Sqlite).await;
    other
        .execute("CREATE TABLE system_config (id INTEGER)")
        .await;
    let file = other.url.strip_prefix("sqlite:").unwrap();
    let mut damaged = std::fs::read(file).unwrap();
    damaged[100..].fill(0xff);
    for (content, said) in [
        (&damaged[..], "database disk image is malformed"),
        (&b"something else".repeat(300)[..], "file is not a database"),
    ] {
        std::fs::write(file, content).unwrap();
        let program = Program::start(&["--database-url", &other.url]).await;
        let readiness = program.json("/readyz").await;
        let found = readiness["database"].as_str().unwrap();
        assert!(found.contains(said), "{readiness}");
        assert!(
            found.contains("; restore the database from a backup"),
            "{readiness}"
        );
        assert!(found.contains("activate again"), "{readiness}");
        let log = program.log();
        assert!(log.contains("restore the database from a backup"), "{log}");
        assert!(!log.contains("created the missing tables"), "{log}");
        assert!(!log.contains("caused a panic"), "{log}");
        let port = program.port.to_string();
        for port in [&port, "1"] {
            let doctor = Command::new(env!("CARGO_BIN_EXE_license-client"))
                .args(["doctor", "--json", "--port", port])
                .args(["--database-url", &other.url])
                .current_dir(program.file(""))
                .output()
                .unwrap();
            let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
            let findings = findings.as_array().unwrap();
            let database = findings.iter().find(|it| it["what"] == "database").unwrap();
            assert!(
                database["found"].as_str().unwrap().contains(said),
                "{database}"
            );
            let advice = database["advice"].as_str().unwrap();
            assert!(
                advice.starts_with("restore the database"),
                "{port}: {advice}"
            );
        }
    }
}

/// The link that a volume leaves behind that is not mounted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_something_missing_is_named_until_it_is_there() {
    for setting in ["--state-dir", "--database-url"] {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("volume", &link).unwrap();
        let what = format!(
            "'{}' is a link to 'volume', which does not exist",
            link.display()
        );
        let value = match setting {
            "--state-dir" => link.display().to_string(),
            _ => format!("sqlite:{}", link.display()),
        };
        let program = Program::start(&[setting, &value]).await;
        let readiness = program.json("/readyz").await;
        let found = readiness["database"].as_str().unwrap();
        assert!(
            found.contains(&format!(
                "{what}; mount its file system or correct the link"
            )),
            "{readiness}"
        );
        assert!(!found.contains("write permission"), "{readiness}");
        let port = program.port.to_string();
        for port in [&port, "1"] {
            let doctor = Command::new(env!("CARGO_BIN_EXE_license-client"))
                .args(["doctor", "--json", "--port", port, setting, &value])
                .current_dir(program.file(""))
                .output()
                .unwrap();
            let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
            let findings = findings.as_array().unwrap();
            let named = findings.iter().filter(|it| it["found"] == json!(what));
            let named: Vec<&Value> = named.map(|it| &it["what"]).collect();
            let expected = match setting {
                "--state-dir" => &["STATE_DIR", "database"][..],
                _ => &["database"],
            };
            assert_eq!(named, expected, "{port}: {findings:?}");
        }
        // The database is opened again after a while. Once is enough for a test.
        if setting != "--state-dir" {
            continue;
        }
        std::fs::create_dir(directory.path().join("volume")).unwrap();
        let mut readiness = Value::Null;
        for _ in 0..1500 {
            readiness = program.json("/readyz").await["database"].clone();
            if readiness == "ok" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(readiness, "ok", "{setting}");
    }
}
