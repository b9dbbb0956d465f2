//! A database password that is replaced while the program runs.

use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, Database};

use crate::failover::{postgres, run};
use crate::gates::process::{Process, free_port};
use crate::program::Program;

const ROLE: &str = "site";

/// A server that asks for passwords.
async fn server(directory: &Path) -> (Process, u16) {
    let data = directory.join("data");
    let password = directory.join("password");
    std::fs::write(&password, "admin\n").unwrap();
    let mut initdb = postgres("initdb", directory);
    initdb.args([
        "--auth=scram-sha-256",
        "--username=postgres",
        "--encoding=UTF8",
    ]);
    initdb
        .args(["--locale=C", "--no-sync", "--pwfile"])
        .arg(&password);
    run(initdb.arg("--pgdata").arg(&data));
    let port = free_port();
    let mut command = postgres("postgres", directory);
    command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
    ] {
        command.args(["-c", setting]);
    }
    (Process::start(&mut command, port).await, port)
}

async fn execute(port: u16, statements: &[String]) {
    let url = format!("postgresql://postgres:admin@127.0.0.1:{port}/postgres");
    for _ in 0..50 {
        if let Ok(connection) = Database::connect(&url).await {
            for statement in statements {
                connection.execute_unprepared(statement).await.unwrap();
            }
            connection.close().await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the server does not start");
}

async fn is_ready(program: &Program) -> bool {
    let answer = program.try_get("/readyz").await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

async fn becomes(program: &Program, ready: bool) {
    for _ in 0..300 {
        if is_ready(program).await == ready {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("ready is not {ready}: {}", program.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_is_read_from_its_file_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (_process, port) = server(directory.path()).await;
    let create = format!("CREATE ROLE {ROLE} LOGIN PASSWORD 'old'");
    let database = format!("CREATE DATABASE licenses OWNER {ROLE}");
    execute(port, &[create, database]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let store = |password: &str, name: &str| {
        let url = format!("postgresql://{ROLE}:{password}@127.0.0.1:{port}/{name}\n");
        std::fs::write(file.path(), url).unwrap();
    };
    store("old", "licenses");
    let path = file.path().display().to_string();
    let program = Program::start_with(&[], &[("DATABASE_URL_FILE", path)]).await;
    becomes(&program, true).await;
    let alter = format!("ALTER ROLE {ROLE} PASSWORD 'new'");
    let end =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    execute(port, &[alter, end]).await;
    becomes(&program, false).await;
    // What cannot be used changes nothing.
    store("new", "others");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(!is_ready(&program).await, "{}", program.log());
    store("new", "licenses");
    becomes(&program, true).await;
    let log = program.log();
    assert!(log.contains("restart the service to use it"), "{log}");
    assert!(log.contains("new connections to the database use"), "{log}");
    assert!(!log.contains(":new@") && !log.contains(":old@"), "{log}");
}
