//! Writes a direct response as bytes.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use httpdate::HttpDate;

use crate::direct::DirectResponse;
use crate::{clock, response_headers};

/// More than the head of most responses has.
const HEAD_BYTES: usize = 512;

static SECURITY_LINES: LazyLock<String> = LazyLock::new(response_headers::lines);

thread_local! {
    /// The last second, and its date as in headers (RFC 9110, section 5.6.7).
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// The response with the headers that every response has.
pub(super) fn bytes_of(response: &DirectResponse) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + response.body.len());
    let status = response.status;
    bytes.extend_from_slice(b"HTTP/1.1 ");
    bytes.extend_from_slice(status.as_str().as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    for (name, value) in &response.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(SECURITY_LINES.as_bytes());
    // The length would be that of the response that the caller has (RFC 9110, section 8.6).
    if status != StatusCode::NOT_MODIFIED {
        // Writing into memory does not fail.
        let _ = write!(bytes, "content-length: {}\r\n", response.body.len());
    }
    bytes.extend_from_slice(b"date: ");
    write_date(&mut bytes);
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(&response.body);
    bytes
}

fn write_date(bytes: &mut Vec<u8>) {
    let now = clock::unix_seconds();
    DATE.with_borrow_mut(|(second, date)| {
        if *second != now {
            *second = now;
            let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
            *date = HttpDate::from(instant).to_string();
        }
        bytes.extend_from_slice(date.as_bytes());
    });
}
