//! One expensive request.

/// A request and its maximum cost.
pub(super) struct Case {
    pub(super) name: String,
    /// For a normal size, in µs.
    pub(super) max_us: f64,
    pub(super) request: Vec<u8>,
}

/// Size of a request head in bytes: the maximum of both services.
pub(super) const SIZE: usize = 64 * 1024;
/// A request up to this size is a normal one, in bytes …
pub(super) const SMALL: usize = 4 * 1024;
/// … and this is the maximum CPU time of a gateway check or a probe with it, in µs.
pub(super) const MAX_GATE_US: f64 = 200.0;
/// Maximum CPU time of any other request, in µs.
pub(super) const MAX_OPEN_US: f64 = 2_000.0;

impl Case {
    /// The maximum CPU time, in µs.
    pub(super) fn limit_us(&self) -> f64 {
        match self.request.len() > SMALL + 300 {
            true => MAX_OPEN_US,
            false => self.max_us,
        }
    }
}

/// `text` repeated to `length` bytes.
pub(super) fn fill(text: &str, length: usize) -> Vec<u8> {
    text.bytes().cycle().take(length).collect()
}

/// A request with these headers and an optional body.
pub(super) fn request(
    method: &str,
    target: &[u8],
    headers: &[(&str, &[u8])],
    body: &[u8],
) -> Vec<u8> {
    let mut request = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"].concat();
    request.extend_from_slice(b"Host: localhost\r\n");
    if headers.iter().all(|(name, _)| *name != "Content-Type") {
        request.extend_from_slice(b"Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    [&request, length.as_bytes(), body].concat()
}
