//! Forward authentication: may this request of the VMS pass?
//!
//! Gateways read the status code alone: 200 or 403, and nothing else unless they
//! say that they pass a 400 on. An allowance has no body: nginx opens a new
//! connection after every answer of a gate that has one.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use license_core::feature::FeatureKey;
use license_core::gate::in_words;
use license_core::license::License;
use license_core::route::Need;
use serde_json::json;
use tower::Service;

use crate::app::App;
use crate::http::panicked;
use crate::licensing::decide;

/// Where gateways ask, with any method; Envoy appends the path of the request.
const PATH: &str = "/api/license/authorize";
/// The feature, when the gateway says it in a header.
const FEATURE: &str = "x-license-feature";
/// The path of the request, as Traefik, Caddy and others say it.
const FORWARDED_URI: &str = "x-forwarded-uri";
/// Its method.
const FORWARDED_METHOD: &str = "x-forwarded-method";
/// The path of the request, as nginx is usually made to say it.
const ORIGINAL_URI: &str = "x-original-uri";
/// Its method.
const ORIGINAL_METHOD: &str = "x-original-method";

/// In the query of a question: the gateway shows its visitor a 400. nginx does
/// not; it takes everything but 401 and 403 for a failure of the gate.
const SHOWS_400: &str = "unreadable=400";

/// Most features in the query of one question.
const MAX_FEATURES: usize = 4;
/// Longest feature key that is looked up, in bytes.
const MAX_FEATURE_BYTES: usize = 4 * FeatureKey::MAX_CHARS;
/// Longest method that is looked up, in bytes; no registered one is as long.
const MAX_METHOD_BYTES: usize = 32;

/// Why a request may pass or not.
struct Verdict {
    allowed: bool,
    reason: String,
    feature: Option<String>,
}

/// Answers gateways, and passes on everything else.
///
/// Gateways ask with every request of the VMS, and pass on whatever a visitor
/// has sent: neither a table of routes nor rules about hosts and origins stand
/// before the one question, which changes nothing.
#[derive(Clone)]
pub(super) struct Gatehouse<S> {
    app: Arc<App>,
    behind: S,
}

impl<S> Gatehouse<S> {
    pub(super) fn new(app: Arc<App>, behind: S) -> Self {
        Self { app, behind }
    }
}

impl<S> Service<Request> for Gatehouse<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.behind.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let rest = request.uri().path().strip_prefix(PATH);
        if !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Either::Right(self.behind.call(request));
        }
        let answer = AssertUnwindSafe(|| authorize(&self.app, &request));
        let answer = std::panic::catch_unwind(answer).unwrap_or_else(panicked);
        Either::Left(ready(Ok(answer)))
    }
}

/// A path that the gateway asks about.
struct AskedPath<'a> {
    /// `None` where the method is not known, and may be any.
    method: Option<&'a str>,
    /// With the query.
    path: &'a [u8],
}

/// Everything that says what the request needs has to allow it: a header that a
/// visitor has slipped in can only close the gate.
fn authorize(app: &App, request: &Request) -> Response {
    let (Ok(verdict) | Err(verdict)) = judge(app, request);
    answer(app, &verdict, refusal_status(request, &verdict.reason))
}

/// A request that cannot be read is none that a license would let through: 400,
/// where the gateway passes that on.
fn refusal_status(request: &Request, reason: &str) -> StatusCode {
    let query = request.uri().query().unwrap_or_default();
    let shows_400 = appended(request).is_some() || query.split('&').any(|it| it == SHOWS_400);
    match reason {
        "bad_path" | "bad_feature" if shows_400 => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    }
}

/// An allowance, or the first refusal as the error.
fn judge(app: &App, request: &Request) -> Result<Verdict, Verdict> {
    let mut allowed = None;
    for feature in features(request)? {
        allowed = Some(decide(app, &feature)?);
    }
    let paths = paths(request)?;
    let Some(table) = app.gate_routes.table() else {
        let by_header = request.headers().contains_key(FEATURE);
        if !by_header && query_may_be_the_visitors(request, &paths) {
            return Err(refused("no_table"));
        }
        let nothing = if paths.is_empty() {
            "no_feature"
        } else {
            "no_table"
        };
        return allowed.ok_or_else(|| refused(nothing));
    };
    for asked in &paths {
        let needs = match asked.method {
            Some(method) => vec![table.need(method, asked.path)],
            None => table.needs_of_any_method(asked.path),
        };
        for need in needs {
            allowed = Some(by_path(app, need)?);
        }
    }
    allowed.ok_or_else(|| refused("no_feature"))
}

