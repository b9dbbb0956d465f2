//! Connections byte by byte, for what no HTTP client would send; and the table
//! of stalls that both services end.

use std::time::Duration;

use futures_util::future::join_all;
use license_service::listener::Limits;
use license_service::request_body::BodyLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// The headers that every response has.
pub const ON_EVERY_RESPONSE: [&str; 3] = [
    "frame-ancestors 'none'",
    "x-content-type-options: nosniff",
    "referrer-policy: same-origin",
];

/// How long each wait is in these tests.
const WAIT: Duration = Duration::from_millis(600);
/// A stall ends within its bound and so much for a busy machine.
const SLACK: Duration = Duration::from_secs(4);

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

/// Something a caller does and never finishes.
struct Stall {
    name: &'static str,
    /// Sent together.
    sends: Vec<u8>,
    /// Sent after it, one byte at a time, for ever.
    drips: Option<u8>,
    /// What the answers begin with; nothing where there is no answer.
    answer: &'static str,
    /// When the connection is closed, at the earliest …
    after: Duration,
    /// … and at the latest, apart from [`SLACK`].
    within: Duration,
}

/// `post` is a path that takes a body.
fn stalls(post: &str) -> Vec<Stall> {
    let post =
        |rest: &str| format!("POST {post} HTTP/1.1\r\nhost: localhost\r\n{rest}").into_bytes();
    let get = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = "\0\0\0\x04\0\0\0\0\0";
    let stall = |name, sends: Vec<u8>, answer, after, within| Stall {
        name,
        sends,
        drips: None,
        answer,
        after,
        within,
    };
    let drip = |byte, stall: Stall| Stall {
        drips: Some(byte),
        ..stall
    };
    let (none, head, body) = (Duration::ZERO, WAIT, WAIT * 2);
    let early = WAIT * 3 / 4;
    let too_slow = "HTTP/1.1 408";
    vec![
        stall("nothing", vec![], "", early, head),
        stall("one byte", b"G".to_vec(), "", early, head),
        stall(
            "half a preface",
            b"PRI * HTTP/2.0\r\n".to_vec(),
            "HTTP/1.1 400",
            none,
            head,
        ),
        stall(
            "a preface in two pieces",
            b"PRI * HTTP/2.0\r\n\r\nSM".to_vec(),
            "HTTP/1.1 400",
            none,
            head,
        ),
        stall(
            "HTTP/2",
            format!("{preface}{settings}").into_bytes(),
            "",
            none,
            head,
        ),
        stall(
            "an unfinished head",
            get.trim_end().as_bytes().to_vec(),
            "",
            early,
            head,
        ),
        drip(
            b'a',
            stall("a dripping head", b"GET /".to_vec(), "", none, head),
        ),
        drip(b'\n', stall("dripping lines", vec![], "", none, head)),
        stall(
            "no body",
            post("content-length: 9\r\n\r\n"),
            too_slow,
            early,
            body,
        ),
        stall(
            "half a body",
            post("content-length: 9\r\n\r\n{\"a\""),
            too_slow,
            early,
            body,
        ),
        drip(
            b' ',
            stall(
                "a dripping body",
                post("content-length: 9999\r\n\r\n{"),
                too_slow,
                early,
                body,
            ),
        ),
        stall(
            "an unfinished chunk",
            post("transfer-encoding: chunked\r\n\r\n9\r\n{"),
            too_slow,
            early,
            body,
        ),
        drip(
            b'0',
            stall(
                "an endless length of a chunk",
                post("transfer-encoding: chunked\r\n\r\n0"),
                too_slow,
                early,
                body,
            ),
        ),
        drip(
            b'x',
            stall(
                "an endless extension of a chunk",
                post("transfer-encoding: chunked\r\n\r\n1;"),
                too_slow,
                early,
                body,
            ),
        ),
        drip(
            b'x',
            stall(
                "an endless trailer",
                post("transfer-encoding: chunked\r\n\r\n0\r\nx: "),
                too_slow,
                early,
                body,
            ),
        ),
        stall(
            "a body that is not sent after 100 Continue",
            post("expect: 100-continue\r\ncontent-length: 9\r\n\r\n"),
            "HTTP/1.1 100",
            early,
            body,
        ),
        stall(
            "no second request",
            get.as_bytes().to_vec(),
            "HTTP/1.1 200",
            WAIT * 4,
            WAIT * 5,
        ),
        stall(
            "an unfinished head behind a request",
            format!("{get}GET /").into_bytes(),
            "HTTP/1.1 200",
            early,
            head * 2,
        ),
        stall(
            "an unfinished head behind a long request",
            format!(
                "GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\nGET /",
                "x".repeat(20_000)
            )
            .into_bytes(),
            "HTTP/1.1 200",
            early,
            head * 2,
        ),
    ]
}

