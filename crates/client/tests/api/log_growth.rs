//! Callers without a token cannot fill the disk with log lines.

use futures_util::StreamExt as _;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::program::Program;

/// Sends so many requests, eight at a time.
async fn send(times: usize, status: StatusCode, request: impl Fn(usize) -> RequestBuilder) {
    let sent = (0..times).map(|number| request(number).send());
    let answers = futures_util::stream::iter(sent).buffer_unordered(8);
    let statuses = answers.map(|answer| answer.unwrap().status());
    let statuses: Vec<StatusCode> = statuses.collect().await;
    let is_refused = |got| got == status || got == StatusCode::TOO_MANY_REQUESTS;
    assert!(statuses.into_iter().all(is_refused), "{status} is expected");
}

/// How many events of a kind are in a log: the lines, and what they count.
fn events(log: &str, message: &str) -> (usize, u64) {
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let starts = |it: &Value| it.as_str().is_some_and(|text| text.starts_with(message));
    let written = lines.iter().filter(|line| starts(&line["message"])).count();
    let counted = lines.iter().filter(|line| starts(&line["event"]));
    let left_out: u64 = counted.map(|line| line["count"].as_u64().unwrap()).sum();
    (written, written as u64 + left_out)
}

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
        http.get(program.url("/health"))
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
