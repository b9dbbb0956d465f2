//! Connections byte by byte, for what no HTTP client would send; and the table
//! of stalls that both services end.

mod requests;
mod stalls;

use std::time::Duration;

use license_service::listener::Limits;
use license_service::request_body::BodyLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use requests::{
    limits_that_refuse_bodies, malformed_requests_are_refused, no_body_is_answered_as_a_request,
    requests_behind_a_long_one_are_answered,
};
pub use stalls::every_stall_ends;

/// The headers that every response has.
pub const ON_EVERY_RESPONSE: [&str; 3] = [
    "frame-ancestors 'none'",
    "x-content-type-options: nosniff",
    "referrer-policy: same-origin",
];

/// How long each wait is in these tests.
const WAIT: Duration = Duration::from_millis(600);

/// The waits, short enough to be tested.
pub fn short_limits() -> Limits {
    Limits {
        head_timeout: WAIT,
        idle_timeout: WAIT * 5,
        write_timeout: WAIT,
        ..Limits::default()
    }
}

/// The same for bodies.
pub fn short_body_limits() -> BodyLimits {
    BodyLimits {
        idle_timeout: WAIT,
        total_timeout: WAIT * 2,
        ..BodyLimits::default()
    }
}

/// A connection to `url`, without its path.
pub async fn connect(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// What is answered until the connection is closed.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    // A reset is an end as well.
    let is_closed = ended.await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(is_closed, "still open: {answer}");
    answer
}

/// What is answered to bytes that end the connection.
pub async fn exchange(url: &str, bytes: &[u8]) -> String {
    let mut stream = connect(url).await;
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

/// The head of the next answer; its body must be empty or short.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = async {
        while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed");
        }
    };
    timeout(Duration::from_secs(20), reading)
        .await
        .expect("an answer comes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Every answer has the headers of every response.
pub async fn has_the_headers_of_every_response(
    http: &reqwest::Client,
    url: &str,
    requests: &[(&str, &str, u16)],
) {
    for (method, path, status) in requests {
        let method = method.parse().unwrap();
        let response = http
            .request(method, format!("{url}{path}"))
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), *status, "{path}");
        let header = |name: &str| {
            let values = response.headers().get_all(name);
            let values: Vec<_> = values.iter().map(|it| it.to_str().unwrap()).collect();
            assert_eq!(values.len(), 1, "{path}: {name}");
            values[0].to_owned()
        };
        let policy = header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        let is_asset = path.starts_with("/console/assets/") && *status == 200;
        let cached = match *path {
            _ if is_asset => "public, max-age=31536000, immutable",
            "/api/license/events" => "no-cache, no-transform",
            _ => "no-store",
        };
        assert_eq!(header("cache-control"), cached, "{path}");
    }
}
