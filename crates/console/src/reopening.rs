//! Links from other sites to pages that need a session.
//!
//! Browsers do not send the cookie of a session (`SameSite=Strict`) with a request that a page of
//! another site, a mail program or a chat causes, and not after its redirects either. They send it
//! with the next request of a page of this site. So such a request gets a small page that opens the
//! wanted one.

use askama::Template;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::response::Response;

use crate::page::show;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

#[derive(Template)]
#[template(path = "reopen.html")]
struct Reopen<'a> {
    target: &'a str,
}

/// A page that opens `target`, if the request comes from a link of another site. The caller has
/// found no session, and must answer requests for `target` without another such page.
#[must_use]
pub fn reopening(method: &Method, headers: &HeaderMap, target: &str) -> Option<Response> {
    let is = |name: &HeaderName, values: &[&str]| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| values.contains(&value))
    };
    let is_link = method == Method::GET
        && is(&FETCH_SITE, &["cross-site", "same-site"])
        && is(&FETCH_MODE, &["navigate"]);
    let is_here = target.starts_with('/') && !target.starts_with("//") && !target.contains('\\');
    (is_link && is_here).then(|| show(StatusCode::OK, &Reopen { target }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_links_of_other_sites_are_reopened_and_only_here() {
        for (method, site, mode, target, is_reopened) in [
            (Method::GET, "cross-site", "navigate", "/?a=1", true),
            (Method::GET, "same-site", "navigate", "/", true),
            (Method::GET, "same-origin", "navigate", "/", false),
            (Method::GET, "none", "navigate", "/", false),
            (Method::GET, "", "", "/", false),
            (Method::GET, "cross-site", "no-cors", "/", false),
            (Method::POST, "cross-site", "navigate", "/", false),
            (
                Method::GET,
                "cross-site",
                "navigate",
                "//evil.example",
                false,
            ),
            (
                Method::GET,
                "cross-site",
                "navigate",
                "/\\evil.example",
                false,
            ),
            (
                Method::GET,
                "cross-site",
                "navigate",
                "https://evil.example",
                false,
            ),
        ] {
            let headers = HeaderMap::from_iter([
                (FETCH_SITE, HeaderValue::from_static(site)),
                (FETCH_MODE, HeaderValue::from_static(mode)),
            ]);
            let reopened = reopening(&method, &headers, target);
            assert_eq!(reopened.is_some(), is_reopened, "{method} {site} {target}");
        }
    }
}
