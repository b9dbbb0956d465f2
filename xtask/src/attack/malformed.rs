//! Malformed requests.

use std::io::{ErrorKind, Write as _};

use anyhow::Result;

use super::Outcome;
use crate::http::{connect, read_answer, request};
use crate::stage::{Stage, UNTRUSTED};

/// A feature check with this head and body.
fn check(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST /api/license/feature/check HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\n{head}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(super) fn requests(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let client = stage.client(server.port, "site", UNTRUSTED)?;
    let good = br#"{"featureKey":"module.live_view"}"#;
    let length = |count: usize| format!("Content-Length: {count}\r\n");
    let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    // The beginning of a gzip stream, which must not be decompressed.
    let gzip = [&b"\x1f\x8b\x08\0\0\0\0\0\0\xff"[..], &[0; 64]].concat();
    let wrong = [
        (
            "two lengths",
            check(&format!("{}{}", length(good.len()), length(5)), good),
        ),
        (
            "a length and chunks",
            check(
                &format!("{}Transfer-Encoding: chunked\r\n", length(5)),
                b"0\r\n\r\n",
            ),
        ),
        ("a signed length", check("Content-Length: +33\r\n", good)),
        ("deep JSON", check(&length(deep.len()), deep.as_bytes())),
        (
            "a compressed body",
            check(
                &format!("Content-Encoding: gzip\r\n{}", length(gzip.len())),
                &gzip,
            ),
        ),
        (
            "a foreign target",
            b"GET http://evil.example/api/license/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
                .to_vec(),
        ),
        (
            "two hosts",
            b"GET /api/license/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
                .to_vec(),
        ),
        (
            "CONNECT",
            b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n".to_vec(),
        ),
    ];
    let mut taken = Vec::new();
    for (name, bytes) in &wrong {
        let mut stream = connect(client.port)?;
        stream.write_all(bytes)?;
        // A connection that is closed without a response counts as refused; one that stays open
        // without a response does not.
        let status = match read_answer(&mut stream) {
            Ok(answer) => answer.status,
            Err(error)
                if error
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|error| error.kind() == ErrorKind::WouldBlock) =>
            {
                0
            }
            Err(_) => 400,
        };
        if !(400..500).contains(&status) {
            taken.push(format!("{name}: {status}"));
        }
    }
    let alive = request(client.port, "GET", "/livez", &[], "")?.status == 200;
    let seen = match taken.as_slice() {
        [] => format!("all {} are refused", wrong.len()),
        taken => taken.join(", "),
    };
    Ok(Outcome::new(taken.is_empty() && alive, seen))
}
