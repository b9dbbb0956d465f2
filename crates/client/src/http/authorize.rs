//! Forward authentication: may this request of the VMS pass?
//!
//! Gateways read the status code alone: 200 or 403, and nothing else. An
//! allowance has no body: nginx opens a new connection after every answer of a
//! gate that has one.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use license_core::gate::in_words;
use license_core::license::License;
use license_core::route::Need;
use serde_json::json;
use tower::Service;

use crate::app::App;
use crate::http::panicked;

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

/// What a request may be of which nobody says the method.
const ANY_METHOD: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

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

/// Everything that says what the request needs has to allow it: a header that a
/// visitor has slipped in can only close the gate.
fn authorize(app: &App, request: &Request) -> Response {
    let verdicts = asked(app, request);
    let verdict = verdicts
        .into_iter()
        .reduce(|sum, next| if sum.allowed { next } else { sum })
        .unwrap_or_else(|| {
            let by_path = paths(request).next().is_some();
            refused(if by_path { "no_table" } else { "no_feature" })
        });
    answer(app, &verdict)
}

/// One verdict for each thing that says what the request needs.
fn asked(app: &App, request: &Request) -> Vec<Verdict> {
    let headers = request.headers();
    let mut verdicts = Vec::new();
    // Behind an appended path the query is the visitor's, who must not choose a
    // feature.
    let query = request
        .uri()
        .query()
        .filter(|_| appended(request).is_none());
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name == "feature" {
            verdicts.push(decide(app, &value));
        }
    }
    for value in headers.get_all(FEATURE) {
        verdicts.push(match value.to_str() {
            Ok(key) => decide(app, key.trim()),
            Err(_) => refused("bad_feature"),
        });
    }
    let Some(table) = app.gate_routes.table() else {
        let by_header = headers.contains_key(FEATURE);
        if !by_header && query_may_be_the_visitors(request) {
            verdicts.push(refused("no_table"));
        }
        return verdicts;
    };
    for (method, path) in paths(request) {
        // Without a method it may be any.
        let any = ANY_METHOD.iter().copied().filter(|_| method.is_none());
        for method in method.into_iter().chain(any) {
            verdicts.push(by_path(app, table.need(method, path)));
        }
    }
    verdicts
}

fn by_path(app: &App, need: Need<'_>) -> Verdict {
    match need {
        Need::Feature(key) => decide(app, key.as_str()),
        Need::Nothing => Verdict {
            allowed: true,
            reason: "no_feature_needed".to_owned(),
            feature: None,
        },
        Need::Unlisted => refused("not_listed"),
        Need::BadPath(_) => refused("bad_path"),
    }
}

/// Methods and paths of the request, as gateways say them.
fn paths(request: &Request) -> impl Iterator<Item = (Option<&str>, &str)> {
    let headers = request.headers();
    let named = [
        (FORWARDED_URI, FORWARDED_METHOD),
        (ORIGINAL_URI, ORIGINAL_METHOD),
    ];
    let named = named.into_iter().flat_map(|(path, method)| {
        let method = headers.get(method).and_then(|method| method.to_str().ok());
        // What is no text is no path either, and is refused as such.
        let paths = headers.get_all(path).iter();
        paths.map(move |path| (method, path.to_str().unwrap_or_default()))
    });
    let method = Some(request.method().as_str());
    named.chain(appended(request).map(move |path| (method, path)))
}

/// The path of the request, as Envoy says it.
fn appended(request: &Request) -> Option<&str> {
    let rest = request.uri().path().strip_prefix(PATH)?;
    Some(rest).filter(|rest| !rest.is_empty())
}

/// Caddy passes on the query of the visitor, unless it is told otherwise: then
/// what the query says can close the gate and not open it.
fn query_may_be_the_visitors(request: &Request) -> bool {
    let query = request.uri().query();
    paths(request).any(|(_, path)| {
        let (_, asked) = path.split_once('?').unwrap_or_default();
        query == Some(asked)
    })
}

fn decide(app: &App, key: &str) -> Verdict {
    app.snapshot().decide(key, app.clock.now(), |decision| {
        app.metrics.decided(&decision);
        Verdict {
            allowed: decision.available,
            reason: decision.reason.code().to_owned(),
            feature: Some(key.to_owned()),
        }
    })
}

fn refused(reason: &str) -> Verdict {
    Verdict {
        allowed: false,
        reason: reason.to_owned(),
        feature: None,
    }
}

fn answer(app: &App, verdict: &Verdict) -> Response {
    let mut response = if verdict.allowed {
        StatusCode::OK.into_response()
    } else {
        let feature = verdict.feature.as_deref().unwrap_or_default();
        let detail = in_words(&verdict.reason, feature);
        let body = json!({
            "detail": detail, "reason": verdict.reason, "feature": verdict.feature,
        });
        let json = HeaderValue::from_static("application/json");
        (
            StatusCode::FORBIDDEN,
            [(header::CONTENT_TYPE, json)],
            body.to_string(),
        )
            .into_response()
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
