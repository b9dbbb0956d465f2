//! The SQLite file is damaged, moved, deleted or replaced under the running server.

use std::path::PathBuf;
use std::time::Duration;

use license_server::store::Store;
use license_server::store::licenses::{Search, count};
use reqwest::{Method, StatusCode};
use sea_orm::ConnectionTrait as _;
use serde_json::json;

use super::{until_not_ready, until_ready};
use crate::database::{Engine, TestDatabase};
use crate::harness::Vendor;

/// A file whose pages are overwritten, and one that is something else.
#[test]
fn serve_says_what_to_do_about_a_damaged_file() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let run = |command: &str| {
        let mut program = std::process::Command::new(crate::PROGRAM);
        program.arg(command).arg("--state-dir").arg(&state);
        let output = program.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    assert_eq!(run("init").0, Some(0));
    let file = state.join("license-server.sqlite");
    let mut damaged = std::fs::read(&file).unwrap();
    damaged[100..].fill(0xff);
    for (content, said) in [
        (&damaged[..], "database disk image is malformed"),
        (&b"something else".repeat(300)[..], "file is not a database"),
    ] {
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(state.join(format!("license-server.sqlite{end}")));
        }
        std::fs::write(&file, content).unwrap();
        for command in ["serve", "list"] {
            let (code, text) = run(command);
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains(said), "{text}");
            assert!(
                text.contains("; restore the database from a backup, or recover"),
                "{text}"
            );
            assert!(text.contains("Recovering a damaged SQLite file"), "{text}");
        }
    }
}

/// Makes every kind of trouble with the file, and takes it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_into_a_file_that_was_moved_deleted_or_replaced() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let file = PathBuf::from(vendor.database.url.strip_prefix("sqlite:").unwrap());
    let aside = file.with_extension("aside");
    let named = |end: &str| PathBuf::from(format!("{}{end}", file.display()));
    let issue = async || {
        let wanted = json!({"tier": "standard", "customer": "Harbour Ltd"});
        vendor.admin(Method::POST, "/licenses", wanted).await.0
    };
    let stored = async || {
        let db = vendor.app.store.reader();
        count(db, &Search::default()).await.unwrap()
    };
    let mut acknowledged = 0;
    for kind in ["moved", "replaced", "replaced by an empty one"] {
        for _ in 0..3 {
            assert_eq!(issue().await, StatusCode::CREATED, "before: {kind}");
            acknowledged += 1;
        }
        std::fs::rename(&file, &aside).unwrap();
        match kind {
            "replaced" => std::fs::write(&file, b"not a database at all, but text").unwrap(),
            "replaced by an empty one" => std::fs::write(&file, b"").unwrap(),
            _ => {}
        }
        for _ in 0..20 {
            assert_eq!(issue().await, StatusCode::SERVICE_UNAVAILABLE, "{kind}");
        }
        until_not_ready(&vendor).await;
        assert_eq!(file.exists(), kind != "moved", "none is made in its place");
        std::fs::rename(&aside, &file).unwrap();
        until_ready(&vendor, Duration::from_secs(5)).await;
        assert_eq!(stored().await, acknowledged, "{kind}");
    }

    // The log alone: what is in it would be lost with it.
    assert_eq!(issue().await, StatusCode::CREATED);
    std::fs::remove_file(named("-wal")).unwrap();
    for _ in 0..3 {
        assert_eq!(issue().await, StatusCode::CREATED);
    }
    acknowledged += 4;
    assert_eq!(stored().await, acknowledged);

    // Another database with all that belongs to it.
    let other = aside.with_extension("other");
    let url = format!("sqlite:{}", other.display()).parse().unwrap();
    Store::open(&url).await.unwrap().close().await;
    for end in ["", "-wal", "-shm"] {
        std::fs::rename(named(end), format!("{}{end}", aside.display())).unwrap();
    }
    std::fs::rename(&other, &file).unwrap();
    assert_eq!(stored().await, 0);
    assert_eq!(issue().await, StatusCode::CREATED);
    assert_eq!(stored().await, 1);

    std::fs::remove_file(&file).unwrap();
    for _ in 0..20 {
        assert_eq!(issue().await, StatusCode::SERVICE_UNAVAILABLE, "deleted");
    }
    until_not_ready(&vendor).await;
    assert!(!file.exists(), "none is made in its place");
    vendor.stop().await;
}

/// The file is moved while a change is being made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_moved_within_a_change_is_noticed() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let store = Store::open(&database.url.parse().unwrap()).await.unwrap();
    let file = PathBuf::from(database.url.strip_prefix("sqlite:").unwrap());
    let transaction = store.begin().await.unwrap();
    let change = "UPDATE license_server_migrations SET applied_at = applied_at";
    transaction.execute_unprepared(change).await.unwrap();
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    let error = transaction.commit().await.unwrap_err().to_string();
    assert!(error.contains("was moved, deleted or replaced"), "{error}");
    // Also where the change is one statement.
    let error = store.reader().execute_unprepared(change).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("unable to open") || error.contains("was moved"),
        "{error}"
    );
    std::fs::rename(&aside, &file).unwrap();
    store.check_writable().await.unwrap();
    store.close().await;
}
