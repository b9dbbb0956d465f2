//! Commands on databases that cannot be used tell each fact one time.

use std::path::Path;
use std::process::Command;

use crate::PROGRAM;
use crate::database::{Engine, TestDatabase};
use crate::harness::Vendor;
use crate::repetition::repeated_fact;

const COMMANDS: [&[&str]; 4] = [
    &["list"],
    &["suspicions"],
    &["audit"],
    &["issue", "--tier", "standard"],
];

/// The error of a command that fails.
async fn error_of(arguments: &[&str], url: &str, directory: &Path) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(directory);
    command.env("DATABASE_URL", url).env("STATE_DIR", directory);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    let lines = error.lines().filter(|line| line.starts_with("error: "));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fact_about_a_database_that_cannot_be_used_is_told_one_time() {
    let vendor = Vendor::start(Engine::Postgres).await;
    let foreign = TestDatabase::new(Engine::Postgres).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.db");
    std::fs::write(&file, [b'x'; 8192]).unwrap();
    let unreadable = format!("sqlite:{}", file.display());
    let unknown_user = vendor
        .database
        .url
        .replacen("postgres@", "unknown_user@", 1);
    let gone = "ALTER TABLE licenses RENAME TO gone; ALTER TABLE audit_log RENAME TO gone_too; \
                ALTER TABLE suspicions RENAME TO gone_as_well";
    vendor.database.execute(gone).await;
    for (url, expected) in [
        ("postgresql://u:p@127.0.0.1:1/d", "Connection refused"),
        (&unknown_user, "unknown_user"),
        (&foreign.url, "no License Server database found"),
        (&vendor.database.url, "does not exist"),
        (&unreadable, "not a database"),
    ] {
        for arguments in COMMANDS {
            let error = error_of(arguments, url, directory.path()).await;
            assert!(error.contains(expected), "{arguments:?} on {url}: {error}");
            assert_eq!(
                repeated_fact(&error),
                None,
                "{arguments:?} on {url}: {error}"
            );
        }
    }
    foreign.drop_database().await;
    vendor.end().await;
}
