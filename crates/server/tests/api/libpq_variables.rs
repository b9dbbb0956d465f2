//! The environment variables of PostgreSQL's own programs.

use std::process::{Command, Output};

use crate::PROGRAM;
use crate::database::{Engine, TestDatabase};

async fn run(mut command: Command) -> Output {
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    running.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_url_says_how_to_connect() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let directory = tempfile::tempdir().unwrap();
    let program = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .args(["--database-url", &database.url, "--state-dir"])
            .arg(directory.path())
            .current_dir(directory.path());
        command
    };
    let mut init = program(&["init"]);
    init.env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", "/nowhere")
        .env("PGOPTIONS", "-c statement_timeout=never");
    let done = run(init).await;
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    assert_eq!(
        said,
        "warning: ignoring PGOPTIONS, PGSSLMODE, PGSSLROOTCERT: only DATABASE_URL determines how \
         to connect to the database\n"
    );
    std::fs::write(
        directory.path().join(".env"),
        "PGOPTIONS='-c statement_timeout=never'",
    )
    .unwrap();
    let done = run(program(&["list"])).await;
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{said}");
    assert!(said.starts_with("warning: ignoring PGOPTIONS: "), "{said}");
    std::fs::remove_file(directory.path().join(".env")).unwrap();
    let done = run(program(&["list"])).await;
    assert!(done.stderr.is_empty());
    database.drop_database().await;
}
