//! Many calls that are refused, and what a log says of them.

use futures_util::StreamExt as _;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

/// Sends so many requests, eight at a time.
pub async fn send(times: usize, status: StatusCode, request: impl Fn(usize) -> RequestBuilder) {
    let sent = (0..times).map(|number| request(number).send());
    let answers = futures_util::stream::iter(sent).buffer_unordered(8);
    let statuses = answers.map(|answer| answer.unwrap().status());
    let statuses: Vec<StatusCode> = statuses.collect().await;
    let is_refused = |got| got == status || got == StatusCode::TOO_MANY_REQUESTS;
    assert!(statuses.into_iter().all(is_refused), "{status} is expected");
}

/// How many events of a kind are in a log: the lines, and what they count.
pub fn events(log: &str, message: &str) -> (usize, u64) {
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