/// Runs all stalls together against a service with the short waits.
pub async fn every_stall_ends(url: &str, post: &str) {
    let stalls = stalls(post);
    join_all(stalls.iter().map(|stall| ends(url, stall))).await;
    does_not_wait_for_a_caller_that_does_not_read(url).await;
}

async fn ends(url: &str, stall: &Stall) {
    let mut stream = connect(url).await;
    let begun = Instant::now();
    stream.write_all(&stall.sends).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let drip = async {
        if let Some(byte) = stall.drips {
            while writer.write_all(&[byte]).await.is_ok() {
                sleep(WAIT / 20).await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // A reset is an end as well.
        _ = reader.read_to_end(&mut answer) => {}
        () = drip => {}
        () = sleep(stall.within + SLACK) => panic!("{}: still open", stall.name),
    }
    let (elapsed, name) = (begun.elapsed(), stall.name);
    let answer = String::from_utf8_lossy(&answer);
    assert!(elapsed >= stall.after, "{name}: closed after {elapsed:?}");
    // Unread bytes make a close a reset, which may take the answer with it.
    if stall.drips.is_none() || !answer.is_empty() {
        assert!(answer.starts_with(stall.answer), "{name}: {answer}");
        assert_eq!(
            answer.is_empty(),
            stall.answer.is_empty(),
            "{name}: {answer}"
        );
    }
    assert!(!answer.contains('\0'), "{name}: HTTP/2 is answered");
}

/// Hundreds of requests whose answers are not read.
async fn does_not_wait_for_a_caller_that_does_not_read(url: &str) {
    let mut stream = connect(url).await;
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(&request.repeat(50)).await.unwrap();
    let ends = async {
        while stream.write_all(b" ").await.is_ok() {
            sleep(WAIT / 10).await;
        }
    };
    timeout(WAIT + SLACK, ends)
        .await
        .expect("a caller that does not read is cut off");
}

/// Requests that are malformed, or that two readers would read differently, end
/// the connection with an error that has the headers of every response.
pub async fn malformed_requests_are_refused(url: &str, post: &str) {
    let post = format!("POST {post} HTTP/1.1\r\nhost: localhost\r\n");
    for (bytes, status) in [
        (
            format!("{post}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
            "400",
        ),
        (format!("{post}content-length: 2, 3\r\n\r\n{{}}"), "400"),
        (format!("{post}content-length: +2\r\n\r\n{{}}"), "400"),
        (format!("{post}transfer-encoding: gzip\r\n\r\n{{}}"), "400"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET /livez HTTP/3.0\r\n\r\n".to_owned(), "400"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "4"),
        (
            format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(70_000)),
            "431",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(257)),
            "431",
        ),
        (
            format!(
                "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n",
                "x: 1\r\n".repeat(200)
            ),
            "200",
        ),
        (
            "CONNECT localhost:443 HTTP/1.1\r\nhost: localhost:443\r\nconnection: close\r\n\r\n"
                .to_owned(),
            "4",
        ),
        (
            "GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
                .to_owned(),
            "421",
        ),
        (
            "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
                .to_owned(),
            "421",
        ),
    ] {
        let shown = &bytes[..bytes.len().min(80)];
        let answer = exchange(url, bytes.as_bytes()).await;
        let expected = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&expected), "{shown}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown}: {answer}");
        for header in ON_EVERY_RESPONSE {
            assert_eq!(answer.matches(header).count(), 1, "{shown}: {answer}");
        }
        let detail = match status {
            "400" => "The request is not valid HTTP/1.1.",
            "431" => {
                "The headers of the request are too long. The limits are 65536 bytes and 256 headers."
            }
            _ => continue,
        };
        let body = format!("{{\"detail\":\"{detail}\"}}");
        let (head, sent) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent, body, "{shown}: {answer}");
        let length = format!("content-length: {}", body.len());
        assert_eq!(head.matches("content-length:").count(), 1, "{answer}");
        assert!(head.contains(&length), "{answer}");
    }
    // A length beside chunks does not hide a second request.
    let hidden = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let smuggled = format!(
        "{post}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        5 + hidden.len()
    );
    let answer = exchange(url, smuggled.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

/// The limits under which [`no_body_is_answered_as_a_request`] has a body refused:
/// a refused body is given up early, and there is no memory for 24 KiB.
pub fn limits_that_refuse_bodies() -> BodyLimits {
    BodyLimits {
        max_bytes: 32 * 1024,
        uncounted_bytes: 4 * 1024,
        open_bytes: 16 * 1024,
        reserved_bytes: 0,
        idle_timeout: WAIT,
        total_timeout: WAIT * 2,
        max_discarded_bytes: 12 * 1024,
    }
}

/// A request inside the body of another one is never answered, whichever way the
/// service stops reading that body. `post` takes a body; each of `unread` is a
/// method and path that answers with this status without reading one.
pub async fn no_body_is_answered_as_a_request(
    url: &str,
    post: &str,
    unread: &[(&str, &str, &str)],
) {
    let hidden = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let framings = [
        (
            format!("content-length: {}\r\n", hidden.len()),
            hidden.to_vec(),
        ),
        ("content-length: 90000\r\n".to_owned(), hidden.to_vec()),
        (
            "transfer-encoding: chunked\r\n".to_owned(),
            [&b"400\r\n"[..], hidden].concat(),
        ),
        // The connection continues inside the length of a chunk.
        ("transfer-encoding: chunked\r\n".to_owned(), hidden.to_vec()),
    ];
    let long = "x".repeat(9 * 1024);
    for (method, path, status) in unread {
        for (framing, body) in &framings {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 192.0.2.1\r\n\
                 x: {long}\r\n{framing}\r\n"
            );
            // Together with the head, behind it, and behind the response.
            let together = [head.as_bytes(), body].concat();
            one_answer(url, &together, b"", status).await;
            one_answer(url, head.as_bytes(), body, status).await;
        }
    }
    // These are refused after more than 8 KiB: too long, no memory, too slow.
    let post = format!("POST {post} HTTP/1.1\r\nhost: localhost\r\n");
    let filler = vec![b' '; 24 * 1024];
    for (framing, begins, bytes, status) in [
        ("content-length: 90000\r\n", "", 16 * 1024, "413"),
        ("content-length: 30000\r\n", "", filler.len(), "503"),
        ("content-length: 30000\r\n", "", 9 * 1024, "408"),
        (
            "transfer-encoding: chunked\r\n",
            "7000\r\n",
            9 * 1024,
            "408",
        ),
    ] {
        let head = format!("{post}{framing}\r\n{begins}");
        let sent = [head.as_bytes(), &filler[..bytes]].concat();
        one_answer(url, &sent, hidden, status).await;
    }
}

