//! Detects connections that begin with a protocol other than HTTP.

use std::net::IpAddr;

/// The first bytes of PROXY protocol version 2 (haproxy.org, proxy-protocol.txt, section 2.2).
const PROXY_V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The first bytes of a connection.
#[derive(Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; PROXY_V2.len()],
    length: usize,
}

/// A protocol other than HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Proxy,
    Tls,
}

impl Opening {
    /// Records received bytes, and logs a detected protocol.
    pub(super) fn receive(&mut self, bytes: &[u8], peer: IpAddr) {
        let fits = bytes.len().min(self.bytes.len() - self.length);
        let was_known = self.protocol().is_some();
        self.bytes[self.length..][..fits].copy_from_slice(&bytes[..fits]);
        self.length += fits;
        if was_known {
            return;
        }
        match self.protocol() {
            Some(Protocol::Proxy) => tracing::warn!(
                %peer,
                "the proxy uses the PROXY protocol, which is not supported; turn it off in the \
                 proxy and use X-Forwarded-For"
            ),
            Some(Protocol::Tls) => tracing::warn!(
                %peer,
                "a caller uses TLS on a port without TLS; change the caller's URL to http://, or \
                 put a proxy with TLS in front of this port"
            ),
            None => {}
        }
    }

    fn protocol(&self) -> Option<Protocol> {
        let first = &self.bytes[..self.length];
        match first {
            // `PROXY TCP4`, `PROXY TCP6`, `PROXY UNKNOWN`
            [b'P', b'R', b'O', b'X', b'Y', b' ', b'T' | b'U', ..] => Some(Protocol::Proxy),
            first if first == PROXY_V2 => Some(Protocol::Proxy),
            // A handshake record (RFC 8446, section 5.1).
            [0x16, 0x03, 0..=4, ..] => Some(Protocol::Tls),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The result after each byte, received alone.
    fn known(bytes: &[u8]) -> Option<Protocol> {
        let mut opening = Opening::default();
        for byte in bytes {
            opening.receive(&[*byte], Ipv4Addr::LOCALHOST.into());
        }
        let mut whole = Opening::default();
        whole.receive(bytes, Ipv4Addr::LOCALHOST.into());
        assert_eq!(opening.protocol(), whole.protocol());
        whole.protocol()
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        for (bytes, protocol) in [
            (
                &b"PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n"[..],
                Some(Protocol::Proxy),
            ),
            (b"PROXY TCP6 ::1 ::1 5 80\r\n", Some(Protocol::Proxy)),
            (b"PROXY UNKNOWN\r\n", Some(Protocol::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Some(Protocol::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT", None),
            (b"\x16\x03\x01\x02\0", Some(Protocol::Tls)),
            (b"\x16\x03\x03", Some(Protocol::Tls)),
            (b"\x16\x04\x03", None),
            (b"PROXY / HTTP/1.1\r\n", None),
            (b"GET / HTTP/1.1\r\n", None),
            (b"PRI * HTTP/2.0\r\n", None),
            (b"", None),
        ] {
            assert_eq!(known(bytes), protocol, "{}", bytes.escape_ascii());
        }
    }
}
