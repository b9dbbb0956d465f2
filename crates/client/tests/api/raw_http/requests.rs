//! Requests that are malformed, or hidden behind others.

use license_service::request_body::BodyLimits;
use tokio::io::AsyncWriteExt as _;

use super::{ON_EVERY_RESPONSE, WAIT, connect, exchange, read_head, read_to_end};

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
