//! Raw HTTP requests.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Timeout of a response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum size of a response in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A response.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case, each followed by a line break.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found == name).then(|| value.trim())
        })
    }

    /// The body as JSON, or null.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends one request on a new connection. `headers` may replace `Host`.
pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let mut stream = connect(port)?;
    stream.write_all(head_and_body(method, path, headers, body).as_bytes())?;
    read_answer(&mut stream)
}

/// The bytes of a request.
pub(crate) fn head_and_body(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    let has = |wanted: &str| {
        headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if !has("host") {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() && !has("content-type") {
        text.push_str("Content-Type: application/json\r\n");
    }
    if !has("content-length") {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}")
}

pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads one response; later data stays in the connection.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Result<Answer> {
    let mut read = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let end = loop {
        if let Some(at) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 4;
        }
        let count = stream.read(&mut buffer)?;
        anyhow::ensure!(count > 0, "the connection closed before the response");
        read.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let status = head.get(9..12).and_then(|it| it.parse().ok());
    let mut answer = Answer {
        status: status.context("a response without a status")?,
        head,
        body: String::new(),
    };
    let length: Option<usize> = answer
        .header("content-length")
        .and_then(|it| it.parse().ok());
    let is_chunked = answer.header("transfer-encoding") == Some("chunked");
    let mut body = read.split_off(end);
    let is_whole = |body: &[u8]| match length {
        Some(length) => body.len() >= length,
        None if is_chunked => body.ends_with(b"0\r\n\r\n"),
        None => matches!(answer.status, 204 | 304),
    };
    while !is_whole(&body) && body.len() < MAX_ANSWER_BYTES {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => body.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer)
}

/// Whether the peer closes the connection within `wait` after it received
/// `bytes`.
pub(crate) fn ends_within(port: u16, bytes: &[u8], wait: Duration) -> Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(bytes)?;
    stream.set_read_timeout(Some(wait))?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            // Reset.
            Err(_) => return Ok(true),
        }
    }
}
