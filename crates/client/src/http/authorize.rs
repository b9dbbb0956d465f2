//! Forward authentication: may this request of the VMS pass?
//!
//! Gateways read only the status code: always 200 or 403, unless they declare that they pass a 400
//! on. An allowing response has no body, because nginx opens a new connection after every response
//! of a gate that has a body.

use std::borrow::Cow;

use axum::http::{HeaderName, StatusCode};
use license_core::route::path_of_url;
use license_service::direct::{DirectResponse, Head, text_of};

use crate::app::App;
use crate::http::gate_question::{AskedPath, Question, Verdict, judge, method_of};

/// The path at which gateways ask, with any method; Envoy appends the path of the request.
const PATH: &str = "/api/license/authorize";
/// The path before the feature, for gateways that can set only a path.
const FEATURE_PATH: &str = "/feature";
/// The feature, if the gateway sends it in a header.
const FEATURE: &str = "x-license-feature";
/// The path of the request, as sent by Traefik, Caddy and others.
const FORWARDED_URI: &str = "x-forwarded-uri";
/// Its method.
const FORWARDED_METHOD: &str = "x-forwarded-method";
/// The path of the request, as nginx is usually configured to send it.
const ORIGINAL_URI: &str = "x-original-uri";
/// The URL of the request, as sent by ingress-nginx.
const ORIGINAL_URL: &str = "x-original-url";
/// The method that belongs to both.
const ORIGINAL_METHOD: &str = "x-original-method";

/// A query parameter that says that the gateway shows a 400 to its visitors. nginx does not: it
/// treats everything but 401 and 403 as a failure of the gate.
const SHOWS_400: (&str, &str) = ("unreadable", "=400");

/// Maximum number of features in the query of one question.
const MAX_FEATURES: usize = 4;

/// Whether gateways ask at this path.
pub(super) fn is_asked_at(path: &str) -> bool {
    let rest = path.strip_prefix(PATH);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Every source that names a requirement must allow the request, so a header that a visitor has
/// added can only close the gate.
pub(super) fn respond(app: &App, request: &Head<'_>) -> DirectResponse {
    let question = question(request);
    let verdict = judge(app, &question);
    answer(app, &verdict, refusal_status(request, &verdict))
}

/// Authorize Request
///
/// Tells a gateway whether a request to the VMS may pass; any method. See the gates documentation
/// for headers and appended paths.
#[utoipa::path(
    get,
    path = "/api/license/authorize",
    operation_id = "authorize",
    params(("feature" = Option<String>, Query, description = "The feature that the request needs; can be specified up to four times")),
    responses(
        (status = 200, description = "The request may pass; the response has no body"),
        (status = 400, description = "The request is invalid, and the gateway asked for this \
            status"),
        (status = 403, description = "The request is refused: `detail`, `reason`, `feature`"),
    )
)]
#[expect(dead_code, reason = "describes what `respond` answers")]
pub(super) fn authorize() {}

/// Authorize Feature
///
/// Like `/api/license/authorize`, for gateways that can set only a path; any method. A path after
/// the key is the visitor's, and has no effect without a table of routes.
#[utoipa::path(
    get,
    path = "/api/license/authorize/feature/{key}",
    operation_id = "authorize_feature",
    params(("key" = String, Path, pattern = "^[A-Za-z0-9_~-][A-Za-z0-9._~-]*$", max_length = 255, description = "The feature that the request needs, not percent-encoded")),
    responses(
        (status = 200, description = "The request may pass; the response has no body"),
        (status = 400, description = "`reason` is `bad_feature` or `bad_path`"),
        (status = 403, description = "The request is refused: `detail`, `reason`, `feature`"),
    )
)]
#[expect(dead_code, reason = "describes what `respond` answers")]
pub(super) fn authorize_feature() {}

/// An invalid request is refused regardless of the license: with 400 if the gateway passes that
/// on.
fn refusal_status(request: &Head<'_>, verdict: &Verdict<'_>) -> StatusCode {
    let query = request.query.unwrap_or_default();
    let (name, value) = SHOWS_400;
    let asks_for_400 = || pairs(query, name).any(|pair| pair.strip_prefix(name) == Some(value));
    let shows_400 = appended(request).is_some() || asks_for_400();
    match verdict.is_unreadable() && shows_400 {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::FORBIDDEN,
    }
}

fn question<'a>(request: &Head<'a>) -> Question<'a> {
    let paths = paths(request).ok();
    let is_named_by_gateway =
        request.value(FEATURE).is_some() || feature_in_path(request).is_some();
    let asked = paths.as_deref().unwrap_or_default();
    Question {
        features: features(request),
        features_may_be_the_visitors: !is_named_by_gateway
            && query_may_be_the_visitors(request, asked),
        paths,
    }
}

