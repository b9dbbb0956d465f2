//! Headers of every response, regardless of which part of a service creates it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// No page of another site may frame a response, nothing in it loads or runs,
/// its type is the declared one, and other sites are not told which page has a link to
/// them. With `no-referrer`, browsers would send `Origin: null` with a form
/// (fetch.spec.whatwg.org, "append a request `Origin` header"), and over plain HTTP there is
/// no `Sec-Fetch-Site` either.
/// Caches of gateways and browsers store nothing: a stored decision would outlive the license, and
/// a stored response may show a license key to callers that are not trusted.
/// A response that already has a header keeps it: pages have their own policy, and assets may be
/// cached.
pub(crate) static SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Adds the headers of [`SECURITY_HEADERS`] that are missing.
pub(crate) fn complete(headers: &mut HeaderMap) {
    for (name, value) in &SECURITY_HEADERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
}

/// The same as header lines, for responses that are written without a [`HeaderMap`].
pub(crate) fn lines() -> String {
    SECURITY_HEADERS
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap_or_default()))
        .collect()
}
