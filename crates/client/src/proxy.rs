//! The route to the License Server: direct, or through a proxy.
//!
//! The variables are those that other programs know (`HTTPS_PROXY`, `NO_PROXY`, …). They are
//! interpreted only here, so that `doctor` reports the actual behavior.

pub(crate) mod sign_in;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use license_service::presentable_url::{HIDDEN, SecretUrl, SecretUrlError};
use url::{Host, Url};

/// The variables for addresses of either scheme. The first spelling that is set counts, and then
/// the first variable that is set.
const HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// The variables that list hosts to call directly.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The supported kinds of proxies.
const SCHEMES: [&str; 6] = ["http", "https", "socks5", "socks5h", "socks4", "socks4a"];

/// The proxies of the environment.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    https: Option<Proxy>,
    http: Option<Proxy>,
    direct: Vec<DirectHosts>,
    unreadable: Vec<String>,
    /// The first variable whose value is malformed.
    malformed: Option<&'static str>,
}

/// One proxy, and the variable that names it.
#[derive(Clone, Debug)]
struct Proxy {
    variable: &'static str,
    /// The proxy; `None` for a kind that is not supported.
    url: Option<SecretUrl>,
}

/// Why a variable cannot be used. Its value is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The HTTP library would treat a part of the password as the host.
    #[error(
        "{variable} is malformed (its value is not shown): {SecretUrlError}",
        SecretUrlError = SecretUrlError::Ambiguous
    )]
    Malformed {
        /// The name of the variable.
        variable: &'static str,
    },
    /// An unsupported proxy is configured for the License Server.
    #[error(
        "{variable} names a proxy with an unsupported scheme; expected {}. List the License \
         Server in NO_PROXY to call it directly",
        SCHEMES.map(|scheme| format!("{scheme}://")).join(", ")
    )]
    Unsupported {
        /// The name of the variable.
        variable: &'static str,
    },
}

/// The route to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Directly: no variable names a proxy for it.
    Direct,
    /// Directly: `NO_PROXY` lists it.
    Listed {
        /// The entry.
        entry: String,
    },
    /// Through a proxy.
    Through {
        /// The variable that names it.
        variable: &'static str,
        /// The proxy.
        proxy: SecretUrl,
    },
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("directly"),
            Self::Listed { entry } => write!(f, "directly, because NO_PROXY lists '{entry}'"),
            Self::Through { variable, proxy } => write!(f, "through {proxy} ({variable})"),
        }
    }
}

/// The host and the port of an address.
pub(crate) fn authority(url: &Url) -> Option<String> {
    let port = url.port_or_known_default()?;
    Some(format!("{}:{port}", url.host_str()?))
}

impl ProxySettings {
    /// Reads the variables with `value`.
    #[must_use]
    pub fn read(value: impl Fn(&'static str) -> Option<String>) -> Self {
        let set = |variable: &'static str| {
            let text = value(variable)?.trim().to_owned();
            (!text.is_empty()).then_some((variable, text))
        };
        let mut all = HTTPS.into_iter().chain(HTTP).filter_map(set);
        let malformed = all.find(|(variable, text)| Proxy::parse(variable, text).is_none());
        let first = |variables: [&'static str; 4]| {
            let (variable, text) = variables.into_iter().find_map(set)?;
            Proxy::parse(variable, &text)
        };
        let listed = NO_PROXY.into_iter().find_map(set);
        let listed = listed.map(|(_, text)| text).unwrap_or_default();
        let (mut direct, mut unreadable) = (Vec::new(), Vec::new());
        let entries = listed.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|'));
        for entry in entries.filter(|entry| !entry.is_empty()) {
            match DirectHosts::parse(entry) {
                Some(hosts) => direct.push(hosts),
                // It may be a URL with a password by mistake.
                None if entry.contains(['@', '#', '?']) => unreadable.push(HIDDEN.to_owned()),
                None => unreadable.push(entry.to_owned()),
            }
        }
        Self {
            https: first(HTTPS),
            http: first(HTTP),
            direct,
            unreadable,
            malformed: malformed.map(|(variable, _)| variable),
        }
    }

