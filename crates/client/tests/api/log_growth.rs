//! Callers without a token cannot fill the disk with log lines.

use reqwest::StatusCode;

use crate::program::Program;
use crate::refused_calls::{events, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_refused_calls_are_a_handful_of_lines_and_a_right_count() {
    let flags = ["--trusted-networks", "10.99.0.0/16", "--log-format", "json"];
    let environment = [("ADMIN_TOKEN", "a-token-of-sixteen-characters".to_owned())];
    let mut program = Program::start_with(&flags, &environment).await;
    let before = program.log().len();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let sign_in = program.url("/console/sign-in");
    send(4000, StatusCode::UNAUTHORIZED, |number| {
        http.post(&sign_in)
            .body(format!("token=wrong-{number}"))
            .header("content-type", "application/x-www-form-urlencoded")
    })
    .await;
    let activate = program.url("/api/license/activate");
    send(1500, StatusCode::UNAUTHORIZED, |_| http.post(&activate)).await;
    send(1500, StatusCode::UNAUTHORIZED, |_| {
        http.post(&activate).bearer_auth("a-wrong-token")
    })
    .await;
    send(1500, StatusCode::MISDIRECTED_REQUEST, |number| {
        http.get(program.url("/api/license/status"))
            .header("host", format!("h{number}.example"))
    })
    .await;
    let check = program.url("/api/license/feature/check");
    send(1500, StatusCode::UNPROCESSABLE_ENTITY, |_| {
        http.post(&check).body("{")
    })
    .await;
    program.terminate();
    let log = program.log();
    let (written, counted) = events(&log, "sign-in failed");
    assert_eq!(counted, 4000, "{log}");
    assert!(written <= 10, "{log}");
    let bytes = log.len() - before;
    assert!(bytes < 8 * 1024, "{bytes} bytes: {log}");
}
