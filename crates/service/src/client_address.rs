//! The address of a caller, if there are proxies in front of the service.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use clap::Args;

use crate::loopback;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The number of proxies in front of the service that are trusted to report their caller's address.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct TrustedProxies {
    /// Number of proxies in front of the service, each adding its caller's address to
    /// X-Forwarded-For; with 0, the header is ignored
    #[arg(
        long,
        env,
        default_value_t = 0,
        value_name = "NUMBER",
        value_parser = number
    )]
    trusted_proxies: u8,
}

impl TrustedProxies {
    /// This many proxies.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self {
            trusted_proxies: number,
        }
    }

    /// Whether the header is present but ignored, because no proxy is trusted.
    #[must_use]
    pub fn ignores_header(self, headers: &HeaderMap) -> bool {
        self.trusted_proxies == 0 && headers.contains_key(FORWARDED_FOR)
    }

    /// The address of the caller of the first trusted proxy: the entry at that position from the
    /// right in `X-Forwarded-For`, whose lines form one list (RFC 9110, section 5.3). Entries
    /// further left were written by the caller and are ignored. If there are fewer entries, or
    /// the entry is not an address, this is the peer's own address.
    #[must_use]
    pub fn client_address(self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let entry = match self.trusted_proxies {
            0 => None,
            number => entries.nth(usize::from(number) - 1),
        };
        entry.and_then(address).unwrap_or(peer).to_canonical()
    }
}

/// Maximum number of proxies that a request passes.
const MAX_PROXIES: u8 = 16;

fn number(text: &str) -> Result<u8, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| *number <= MAX_PROXIES)
        .ok_or_else(|| format!("expected a number from 0 to {MAX_PROXIES}"))
}

/// The network that counts as one caller: a host is assigned a whole /64 of IPv6, and the users of
/// this machine have all addresses of 127.0.0.0/8.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match loopback::counted(address) {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// An entry: an address, which some proxies write with its port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = HeaderValue::from_bytes(entry.trim_ascii()).ok()?;
    let text = entry.to_str().ok()?;
    let bracketed = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    match bracketed {
        Some(address) => address.parse().ok().map(IpAddr::V6),
        None => text
            .parse()
            .or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()))
            .ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.0.0.9";

    fn seen(proxies: u8, lines: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let address = TrustedProxies::new(proxies).client_address(PEER.parse().unwrap(), &headers);
        address.to_string()
    }

    #[test]
    fn the_address_stands_as_far_from_the_right_as_there_are_proxies() {
        let list: &[&[u8]] = &[b"1.1.1.1, 2.2.2.2 ,3.3.3.3"];
        for (proxies, expected) in [(0, PEER), (1, "3.3.3.3"), (2, "2.2.2.2"), (3, "1.1.1.1")] {
            assert_eq!(seen(proxies, list), expected, "{proxies}");
        }
        // Several header lines form one list.
        let lines: &[&[u8]] = &[b"1.1.1.1", b"2.2.2.2,3.3.3.3", b"4.4.4.4"];
        for (proxies, expected) in [(1, "4.4.4.4"), (2, "3.3.3.3"), (4, "1.1.1.1")] {
            assert_eq!(seen(proxies, lines), expected, "{proxies}");
        }
    }

    #[test]
    fn too_few_entries_and_malformed_ones_are_the_peer() {
        assert_eq!(seen(1, &[]), PEER);
        assert_eq!(seen(3, &[b"1.1.1.1, 2.2.2.2"]), PEER);
        let malformed: [&[u8]; 12] = [
            b"",
            b"unknown",
            b"_hidden",
            b"1.1.1",
            b"1.1.1.1.1",
            b"01.1.1.1",
            b"fe80::1%eth0",
            b"[::1",
            b"[1.1.1.1]",
            b"1.1.1.1 2.2.2.2",
            b"\xff1.1.1.1",
            b"1.1.1.1;",
        ];
        for entry in malformed {
            assert_eq!(seen(1, &[entry]), PEER, "{entry:?}");
            // Entries to the left of it are chosen by the caller.
            assert_eq!(seen(1, &[b"6.6.6.6", entry]), PEER, "{entry:?}");
        }
        // Entries further left, written by the caller, are ignored.
        assert_eq!(seen(1, &[b"\xff, unknown", b"2.2.2.2"]), "2.2.2.2");
    }

    #[test]
    fn a_header_is_ignored_only_where_no_proxy_is_trusted() {
        let mut headers = HeaderMap::new();
        let ignores =
            |proxies, headers: &HeaderMap| TrustedProxies::new(proxies).ignores_header(headers);
        assert!(!ignores(0, &headers));
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("1.2.3.4"));
        assert!(ignores(0, &headers) && !ignores(1, &headers));
    }

    #[test]
    fn a_number_of_proxies_is_small() {
        assert_eq!(
            (number("0"), number(" 2 "), number("16")),
            (Ok(0), Ok(2), Ok(16))
        );
        for wrong in ["", "-1", "17", "256", "1.5", "many"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_host_has_one_address_however_it_is_written() {
        for entry in [
            &b"::ffff:1.2.3.4"[..],
            b"1.2.3.4:5678",
            b"[::ffff:1.2.3.4]:1",
        ] {
            assert_eq!(seen(1, &[entry]), "1.2.3.4");
        }
        for entry in [
            &b"2001:db8::1"[..],
            b"[2001:DB8:0::1]",
            b"[2001:db8::1]:443",
        ] {
            assert_eq!(seen(1, &[entry]), "2001:db8::1");
        }
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:1.2.3.4"), "1.2.3.4");
        assert_eq!(network("1.2.3.4"), "1.2.3.4");
        for loopback in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.9"] {
            assert_eq!(network(loopback), "127.0.0.1");
        }
    }
}
