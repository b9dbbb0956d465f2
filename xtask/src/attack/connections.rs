//! Connections that hold resources.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use super::Outcome;
use crate::bench::resident_kib;
use crate::http::{connect, ends_within};
use crate::stage::{Running, Stage, UNTRUSTED};

/// How much unauthenticated callers may add to the memory of a License Client, in KiB.
const MAX_ADDED_KIB: u64 = 64 * 1024;
/// The maximum body size of open routes, minus one byte.
const BODY: usize = 1_100_000;

pub(super) fn memory(stage: &Stage) -> Result<Outcome> {
    let mut command = stage.command("license-client", "client");
    command.envs(UNTRUSTED.iter().copied());
    let client = stage.serve(command)?;
    let before = resident_kib(client.pid())?;
    let body = vec![b' '; BODY - 1];
    let mut held: Vec<TcpStream> = Vec::new();
    let mut refused = 0;
    for path in ["/api/license/feature/check", "/api/license/activate"] {
        for _ in 0..stage.sized(75, 200) {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {BODY}\r\n\r\n"
            );
            let Ok(mut stream) = connect(client.port) else {
                refused += 1;
                continue;
            };
            stream.set_write_timeout(Some(Duration::from_millis(500)))?;
            // A service that refuses or stops reading has already answered.
            let sent = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
            refused += u32::from(sent.is_err());
            held.push(stream);
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let after = resident_kib(client.pid())?;
    let added = after.saturating_sub(before);
    let seen = format!(
        "memory grew from {} MB to {} MB; {refused} of {} connections refused while sending",
        before / 1024,
        after / 1024,
        held.len()
    );
    Ok(Outcome::new(added <= MAX_ADDED_KIB, seen))
}

/// The HTTP/2 preface (RFC 9113, section 3.4) with an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(super) fn stalls(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let client = stage.client(server.port, "site", UNTRUSTED)?;
    let wait = Duration::from_secs(stage.sized(40, 75));
    let mut works = Vec::new();
    for (name, running) in [("client", &client), ("server", &server)] {
        if serves_http2(running)? {
            works.push(format!("{name} serves HTTP/2"));
        }
    }
    let stalls: [(&str, &[u8]); 7] = [
        ("nothing", b""),
        ("one byte", b"G"),
        ("half a preface", b"PRI * HTTP/2"),
        ("a whole preface", PREFACE),
        ("half a head", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-"),
        (
            "half a body",
            b"POST /api/license/feature/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{",
        ),
        (
            "half a chunk",
            b"POST /api/license/feature/check HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        ),
    ];
    std::thread::scope(|scope| {
        let mut waiting = Vec::new();
        for (name, running) in [("client", &client), ("server", &server)] {
            for (what, bytes) in stalls {
                let port = running.port;
                let stall = scope.spawn(move || ends_within(port, bytes, wait));
                waiting.push((format!("{name}: {what}"), stall));
            }
        }
        for (what, stall) in waiting {
            match stall.join() {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => works.push(format!("{what} stays open")),
                Ok(Err(error)) => works.push(format!("{what}: {error}")),
                Err(_) => works.push(format!("{what}: the attack failed")),
            }
        }
    });
    let seen = match works.as_slice() {
        [] => format!(
            "no HTTP/2, and all {} stalled connections are closed",
            stalls.len() * 2
        ),
        works => format!("{} (after {} s)", works.join(", "), wait.as_secs()),
    };
    Ok(Outcome::new(works.is_empty(), seen))
}

/// Whether the response to the preface is a SETTINGS frame.
fn serves_http2(running: &Running) -> Result<bool> {
    const SETTINGS: u8 = 4;
    let mut stream = connect(running.port)?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(PREFACE)?;
    let mut frame = [0; 9];
    let read = std::io::Read::read_exact(&mut stream, &mut frame);
    Ok(read.is_ok() && frame[3] == SETTINGS && frame[5..9] == [0; 4])
}