/// The features that the gateway names; `None` if one cannot be read.
fn features<'a>(request: &Head<'a>) -> Option<Vec<Cow<'a, str>>> {
    let mut features = Vec::new();
    // After an appended path the query is the visitor's, who must not choose a feature.
    let query = request.query.filter(|_| appended(request).is_none());
    for pair in pairs(query.unwrap_or_default(), "feature") {
        if features.len() == MAX_FEATURES {
            return None;
        }
        let values = url::form_urlencoded::parse(pair.as_bytes());
        features.extend(values.map(|(_, value)| value));
    }
    if let Some(value) = only(request, FEATURE).ok()? {
        features.push(text_of(value)?.trim().into());
    }
    if let Some(key) = feature_in_path(request) {
        let is_odd = matches!(key, "" | "." | "..") || key.contains(['%', '\\', ';']);
        features.push(Some(key).filter(|_| !is_odd)?.into());
    }
    Some(features)
}

/// The parameters of a query with this name. Gateways may pass on a visitor's query: searching one
/// of 64 KiB is faster than splitting it.
fn pairs<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.match_indices(name).filter_map(move |(start, _)| {
        let (before, pair) = query.split_at(start);
        let is_start = before.is_empty() || before.ends_with('&');
        let rest = &pair[name.len()..];
        let is_whole = rest.is_empty() || rest.starts_with(['=', '&']);
        let pair = || pair.split('&').next().unwrap_or_default();
        (is_start && is_whole).then(pair)
    })
}

/// The feature in the path of the question. The part after it, following a slash, is the path of
/// the request, which gateways append. It is chosen by the visitor, and is never a feature.
fn feature_in_path<'a>(request: &Head<'a>) -> Option<&'a str> {
    let rest = appended(request)?.strip_prefix(FEATURE_PATH)?;
    match rest.strip_prefix('/') {
        Some(rest) => rest.split('/').next(),
        None => Some(rest).filter(|rest| rest.is_empty()),
    }
}

/// Methods and paths of the request, as sent by gateways: at most four, one for
/// each header that names a path, and the appended one.
fn paths<'a>(request: &Head<'a>) -> Result<Vec<AskedPath<'a>>, SentTwice> {
    let mut paths = Vec::new();
    for (path, method) in [
        (FORWARDED_URI, FORWARDED_METHOD),
        (ORIGINAL_URI, ORIGINAL_METHOD),
        (ORIGINAL_URL, ORIGINAL_METHOD),
    ] {
        // If there are two, one may come from the visitor, and it is not known which one the
        // gateway means.
        let value = only(request, path)?;
        paths.extend(value.map(|value| AskedPath {
            method: method_in(request, method),
            path: match path {
                ORIGINAL_URL => path_of_url(value).into(),
                _ => value.into(),
            },
        }));
    }
    paths.extend(appended(request).map(|path| AskedPath {
        method: Some(request.method),
        path: path.as_bytes().into(),
    }));
    Ok(paths)
}

/// The method in a header. A repeated header, or one that is not a method (RFC 9110, section 9.1),
/// has no effect.
fn method_in<'a>(request: &Head<'a>, name: &str) -> Option<&'a str> {
    method_of(text_of(only(request, name).ok()??)?)
}

/// A header appears more than once.
struct SentTwice;

/// The value of a header that counts only if it appears exactly once.
fn only<'a>(request: &Head<'a>, name: &str) -> Result<Option<&'a [u8]>, SentTwice> {
    let mut values = request.values(name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(SentTwice),
    }
}

/// The path of the request, as sent by Envoy.
fn appended<'a>(request: &Head<'a>) -> Option<&'a str> {
    let rest = request.path.strip_prefix(PATH)?;
    Some(rest).filter(|rest| !rest.is_empty())
}

/// Caddy passes on the visitor's query by default: then the query can close the gate but not open
/// it. It may arrive here truncated, because HTTP libraries cut it off at `#`.
fn query_may_be_the_visitors(request: &Head<'_>, paths: &[AskedPath<'_>]) -> bool {
    request.query.is_some_and(|query| {
        paths.iter().any(|asked| {
            let mut parts = asked.path.splitn(2, |byte| *byte == b'?');
            let sent = parts.nth(1).unwrap_or_default();
            sent.starts_with(query.as_bytes())
        })
    })
}

fn answer(app: &App, verdict: &Verdict<'_>, refusal: StatusCode) -> DirectResponse {
    let mut response = match verdict.allowed {
        true => DirectResponse::empty(StatusCode::OK),
        false => DirectResponse::json(refusal, verdict.body().into()),
    };
    for (name, value) in verdict.headers(app) {
        let header = value.map(|value| (HeaderName::from_static(name), value));
        response.headers.extend(header);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_at_the_start_of_a_pair_are_found() {
        for (query, found) in [
            ("", &[][..]),
            ("feature", &["feature"]),
            ("feature=a&feature=b", &["feature=a", "feature=b"]),
            ("a=1&feature=&b", &["feature="]),
            ("feature&feature=x=y", &["feature", "feature=x=y"]),
            ("featurefeature=a", &[]),
            ("xfeature=a&features=b&a=feature", &[]),
            ("a=feature&feature=%26", &["feature=%26"]),
        ] {
            let pairs: Vec<&str> = pairs(query, "feature").collect();
            assert_eq!(pairs, found, "{query}");
            // In the order in which a plain split finds them.
            let split = query.split('&');
            let split = split.filter(|it| *it == "feature" || it.starts_with("feature="));
            assert_eq!(pairs, split.collect::<Vec<_>>(), "{query}");
        }
    }
}
