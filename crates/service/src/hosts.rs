//! The names that a service may be called by.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header;
use axum::http::uri::Authority;

/// Longest name with its port, in characters (RFC 1035, section 2.3.4).
const MAX_HOST_CHARS: usize = 253 + 6;

/// Names that a page on the internet cannot point at this machine: an address,
/// a name without dots, or a name on the list. This is what stops DNS
/// rebinding.
#[derive(Debug)]
pub struct Hosts {
    allowed: Vec<String>,
}

impl Hosts {
    /// The usual names, and these.
    #[must_use]
    pub fn new(allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|host| host.trim().to_ascii_lowercase());
        Self {
            allowed: allowed.collect(),
        }
    }

    /// The name that a request calls the service by, if that is none of its: at most
    /// as much of it as a name can have.
    #[must_use]
    pub fn stranger(&self, request: &Request) -> Option<String> {
        // HTTP/1.0 probes send no Host, and a browser always does. HTTP/2 and
        // requests through a proxy name it in the address.
        let named = request.headers().get_all(header::HOST).iter();
        let named = named.map(|host| host.to_str().unwrap_or_default());
        let address = request.uri().authority().map(Authority::as_str);
        let mut names = named.chain(address);
        let stranger = names.find(|host| !self.knows(host))?;
        Some(stranger.chars().take(MAX_HOST_CHARS).collect())
    }

    fn knows(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) {
                name
            } else {
                host
            }
        });
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() {
            return false;
        }
        !name.contains('.') && !name.contains(':')
            || name.parse::<IpAddr>().is_ok()
            || self.allowed.iter().any(|it| name.eq_ignore_ascii_case(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_single_labels_or_listed() {
        let hosts = Hosts::new(&["VMS.example".into()]);
        for known in [
            "localhost",
            "localhost:8010",
            "license-client:8000",
            "10.1.2.3",
            "10.1.2.3:8010",
            "[::1]:8000",
            "[fe80::1]",
            "vms.example",
            "vms.EXAMPLE:443",
        ] {
            assert!(hosts.knows(known), "{known}");
        }
        for unknown in [
            "",
            "evil.example",
            "evil.example:8000",
            "1.2.3.4.nip.io",
            ":8000",
            "vms.example.evil.com",
        ] {
            assert!(!hosts.knows(unknown), "{unknown}");
        }
    }
}
