//! Reads a request that has arrived in one piece, and in the form in which programs send it.
//!
//! It is read without the HTTP library's state and buffers, which cost more than most responses. All
//! other requests, and everything that may be read in more than one way, are left to the library.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Request, Status};

use crate::direct::Head;

/// Maximum number of headers; programs send a few.
const MAX_HEADERS: usize = 32;

/// Calls `what` with the head and the body of a request, if `bytes` are exactly one request, whose
/// connection stays open.
pub(super) fn read<T>(bytes: &[u8], what: impl FnOnce(&Head<'_>, &[u8]) -> Option<T>) -> Option<T> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    let parsed = ParserConfig::default().parse_request_with_uninit_headers(
        &mut request,
        bytes,
        &mut headers,
    );
    let Ok(Status::Complete(head_bytes)) = parsed else {
        return None;
    };
    let body = bytes.get(head_bytes..)?;
    let method = request.method.filter(|it| matches!(*it, "GET" | "POST"))?;
    let target = request.path.filter(|it| is_plain(it))?;
    let is_http_1_1 = request.version == Some(1);
    if !is_http_1_1 || body_bytes(request.headers)? != body.len() {
        return None;
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let head = Head {
        method,
        path,
        query,
        names_host: false,
        headers: request.headers,
    };
    what(&head, body)
}

/// The length of the body, if that is the only thing that the headers say about the connection and
/// the body.
fn body_bytes(headers: &[Header<'_>]) -> Option<usize> {
    let mut length = None;
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        match header.name.len() {
            // Expect, Upgrade
            6 if is("expect") => return None,
            7 if is("upgrade") => return None,
            10 if is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive") => {
                return None;
            }
            14 if is("content-length") => {
                if length.is_some() {
                    return None;
                }
                length = Some(decimal(header.value)?);
            }
            16 if is("content-encoding") => return None,
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    Some(length.unwrap_or(0))
}

/// A number of at most four digits: no longer body fits into the bytes that are read at once.
fn decimal(text: &[u8]) -> Option<usize> {
    let is_number = (1..=4).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok()?;
    is_number.then(|| text.parse().ok())?
}

/// Whether every reader of URLs agrees on the parts of a target.
fn is_plain(target: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/?&=-._~%:,;+@!$'()*".contains(&byte);
    target.starts_with('/') && target.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "{\"featureKey\":\"a\"}";

    fn request(line: &str, headers: &[&str], body: &str) -> String {
        let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
        format!("{line}\r\n{headers}\r\n{body}")
    }

    fn is_read(text: &str) -> bool {
        read(text.as_bytes(), |_, _| Some(())).is_some()
    }

    #[test]
    fn usual_requests_are_read() {
        let post = request(
            "POST /api/x?a=%20b HTTP/1.1",
            &["Host: vms", "Content-Length: 18", "X-A: 1", "x-a:2 "],
            BODY,
        );
        let read = read(post.as_bytes(), |head, body| {
            assert_eq!((head.method, head.path), ("POST", "/api/x"));
            assert_eq!(head.query, Some("a=%20b"));
            assert_eq!(head.value("HOST"), Some(&b"vms"[..]));
            let both: Vec<&[u8]> = head.values("x-a").collect();
            assert_eq!(both, [b"1", b"2"]);
            assert_eq!(body, BODY.as_bytes());
            Some(())
        });
        assert_eq!(read, Some(()));
        for (line, headers) in [
            ("GET / HTTP/1.1", &["Host: a"][..]),
            ("GET /?? HTTP/1.1", &["Host: a", "Connection: Keep-Alive"]),
            ("POST /x HTTP/1.1", &["content-length: 0"]),
            ("GET /x HTTP/1.1", &[]),
        ] {
            assert!(is_read(&request(line, headers, "")), "{line} {headers:?}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_library() {
        for (line, headers, body) in [
            // Parts of requests, and more than one.
            ("POST /x HTTP/1.1", &["content-length: 19"][..], BODY),
            ("POST /x HTTP/1.1", &["content-length: 17"], BODY),
            ("GET /x HTTP/1.1", &[], BODY),
            ("GET /x HTTP/1.1", &[], "GET /x HTTP/1.1\r\n\r\n"),
            // What the headers say about the connection or the body.
            (
                "POST /x HTTP/1.1",
                &["content-length: 18", "content-length: 18"],
                BODY,
            ),
            ("POST /x HTTP/1.1", &["content-length: +18"], BODY),
            ("POST /x HTTP/1.1", &["content-length: 18, 18"], BODY),
            ("POST /x HTTP/1.1", &["content-length: 0x12"], BODY),
            ("POST /x HTTP/1.1", &["content-length:"], ""),
            (
                "POST /x HTTP/1.1",
                &["content-length: 99999999999999999999"],
                BODY,
            ),
            (
                "POST /x HTTP/1.1",
                &["content-length: 18", "Transfer-Encoding: chunked"],
                BODY,
            ),
            ("POST /x HTTP/1.1", &["transfer-encoding: identity"], ""),
            (
                "POST /x HTTP/1.1",
                &["content-length: 18", "Content-Encoding: gzip"],
                BODY,
            ),
            (
                "POST /x HTTP/1.1",
                &["content-length: 18", "Expect: 100-continue"],
                BODY,
            ),
            ("GET /x HTTP/1.1", &["Connection: close"], ""),
            ("GET /x HTTP/1.1", &["Connection: keep-alive, te"], ""),
            (
                "GET /x HTTP/1.1",
                &["connection: Upgrade", "upgrade: h2c"],
                "",
            ),
            // Other versions, methods and targets.
            ("GET /x HTTP/1.0", &[], ""),
            ("HEAD /x HTTP/1.1", &[], ""),
            ("CONNECT a:1 HTTP/1.1", &[], ""),
            ("OPTIONS * HTTP/1.1", &[], ""),
            ("GET http://a/x HTTP/1.1", &[], ""),
            ("GET x HTTP/1.1", &[], ""),
            ("GET /x#y HTTP/1.1", &[], ""),
            ("GET /x\\y HTTP/1.1", &[], ""),
            ("GET /\u{e4} HTTP/1.1", &[], ""),
            // Spellings that not every reader accepts.
            ("GET  /x HTTP/1.1", &[], ""),
            ("GET /x HTTP/1.1 ", &[], ""),
            ("GET /x HTTP/1.1", &["a : b"], ""),
            ("GET /x HTTP/1.1", &["a: b", " c: d"], ""),
            ("GET /x HTTP/1.1", &["a\0: b"], ""),
        ] {
            assert!(
                !is_read(&request(line, headers, body)),
                "{line} {headers:?}"
            );
        }
        let many = vec!["a: b"; MAX_HEADERS + 1];
        assert!(!is_read(&request("GET /x HTTP/1.1", &many, "")));
    }
}
