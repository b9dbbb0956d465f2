//! The URL in a proof, and when it names the call that was received.

use super::ProofError;
use crate::foreign_text;

/// The parts of an absolute HTTP URL that proofs contain.
struct Parts<'a> {
    /// With `://`.
    scheme: &'a str,
    /// Host and port.
    host: &'a str,
    /// Empty, or beginning with a slash; without query and fragment.
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let after = url.find("://")? + "://".len();
        let (scheme, rest) = url.split_at(after);
        let is_http = |known: &str| scheme.eq_ignore_ascii_case(known);
        if !is_http("https://") && !is_http("http://") {
            return None;
        }
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let rest = rest.get(..end)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or(authority);
        Some(Self { scheme, host, path })
    }

    /// The host without its port and a final dot.
    fn name(&self) -> &'a str {
        let end = match self.host.find(']') {
            Some(bracket) => bracket + 1,
            None => self.host.find(':').unwrap_or(self.host.len()),
        };
        let name = self.host.get(..end).unwrap_or(self.host);
        name.strip_suffix('.').unwrap_or(name)
    }
}

/// The URL without user name and password, query and fragment; empty if it is not an HTTP URL.
pub(super) fn without_secrets(url: &str) -> String {
    let parts = Parts::of(url);
    parts.map_or_else(String::new, |it| {
        format!("{}{}{}", it.scheme, it.host, it.path)
    })
}

/// Checks that the URL in a proof names the call with this path, below any prefix, at one of these
/// hosts. Without hosts, any host is accepted. No path of a call is the end of another one's.
///
/// # Errors
/// [`ProofError::OtherPath`] and [`ProofError::OtherHost`].
pub(super) fn check(htu: &str, path: &str, hosts: &[String]) -> Result<(), ProofError> {
    let parts = Parts::of(htu).ok_or(ProofError::OtherPath)?;
    let is_call = path.starts_with('/') && parts.path.trim_end_matches('/').ends_with(path);
    if !is_call {
        return Err(ProofError::OtherPath);
    }
    let name = parts.name();
    let is_named = |host: &String| name.eq_ignore_ascii_case(host);
    if hosts.is_empty() || hosts.iter().any(is_named) {
        return Ok(());
    }
    Err(ProofError::OtherHost(foreign_text::identifier(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        ACTIVATE, DEACTIVATE, HEARTBEAT, OFFLINE, PREVIEW, REDEEM, TRIAL, VALIDATE,
    };

    const CALLS: [&str; 8] = [
        ACTIVATE, DEACTIVATE, HEARTBEAT, OFFLINE, PREVIEW, REDEEM, TRIAL, VALIDATE,
    ];

    #[test]
    fn secrets_queries_and_fragments_are_left_out() {
        for (url, expected) in [
            (
                "https://user:p%40ss@licenses.example:8443/api/licenses/validate?x=1#y",
                "https://licenses.example:8443/api/licenses/validate",
            ),
            ("https://a@b@host/x", "https://host/x"),
            ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"),
            ("HTTPS://host", "HTTPS://host"),
            ("https://host?user@x/y", "https://host"),
            ("ftp://user:secret@host/x", ""),
            ("user:secret@host", ""),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), expected, "{url}");
        }
    }

    #[test]
    fn what_proxies_change_is_not_compared() {
        for htu in [
            "https://licenses.example/licenses/validate",
            "https://licenses.example/api/licenses/validate",
            "https://licenses.example/license/api/licenses/validate",
            "http://10.0.0.7:8080/licenses/validate",
            "https://licenses.example/api/licenses/validate/",
            "https://licenses.example/api//licenses/validate//",
            "https://licenses.example/api/licenses/validate?a=/licenses/activate",
            "https://licenses.example/licenses/activate/licenses/validate",
        ] {
            assert_eq!(check(htu, VALIDATE, &[]), Ok(()), "{htu}");
        }
    }

    #[test]
    fn a_url_never_names_another_call() {
        for path in CALLS {
            let htu = format!("https://licenses.example/api{path}");
            for other in CALLS.into_iter().filter(|other| *other != path) {
                assert_eq!(
                    check(&htu, other, &[]),
                    Err(ProofError::OtherPath),
                    "{other}"
                );
            }
        }
        for htu in [
            "https://licenses.example/licenses/Validate",
            "https://licenses.example/licenses/%76alidate",
            "https://licenses.example/licenses%2fvalidate",
            "https://licenses.example/other-licenses/validate",
            "https://licenses.example/licenses/validate/x",
            "https://licenses.example/licenses/validate/..",
            "https://licenses.example/x?/licenses/validate",
            "https://licenses.example/x#/licenses/validate",
            "https:///",
            "https://licenses.example",
            "/licenses/validate",
            "ftp://licenses.example/licenses/validate",
            "",
        ] {
            assert_eq!(
                check(htu, VALIDATE, &[]),
                Err(ProofError::OtherPath),
                "{htu}"
            );
        }
        let whole = "https://licenses.example/licenses/validate";
        assert_eq!(check(whole, "", &[]), Err(ProofError::OtherPath));
    }

    #[test]
    fn configured_names_are_the_only_ones() {
        let hosts = ["licenses.example".to_owned(), "[::1]".to_owned()];
        let of = |host: &str| check(&format!("https://{host}/api{VALIDATE}"), VALIDATE, &hosts);
        for host in [
            "licenses.example",
            "LICENSES.example:8443",
            "licenses.example.",
            "user@licenses.example",
            "[::1]:7000",
        ] {
            assert_eq!(of(host), Ok(()), "{host}");
        }
        for host in [
            "licenses.example.attacker.example",
            "licenses.example@attacker.example",
            "example",
            "[::2]",
            "",
        ] {
            assert!(matches!(of(host), Err(ProofError::OtherHost(_))), "{host}");
        }
    }
}
