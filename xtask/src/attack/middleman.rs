//! An attacker between a site and its License Server.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Outcome;
use crate::http::{connect, head_and_body, read_answer};
use crate::stage::{FEATURE, Stage};

/// Turns each validation into a deactivation, and its receipt into a denial.
pub(super) fn deactivates(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let key = stage.issue(&["--seats", "1"])?;
    let changed = Arc::new(AtomicU32::new(0));
    let between = stand_between(server.port, changed.clone())?;
    let client = stage.client(between, "site", &[])?;
    client.activate(&key)?;
    ensure!(client.standing()? == "active", "the site is not active");
    for _ in 0..2 {
        client.ask("POST", "/api/license/validate", &Value::Null)?;
    }
    ensure!(
        changed.load(Ordering::SeqCst) > 0,
        "no validation was modified in transit"
    );
    let standing = client.standing()?;
    let check = json!({ "featureKey": FEATURE });
    let check = client.ask("POST", "/api/license/feature/check", &check)?;
    let is_on = check.json()["available"] == true;
    let seen = format!(
        "{standing}, {FEATURE} is {}",
        if is_on { "on" } else { "off" }
    );
    Ok(Outcome::new(standing != "lapsed" && is_on, seen))
}

/// Listens on a port, and forwards modified requests.
fn stand_between(server: u16, changed: Arc<AtomicU32>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let changed = changed.clone();
            std::thread::spawn(move || {
                // The client has hung up.
                let _ = pass_on(connection, server, &changed);
            });
        }
    });
    Ok(port)
}

fn pass_on(mut client: TcpStream, server: u16, changed: &AtomicU32) -> Result<()> {
    loop {
        let (head, body) = read_request(&mut client)?;
        let mut lines = head.lines();
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, path, _] = first[..] else {
            anyhow::bail!("an unexpected request");
        };
        let headers: Vec<(&str, &str)> = lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
            .collect();
        let is_validation = path.ends_with("/licenses/validate");
        let path = match is_validation {
            true => path.replace("/validate", "/deactivate"),
            false => path.to_owned(),
        };
        let mut upstream = connect(server)?;
        upstream.write_all(head_and_body(method, &path, &headers, &body).as_bytes())?;
        let answer = read_answer(&mut upstream)?;
        let body = if is_validation {
            changed.fetch_add(1, Ordering::SeqCst);
            as_refusal(&answer.json()).to_string()
        } else {
            answer.body
        };
        write!(
            client,
            "HTTP/1.1 {} Answer\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            answer.status,
            body.len()
        )?;
    }
}

/// Presents the receipt of a deactivation as a denied validation.
fn as_refusal(receipt: &Value) -> Value {
    json!({"success": true, "data": {
        "isValid": false,
        "reason": receipt["error"]["code"],
        "message": receipt["error"]["message"],
        "signature": receipt["data"]["signature"],
    }})
}

fn read_request(stream: &mut TcpStream) -> Result<(String, String)> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        ensure!(stream.read(&mut byte)? == 1, "the connection was closed");
        read.push(byte[0]);
    }
    let head = String::from_utf8(read)?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Ok(0), |(_, value)| value.trim().parse())
        .context("an unexpected length")?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, String::from_utf8(body)?))
}
