//! Changes that a page of another site makes a browser send (CSRF).

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request is a change that a page of another site sends, except for pages of these
/// origins. Browsers say so in `Sec-Fetch-Site`; older ones name only the origin of the page, which
/// must then be the host of the request. Programs send neither header.
#[must_use]
pub fn is_cross_site(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    trusted: &[HeaderValue],
) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let value = |name: HeaderName| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        value.filter(|it| !it.is_empty())
    };
    let origin = value(header::ORIGIN);
    let is_trusted = || origin.is_some_and(|origin| trusted.iter().any(|it| it == origin));
    match (value(FETCH_SITE), origin) {
        (Some(b"same-origin" | b"none"), _) | (None, None) => false,
        (Some(_), _) => !is_trusted(),
        (None, Some(origin)) => {
            // The address of the request names the host in HTTP/2, and for a proxy.
            let host = uri.authority().map(|it| it.as_str().as_bytes());
            let host = host.or_else(|| headers.get(header::HOST).map(HeaderValue::as_bytes));
            !host.is_some_and(|host| is_origin_of(origin, host)) && !is_trusted()
        }
    }
}

/// Whether pages at `host` have this origin. Browsers leave out the default port of the scheme, and
/// some proxies add it to the host.
fn is_origin_of(origin: &[u8], host: &[u8]) -> bool {
    let Ok(origin) = Uri::try_from(origin) else {
        return false;
    };
    let default_port: &[u8] = match origin.scheme_str() {
        Some("http") => b":80",
        Some("https") => b":443",
        _ => return false,
    };
    let Some(authority) = origin.authority() else {
        return false;
    };
    let named = authority.as_str().as_bytes();
    let [named, host] = [named, host].map(|it| it.strip_suffix(default_port).unwrap_or(it));
    !host.is_empty() && named.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        let trusted = [HeaderValue::from_static("https://pages.example")];
        let headers: HeaderMap = headers.collect();
        is_cross_site(method, &Uri::from_static("/x"), &headers, &trusted)
    }

    #[test]
    fn an_origin_and_its_host_may_each_have_the_default_port() {
        for (origin, host, is_same) in [
            ("https://vms.example", "vms.example", true),
            ("https://vms.example", "vms.example:443", true),
            ("https://vms.example:443", "vms.example", true),
            ("https://VMS.example", "vms.example:443", true),
            ("http://vms.example", "vms.example:80", true),
            ("http://vms.example:80", "vms.example", true),
            ("http://[::1]", "[::1]:80", true),
            ("https://10.1.2.3", "10.1.2.3:443", true),
            ("https://vms.example:8443", "vms.example:8443", true),
            ("https://vms.example", "vms.example:80", false),
            ("http://vms.example", "vms.example:443", false),
            ("https://vms.example:8443", "vms.example", false),
            ("https://vms.example", "vms.example:8443", false),
            ("https://evil.example", "vms.example:443", false),
            ("https://vms.example.evil", "vms.example", false),
            ("https://x@vms.example", "vms.example", false),
            ("ftp://vms.example", "vms.example", false),
            ("vms.example", "vms.example", false),
            ("null", "vms.example", false),
            ("https://:443", ":443", false),
        ] {
            let refused = refuses(&Method::POST, &[("origin", origin), ("host", host)]);
            assert_eq!(refused, !is_same, "{origin} {host}");
        }
    }

    #[test]
    fn what_a_browser_says_of_the_site_comes_first() {
        for (site, origin, is_refused) in [
            ("same-origin", "https://evil.example", false),
            ("none", "null", false),
            ("same-site", "https://vms.example", true),
            ("cross-site", "https://vms.example", true),
            ("cross-site", "https://pages.example", false),
            ("SAME-ORIGIN", "https://vms.example", true),
            ("", "https://vms.example", false),
            ("", "https://evil.example", true),
            ("", "https://pages.example", false),
            ("", "", false),
        ] {
            let headers = [
                ("sec-fetch-site", site),
                ("origin", origin),
                ("host", "vms.example"),
            ];
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
                let refused = refuses(&method, &headers);
                assert_eq!(refused, is_refused, "{method} {site} {origin}");
            }
            for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
                assert!(!refuses(&method, &headers), "{method} {site} {origin}");
            }
        }
        assert!(!refuses(&Method::POST, &[("host", "vms.example")]));
        assert!(refuses(&Method::POST, &[("origin", "https://vms.example")]));
    }
}