    /// The route to `url`.
    ///
    /// # Errors
    /// If any variable is malformed, or if the address would have to be called through an
    /// unsupported proxy.
    pub fn route(&self, url: &Url) -> Result<Route, ProxyError> {
        if let Some(variable) = self.malformed {
            return Err(ProxyError::Malformed { variable });
        }
        let proxy = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        let Some(proxy) = proxy else {
            return Ok(Route::Direct);
        };
        if let Some(hosts) = self.direct.iter().find(|hosts| hosts.contain(url)) {
            let entry = hosts.entry.clone();
            return Ok(Route::Listed { entry });
        }
        let variable = proxy.variable;
        match proxy.url.clone() {
            Some(proxy) => Ok(Route::Through { variable, proxy }),
            None => Err(ProxyError::Unsupported { variable }),
        }
    }

    /// The displayable entries of `NO_PROXY` that cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// The displayable proxies for https and http addresses.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let proxies = [("https", &self.https), ("http", &self.http)];
        let set = proxies.into_iter().filter_map(|(scheme, proxy)| {
            let proxy = proxy.as_ref()?;
            let url = proxy.url.as_ref();
            let url = url.map_or(HIDDEN.to_owned(), ToString::to_string);
            Some(format!("{}={url} for {scheme} addresses", proxy.variable))
        });
        set.collect()
    }
}

impl Proxy {
    /// Without a scheme, it is an http proxy. `None` if it is malformed.
    fn parse(variable: &'static str, text: &str) -> Option<Self> {
        let url = match text.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => format!("http://{text}"),
        };
        // What the HTTP library reads.
        url.parse::<axum::http::Uri>().ok()?.authority()?;
        let url = match SecretUrl::parse(&url, &SCHEMES) {
            Ok(url) => Some(url),
            Err(SecretUrlError::Scheme) => None,
            Err(SecretUrlError::Ambiguous) => return None,
        };
        Some(Self { variable, url })
    }
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug)]
struct DirectHosts {
    entry: String,
    hosts: Hosts,
    /// With this port only.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum Hosts {
    All,
    Network(IpNet),
    /// A domain and everything below it, in lower case.
    Domain(String),
}

impl DirectHosts {
    fn parse(entry: &str) -> Option<Self> {
        // Some people write `https://host`.
        let text = entry.split_once("://").map_or(entry, |(_, host)| host);
        let text = text.strip_suffix('/').unwrap_or(text);
        let (hosts, port) = match Hosts::parse(text) {
            Some(hosts) => (hosts, None),
            None => {
                let (hosts, port) = text.rsplit_once(':')?;
                (Hosts::parse(hosts)?, Some(port.parse().ok()?))
            }
        };
        Some(Self {
            entry: entry.to_owned(),
            hosts,
            port,
        })
    }

    fn contain(&self, url: &Url) -> bool {
        let is_port = self
            .port
            .is_none_or(|port| url.port_or_known_default() == Some(port));
        is_port && url.host().is_some_and(|host| self.hosts.contain(&host))
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let inside = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let address = inside.unwrap_or(text);
        let network = address.parse().or_else(|_| {
            address
                .parse()
                .map(|it: IpAddr| it.to_canonical())
                .map(IpNet::from)
        });
        if let Ok(network) = network {
            return Some(Self::Network(network));
        }
        let domain = text.strip_prefix('*').unwrap_or(text);
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        if inside.is_some() || domain.is_empty() || !domain.chars().all(is_name) {
            return None;
        }
        match Host::parse(domain).ok()? {
            Host::Domain(domain) => Some(Self::Domain(domain.to_lowercase())),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    fn contain(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Ipv4(address)) => {
                network.contains(&IpAddr::V4(*address))
            }
            (Self::Network(network), Host::Ipv6(address)) => {
                network.contains(&IpAddr::V6(*address))
                    || network.contains(&IpAddr::V6(*address).to_canonical())
            }
            (Self::Domain(domain), Host::Domain(host)) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                let below = host.strip_suffix(domain.as_str());
                below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Self::Network(_), Host::Domain(_))
            | (Self::Domain(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests;
