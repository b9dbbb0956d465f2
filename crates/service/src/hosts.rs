//! The host names under which a service may be called.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::Request;
use axum::http::header;
use axum::http::uri::Authority;
use url::Host;

use crate::direct::text_of;

/// Maximum length of a name, in characters (RFC 1035, section 2.3.4).
const MAX_HOST_CHARS: usize = 253;

/// Names that a page on the internet cannot point at this machine: an address, a name without dots,
/// or a name on the list. This prevents DNS rebinding.
#[derive(Debug)]
pub struct Hosts {
    allowed: Vec<AllowedHost>,
}

/// An entry of `ALLOWED_HOSTS`, as people write it: a name, a name with a port, a URL, or
/// `*.example` for every name below another. All names are in lower case and ASCII, without a dot
/// at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// This name.
    Name(String),
    /// Every name with this suffix, which begins with a dot.
    Below(String),
    /// An entry that has no effect: an address, which is always accepted, or an empty text.
    Nothing,
}

/// Why a text is not a valid entry of `ALLOWED_HOSTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedHostError {
    /// It would accept every name.
    #[error(
        "'*' would accept every name, including any website that points its name at this \
         machine; expected names such as vms.example, or *.example for all names below it"
    )]
    Everything,
    /// It contains a user name or a password.
    #[error("must not contain a user name or password")]
    User,
    /// It is not a host name.
    #[error("expected a host name such as vms.example, or *.example for all names below it")]
    NotAName,
}

/// A request names a host that is not accepted: the name in the form of `ALLOWED_HOSTS`, without a
/// port, and truncated to the maximum length of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown host name '{0}'. Add the name to ALLOWED_HOSTS.")]
pub struct UnknownHost(String);

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        if text.contains('@') {
            return Err(AllowedHostError::User);
        }
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::Nothing);
        }
        let is_scheme = |scheme: &str| {
            let mut known = ["http", "https"].into_iter();
            known.any(|known| scheme.eq_ignore_ascii_case(known))
        };
        let text = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => rest,
            Some(_) => return Err(AllowedHostError::NotAName),
            None => text,
        };
        let text = text.strip_suffix('/').unwrap_or(text);
        let host = without_port(text);
        if is_address(host) {
            return Ok(Self::Nothing);
        }
        match host.strip_prefix('*') {
            Some("" | ".") => Err(AllowedHostError::Everything),
            Some(below) => match below.strip_prefix('.') {
                Some(name) => Ok(Self::Below(format!(".{}", ascii(name)?))),
                None => Err(AllowedHostError::NotAName),
            },
            None => Ok(Self::Name(ascii(host)?)),
        }
    }
}

/// A name as browsers send it (UTS #46).
fn ascii(name: &str) -> Result<String, AllowedHostError> {
    let name = without_last_dot(name);
    let is_escaped = name.contains('%') || name.split('.').any(str::is_empty);
    match Host::parse(name) {
        Ok(Host::Domain(name)) if !is_escaped && is_name(&name) => Ok(name),
        _ => Err(AllowedHostError::NotAName),
    }
}

impl Hosts {
    /// The default names in addition to these.
    #[must_use]
    pub fn new(allowed: &[AllowedHost]) -> Self {
        Self {
            allowed: allowed.to_vec(),
        }
    }

    /// The host name in a request, if it is not accepted.
    #[must_use]
    pub fn unknown_host(&self, request: &Request) -> Option<UnknownHost> {
        // HTTP/1.0 probes send no Host, and a browser always does. HTTP/2 and
        // requests through a proxy name it in the address.
        let named = request.headers().get_all(header::HOST).iter();
        let named = named.map(|host| host.to_str().unwrap_or_default());
        let address = request.uri().authority().map(Authority::as_str);
        let mut names = named.chain(address).map(name_of);
        let unknown = names.find(|name| !self.accepts(name))?;
        Some(UnknownHost(unknown.chars().take(MAX_HOST_CHARS).collect()))
    }

    /// Whether the value of a `Host` header is accepted.
    #[must_use]
    pub fn accepts_header(&self, host: &[u8]) -> bool {
        text_of(host).is_some_and(|host| self.accepts(&name_of(host)))
    }

    fn accepts(&self, name: &str) -> bool {
        let is_listed = |allowed: &AllowedHost| match allowed {
            AllowedHost::Name(allowed) => name == allowed,
            AllowedHost::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            AllowedHost::Nothing => false,
        };
        is_address(name)
            || is_name(name) && (!name.contains('.') || self.allowed.iter().any(is_listed))
    }
}

/// The name in a `Host` header, in lower case and without its port.
fn name_of(host: &str) -> String {
    let name = without_port(host);
    let name = name.strip_prefix('[').unwrap_or(name);
    let name = name.strip_suffix(']').unwrap_or(name);
    without_last_dot(name).to_ascii_lowercase()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The part after the last colon of an address without brackets is not a port.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            let is_port = port.is_empty() || port.parse::<u16>().is_ok() || port == "*";
            if is_port { name } else { host }
        }
        _ => host,
    }
}