/// The features that the gateway names.
fn features(request: &Request) -> Result<Vec<String>, Verdict> {
    let mut features = Vec::new();
    // Behind an appended path the query is the visitor's, who must not choose a
    // feature.
    let query = request
        .uri()
        .query()
        .filter(|_| appended(request).is_none());
    for pair in query.unwrap_or_default().split('&') {
        if pair != "feature" && !pair.starts_with("feature=") {
            continue;
        }
        if features.len() == MAX_FEATURES {
            return Err(refused("bad_feature"));
        }
        let values = url::form_urlencoded::parse(pair.as_bytes());
        features.extend(values.map(|(_, value)| value.into_owned()));
    }
    match only(request.headers(), FEATURE) {
        Ok(None) => {}
        Ok(Some(value)) => match value.to_str() {
            Ok(key) => features.push(key.trim().to_owned()),
            Err(_) => return Err(refused("bad_feature")),
        },
        Err(SentTwice) => return Err(refused("bad_feature")),
    }
    Ok(features)
}

fn by_path(app: &App, need: Need<'_>) -> Result<Verdict, Verdict> {
    match need {
        Need::Feature(key) => decide(app, key.as_str()),
        Need::Nothing => Ok(Verdict {
            allowed: true,
            reason: "no_feature_needed".to_owned(),
            feature: None,
        }),
        Need::Unlisted => Err(refused("not_listed")),
        Need::BadPath(_) => Err(refused("bad_path")),
    }
}

/// Methods and paths of the request, as gateways say them: at most one for each
/// header that names a path, and the appended one.
fn paths(request: &Request) -> Result<Vec<AskedPath<'_>>, Verdict> {
    let headers = request.headers();
    let mut paths = Vec::new();
    for (path, method) in [
        (FORWARDED_URI, FORWARDED_METHOD),
        (ORIGINAL_URI, ORIGINAL_METHOD),
    ] {
        // One of two may be the visitor's, and which one the gateway means is
        // not known.
        let path = only(headers, path).map_err(|SentTwice| refused("bad_path"))?;
        paths.extend(path.map(|path| AskedPath {
            method: method_in(headers, method),
            path: path.as_bytes(),
        }));
    }
    paths.extend(appended(request).map(|path| AskedPath {
        method: Some(request.method().as_str()),
        path: path.as_bytes(),
    }));
    Ok(paths)
}

/// The method in a header. One that is there twice, or is not a method (RFC
/// 9110, section 9.1), says nothing.
fn method_in<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let method = only(headers, name).ok()??.to_str().ok()?;
    let is_method = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = (1..=MAX_METHOD_BYTES).contains(&method.len());
    Some(method).filter(|method| fits && method.bytes().all(is_method))
}

/// A header is there more than one time.
struct SentTwice;

/// The value of a header that counts only if it is there one time.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, SentTwice> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(SentTwice),
    }
}

/// The path of the request, as Envoy says it.
fn appended(request: &Request) -> Option<&str> {
    let rest = request.uri().path().strip_prefix(PATH)?;
    Some(rest).filter(|rest| !rest.is_empty())
}

/// Caddy passes on the query of the visitor, unless it is told otherwise: then
/// what the query says can close the gate and not open it. It may arrive here
/// without its end, which HTTP libraries cut off at `#`.
fn query_may_be_the_visitors(request: &Request, paths: &[AskedPath<'_>]) -> bool {
    request.uri().query().is_some_and(|query| {
        paths.iter().any(|asked| {
            let mut parts = asked.path.splitn(2, |byte| *byte == b'?');
            let sent = parts.nth(1).unwrap_or_default();
            sent.starts_with(query.as_bytes())
        })
    })
}

fn decide(app: &App, key: &str) -> Result<Verdict, Verdict> {
    if key.len() > MAX_FEATURE_BYTES {
        return Err(refused("bad_feature"));
    }
    let verdict = decide::decide(app, key, app.clock.now(), |decision| Verdict {
        allowed: decision.available,
        reason: decision.reason.code().to_owned(),
        feature: Some(key.to_owned()),
    });
    match verdict.allowed {
        true => Ok(verdict),
        false => Err(verdict),
    }
}

fn refused(reason: &str) -> Verdict {
    Verdict {
        allowed: false,
        reason: reason.to_owned(),
        feature: None,
    }
}

fn answer(app: &App, verdict: &Verdict, refusal: StatusCode) -> Response {
    let mut response = if verdict.allowed {
        StatusCode::OK.into_response()
    } else {
        let feature = verdict.feature.as_deref().unwrap_or_default();
        let detail = in_words(&verdict.reason, feature);
        let body = json!({
            "detail": detail, "reason": verdict.reason, "feature": verdict.feature,
        });
        let json = HeaderValue::from_static("application/json");
        (refusal, [(header::CONTENT_TYPE, json)], body.to_string()).into_response()
    };
    let snapshot = app.snapshot();
    let tier = snapshot.license().and_then(License::tier);
    let headers = response.headers_mut();
    for (name, text) in [
        ("x-license-reason", Some(verdict.reason.as_str())),
        ("x-license-tier", tier),
    ] {
        // A tier that no header can hold is left out.
        let value = text.and_then(|text| HeaderValue::from_str(text).ok());
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            headers.insert(name, value);
        }
    }
    response
}
