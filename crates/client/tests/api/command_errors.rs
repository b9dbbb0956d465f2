//! Commands that fail tell each fact one time.

use std::process::Command;

use crate::PROGRAM;
use crate::database::{Engine, TestDatabase};
use crate::repetition::repeated_fact;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fact_about_what_cannot_be_used_is_told_one_time() {
    let database = TestDatabase::new(Engine::Postgres).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.db");
    std::fs::write(&file, [b'x'; 8192]).unwrap();
    let unreadable = format!("sqlite:{}", file.display());
    let unknown_user = database.url.replacen("postgres@", "unknown_user@", 1);
    for (url, expected) in [
        ("postgresql://u:p@127.0.0.1:1/d", "Connection refused"),
        (&unknown_user, "unknown_user"),
        (&unreadable, "not a database"),
        (&database.url, "missing tables"),
    ] {
        let doctor = ["doctor"];
        let status = ["status"];
        for (arguments, expected) in [(&doctor[..], expected), (&status, "Connection refused")] {
            let mut command = Command::new(PROGRAM);
            command
                .args(arguments)
                .args(["--url", "http://127.0.0.1:1"]);
            command.current_dir(directory.path());
            command
                .env("STATE_DIR", directory.path())
                .env("DATABASE_URL", url);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap());
            let output = output.await.unwrap();
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains(expected), "{arguments:?}: {said}");
            // Each finding and each error is one line.
            for line in said.lines() {
                assert_eq!(repeated_fact(line), None, "{arguments:?}: {said}");
            }
        }
    }
    database.drop_database().await;
}