/// A trailing dot marks a fully qualified name (RFC 1034, section 3.1).
fn without_last_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a text has only the characters of names. Others, such as slashes, are read in several
/// ways.
fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    without_last_dot(bare.unwrap_or(host))
        .parse::<IpAddr>()
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(allowed: &[&str]) -> Hosts {
        let allowed: Vec<AllowedHost> = allowed.iter().map(|it| it.parse().unwrap()).collect();
        Hosts::new(&allowed)
    }

    fn unknown_host(hosts: &Hosts, host: &str) -> Option<String> {
        let request = Request::builder().header(header::HOST, host);
        let unknown = hosts.unknown_host(&request.body(axum::body::Body::empty()).unwrap());
        unknown.map(|UnknownHost(name)| name)
    }

    #[test]
    fn hosts_are_addresses_single_labels_or_listed() {
        let hosts = hosts(&["VMS.example"]);
        for known in [
            "localhost",
            "localhost.",
            "localhost:8010",
            "localhost.:8010",
            "license-client:8000",
            "10.1.2.3",
            "10.1.2.3:8010",
            "10.1.2.3.",
            "[::1]:8000",
            "[fe80::1]",
            "vms.example",
            "vms.EXAMPLE:443",
            "vms.example.",
            "vms.example.:8443",
        ] {
            assert_eq!(unknown_host(&hosts, known), None, "{known}");
        }
        for (unknown, shown) in [
            ("", ""),
            ("evil.example", "evil.example"),
            ("EVIL.example.:8000", "evil.example"),
            ("1.2.3.4.nip.io", "1.2.3.4.nip.io"),
            (":8000", ""),
            (".", ""),
            ("localhost..", "localhost."),
            ("vms.example..", "vms.example."),
            ("vms.example.evil.com", "vms.example.evil.com"),
            ("x.vms.example", "x.vms.example"),
            ("vms.example:x", "vms.example:x"),
            ("vms.example:80:80", "vms.example:80:80"),
            ("evil.com:vms.example", "evil.com:vms.example"),
            ("::1:evil.com", "::1:evil.com"),
            ("2130706433.evil.com", "2130706433.evil.com"),
            (r"x\alarms\1?", r"x\alarms\1?"),
            (r"localhost:1\alarms\1?", r"localhost:1\alarms\1?"),
            ("x/alarms:80", "x/alarms"),
            ("x@localhost", "x@localhost"),
        ] {
            let found = unknown_host(&hosts, unknown);
            assert_eq!(found.as_deref(), Some(shown), "{unknown}");
        }
    }

    #[test]
    fn entries_mean_what_people_mean_by_them() {
        for entry in [
            "vms.example",
            " VMS.Example ",
            "vms.example.",
            "vms.example:8443",
            "vms.example:*",
            "https://vms.example",
            "HTTPS://vms.example:8443/",
            "http://vms.example/",
            "vms.example/",
        ] {
            let hosts = hosts(&[entry]);
            assert_eq!(unknown_host(&hosts, "vms.example:8443"), None, "{entry}");
            let below = unknown_host(&hosts, "a.vms.example");
            assert_eq!(below.as_deref(), Some("a.vms.example"), "{entry}");
        }
        for entry in ["*.example", "*.EXAMPLE.", "https://*.example:8443"] {
            let hosts = hosts(&[entry]);
            for name in ["vms.example", "a.b.example.", "A.Example:80"] {
                assert_eq!(unknown_host(&hosts, name), None, "{entry} {name}");
            }
            for name in [
                "evilexample.com",
                "vms.example.com",
                "x.notexample",
                ".example",
                "x/y.example",
            ] {
                assert!(unknown_host(&hosts, name).is_some(), "{entry} {name}");
            }
        }
        let name = "Überwachung.example".parse();
        assert_eq!(
            name,
            Ok(AllowedHost::Name("xn--berwachung-8db.example".to_owned()))
        );
        for entry in [
            "",
            " ",
            "10.1.2.3",
            "10.1.2.3:8010",
            "[::1]:8000",
            "::1",
            "http://10.1.2.3/",
        ] {
            assert_eq!(entry.parse(), Ok(AllowedHost::Nothing), "{entry}");
        }
    }

    #[test]
    fn an_entry_that_matches_nothing_or_everything_is_refused() {
        for (entry, error) in [
            ("*", AllowedHostError::Everything),
            ("*.", AllowedHostError::Everything),
            ("*:8443", AllowedHostError::Everything),
            ("https://*", AllowedHostError::Everything),
            ("user:secret@vms.example", AllowedHostError::User),
            ("https://user:secret@vms.example", AllowedHostError::User),
            (".example", AllowedHostError::NotAName),
            ("*example", AllowedHostError::NotAName),
            ("*.*.example", AllowedHostError::NotAName),
            ("vms.*", AllowedHostError::NotAName),
            ("v*s.example", AllowedHostError::NotAName),
            ("vms..example", AllowedHostError::NotAName),
            ("vms.example..", AllowedHostError::NotAName),
            ("vms.example vms.test", AllowedHostError::NotAName),
            ("vms.example;vms.test", AllowedHostError::NotAName),
            ("vms.example:port", AllowedHostError::NotAName),
            ("vms.example:99999", AllowedHostError::NotAName),
            ("vms.example/console", AllowedHostError::NotAName),
            ("https://vms.example/console", AllowedHostError::NotAName),
            ("ftp://vms.example", AllowedHostError::NotAName),
            ("https:vms.example", AllowedHostError::NotAName),
            ("10.1.0.0/16", AllowedHostError::NotAName),
            ("vms%2eexample", AllowedHostError::NotAName),
            (":8443", AllowedHostError::NotAName),
            ("https://", AllowedHostError::NotAName),
        ] {
            assert_eq!(entry.parse::<AllowedHost>(), Err(error), "{entry}");
        }
    }
}
