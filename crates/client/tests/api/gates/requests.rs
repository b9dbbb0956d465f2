//! Requests to a gateway, as visitors send them.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

pub(super) async fn get(gateway: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.get(format!("{gateway}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// The answer to a raw path: an HTTP client would normalise it.
pub(super) async fn raw_answer(gateway: &str, path: impl AsRef<[u8]>) -> String {
    send_raw(gateway, path, "Connection: close\r\n").await
}

/// The same with other headers, each with the end of its line.
pub(super) async fn send_raw(gateway: &str, path: impl AsRef<[u8]>, headers: &str) -> String {
    let host = gateway.strip_prefix("http://").unwrap();
    let head = format!(" HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    exchange(gateway, &[b"GET ", path.as_ref(), head.as_bytes()].concat()).await
}

/// The answer to a request after which the gateway ends the connection.
pub(super) async fn exchange(gateway: &str, request: &[u8]) -> String {
    let address = gateway.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let reading = tokio::time::timeout(Duration::from_secs(20), reading).await;
    reading.expect("the gateway ends the connection").unwrap();
    answer
}

/// The headers that our service has received, from the gateway's answer with its response.
pub(super) fn sent_headers(answer: &str) -> Map<String, Value> {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = &body[body.find('{').unwrap()..=body.rfind('}').unwrap()];
    let seen: Value = serde_json::from_str(body).unwrap();
    seen["headers"].as_object().unwrap().clone()
}

/// Its status.
pub(super) async fn raw(gateway: &str, path: &str) -> String {
    let answer = raw_answer(gateway, path).await;
    answer.get(9..12).unwrap_or_default().to_owned()
}