/// Sends `first`, reads the answer, sends `then`: the only answer has this status
/// and says that the connection closes.
async fn one_answer(url: &str, first: &[u8], then: &[u8], status: &str) {
    let mut stream = connect(url).await;
    stream.write_all(first).await.unwrap();
    let mut answer = read_head(&mut stream).await;
    // The connection may be closed by now.
    let _ = stream.write_all(then).await;
    answer += &read_to_end(&mut stream).await;
    let shown = String::from_utf8_lossy(&first[..first.len().min(60)]).into_owned();
    let shown = format!("{shown} … {} bytes, then {}", first.len(), then.len());
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{shown}: {answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{shown}: {answer}");
    assert_eq!(
        answer.matches("connection: close\r\n").count(),
        1,
        "{shown}: {answer}"
    );
}

/// Requests behind a long one that has been read are answered.
pub async fn requests_behind_a_long_one_are_answered(url: &str, post: &str) {
    let long = "x".repeat(20 * 1024);
    let get = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n");
    let post = format!("POST {post} HTTP/1.1\r\nhost: localhost\r\n");
    let length = format!("{post}content-length: {}\r\n\r\n{long}", long.len());
    let chunk = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n{chunk}");
    let empty = format!("POST /nothing HTTP/1.1\r\nx: {long}\r\ncontent-length: 0\r\n\r\n");
    let last = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    for first in [get, length, chunked, empty] {
        let shown = first[..40].to_owned();
        let answer = exchange(url, format!("{first}{first}{last}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 3, "{shown}: {answer}");
        assert_eq!(
            answer.matches("connection: close\r\n").count(),
            1,
            "{shown}: {answer}"
        );
        assert!(answer.ends_with("ok"), "{shown}: {answer}");
    }
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
    }
}
