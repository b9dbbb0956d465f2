//! Callers without a token cannot fill the disk with log lines.

use std::fs::File;
use std::process::{Command, Stdio};

use reqwest::StatusCode;

use crate::gates::process::{Process, free_port};
use crate::harness::ADMIN_TOKEN;
use crate::refused_calls::{events, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_refused_calls_are_a_handful_of_lines_and_a_right_count() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command
        .args(["serve", "--log-format", "json", "--port", &port.to_string()])
        .env("STATE_DIR", directory.path().join("state"))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let server = Process::start(&mut command, port).await;
    let before = std::fs::metadata(&log).unwrap().len();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("{}{path}", server.url);
    let sign_in = url("/console/sign-in");
    send(3000, StatusCode::UNAUTHORIZED, |number| {
        http.post(&sign_in)
            .body(format!("token=wrong-{number}"))
            .header("content-type", "application/x-www-form-urlencoded")
    })
    .await;
    let licenses = url("/api/admin/licenses");
    send(3000, StatusCode::UNAUTHORIZED, |number| {
        http.get(&licenses).bearer_auth(format!("wrong-{number}"))
    })
    .await;
    send(2000, StatusCode::MISDIRECTED_REQUEST, |number| {
        http.get(url("/"))
            .header("host", format!("h{number}.example"))
    })
    .await;
    let activate = url("/api/licenses/activate");
    send(2000, StatusCode::BAD_REQUEST, |_| {
        http.post(&activate).body("{")
    })
    .await;
    // Its end writes what is left to count.
    drop(server);
    let log = std::fs::read_to_string(&log).unwrap();
    for (message, times) in [
        ("sign-in failed", 3000),
        ("a call with a wrong token", 3000),
    ] {
        let (written, counted) = events(&log, message);
        assert_eq!(counted, times, "{message}: {log}");
        assert!(written <= 10, "{log}");
    }
    let bytes = log.len() as u64 - before;
    assert!(bytes < 8 * 1024, "{bytes} bytes: {log}");
}
