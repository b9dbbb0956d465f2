//! The OpenFeature Remote Evaluation Protocol, version 0.3: features are booleans, limits are
//! integers, where -1 means no limit.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use license_core::announcement::{Announcement, Told};
use license_core::feature::FeatureKey;
use license_core::gate::Reason;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::body::field::{AnyObject, body, object};
use crate::http::error::ApiError;
use crate::http::features::json_bytes;
use crate::licensing::decide::note_unknown;

/// The prefix of the keys of limits: `limit.cameras`.
const LIMIT: &str = "limit.";
/// The time after which a hidden page closes its stream.
const INACTIVITY_SECONDS: u64 = 60;

/// Maximum number of entries of `If-None-Match` that are compared; providers send one.
const MAX_ETAGS: usize = 32;

/// The path before the key of a flag.
pub(super) const FLAGS: &str = "/ofrep/v1/evaluate/flags/";
/// The undocumented paths of [`evaluate`]: no key, and keys with unescaped slashes.
pub(super) const FURTHER_FLAG_PATHS: [&str; 3] = [
    "/ofrep/v1/evaluate/flags/",
    "/ofrep/v1/evaluate/flags/{key}/",
    "/ofrep/v1/evaluate/flags/{key}/{*rest}",
];

const CONTEXT: AnyObject = AnyObject {
    name: "context",
    description: "The evaluation context, which has no effect",
};

body!(EvaluationRequest, object("An evaluation", &[&CONTEXT]));

/// Evaluate Flag
///
/// OpenFeature Remote Evaluation Protocol 0.3: one feature or limit.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags/{key}",
    request_body = EvaluationRequest,
    params(("key" = String, Path, description = "A feature key, or `limit.cameras`, `limit.users`, `limit.storage_gb`")),
    responses(
        (status = 200, description = "`key`, `value`, `reason`, `variant`, `metadata`"),
        (status = 400, description = "`errorCode` is `PARSE_ERROR` or `INVALID_CONTEXT`"),
        (status = 404, description = "`errorCode` is `FLAG_NOT_FOUND`"),
        (status = 413, description = "The body is too long"),
    )
)]
pub(super) async fn evaluate(
    State(app): State<Arc<App>>,
    uri: Uri,
    body: Result<JsonObject, ApiError>,
) -> Response {
    // The rest of the path is the key, including slashes.
    let escaped = uri.path().strip_prefix(FLAGS).unwrap_or_default();
    let Ok(key) = percent_decode_str(escaped).decode_utf8() else {
        return not_found("");
    };
    let mut key = key.into_owned();
    // No feature has a longer key, and the response repeats the key.
    if let Some((end, _)) = key.char_indices().nth(FeatureKey::MAX_CHARS + 1) {
        key.truncate(end);
    }
    if let Err((code, why)) = context(body) {
        let error = json!({"key": key, "errorCode": code, "errorDetails": why});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let now = app.clock.now();
    let entitled = app.entitled.at(&app.snapshot(), now);
    match flag(&entitled.announced.announcement, &key) {
        Some(flag) => Json(flag).into_response(),
        None => {
            note_unknown(&app, &key, now);
            not_found(&key)
        }
    }
}

/// Evaluate All Flags
///
/// OpenFeature Remote Evaluation Protocol 0.3: all features and limits, with an `ETag` and the
/// event stream for changes.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags",
    request_body = EvaluationRequest,
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer")),
    responses(
        (status = 200, description = "`flags`, `metadata`, `eventStreams`"),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "`errorCode` is `PARSE_ERROR` or `INVALID_CONTEXT`"),
        (status = 413, description = "The body is too long"),
    )
)]
pub(super) async fn evaluate_all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<JsonObject, ApiError>,
) -> Response {
    if let Err((code, why)) = context(body) {
        let error = json!({"errorCode": code, "errorDetails": why});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let entitled = app.entitled.at(&app.snapshot(), app.clock.now());
    let state = &entitled.announced;
    let etag = format!("\"{}\"", state.id);
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    let is_known = known
        .flat_map(|value| value.split(','))
        .take(MAX_ETAGS)
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == state.id || tag == "*");
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let flags = entitled.flags.get_or_init(|| all(&state.announcement));
        ([(header::CONTENT_TYPE, "application/json")], flags.clone()).into_response()
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The context has no effect, but must be an object.
fn context(body: Result<JsonObject, ApiError>) -> Result<(), (&'static str, String)> {
    let mut body = body.map_err(|_| ("PARSE_ERROR", "The body is not a JSON object".to_owned()))?;
    match body.read(&CONTEXT) {
        Ok(_) => Ok(()),
        Err(_) => Err(("INVALID_CONTEXT", "'context' must be an object".to_owned())),
    }
}

fn not_found(key: &str) -> Response {
    let error = json!({
        "key": key, "errorCode": "FLAG_NOT_FOUND",
        "errorDetails": format!("Unknown feature or limit '{key}'"),
    });
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

/// All flags, and the event stream for changes.
fn all(announcement: &Announcement) -> Bytes {
    let common = metadata(announcement);
    let features = announcement.features.iter();
    let features = features.map(|(key, told)| feature_flag(&common, key, told));
    let limits = announcement.limits.iter();
    let limits = limits.map(|(resource, limit)| limit_flag(&common, resource, *limit));
    let flags: Vec<Value> = features.chain(limits).collect();
    json_bytes(&json!({
        "flags": flags,
        "metadata": common,
        "eventStreams": [{
            "type": "sse",
            "endpoint": {"requestUri": "/ofrep/v1/events"},
            "inactivityDelaySec": INACTIVITY_SECONDS,
        }],
    }))
}

/// The flag of a feature or a limit.
fn flag(announcement: &Announcement, key: &str) -> Option<Value> {
    let common = metadata(announcement);
    if let Some(told) = announcement.features.get(key) {
        return Some(feature_flag(&common, key, told));
    }
    let resource = key.strip_prefix(LIMIT)?;
    let limit = announcement.limits.get(resource)?;
    Some(limit_flag(&common, resource, *limit))
}

fn feature_flag(common: &Map<String, Value>, key: &str, told: &Told) -> Value {
    let mut metadata = common.clone();
    metadata.insert("reason".to_owned(), json!(told.reason));
    let is_switched_off = told.reason == Reason::SwitchedOff.code();
    let reason = if is_switched_off {
        "DISABLED"
    } else {
        "STATIC"
    };
    let variant = if told.available { "on" } else { "off" };
    json!({
        "key": key, "value": told.available, "reason": reason, "variant": variant,
        "metadata": metadata,
    })
}

fn limit_flag(common: &Map<String, Value>, resource: &str, limit: Option<u64>) -> Value {
    let (value, variant) = match limit {
        Some(limit) => (json!(limit), "limited"),
        None => (json!(-1), "unlimited"),
    };
    json!({
        "key": format!("{LIMIT}{resource}"), "value": value, "reason": "STATIC",
        "variant": variant, "metadata": common,
    })
}

/// The metadata of all flags. It contains no nulls.
fn metadata(announcement: &Announcement) -> Map<String, Value> {
    [
        ("standing", json!(announcement.standing)),
        ("tier", json!(announcement.tier)),
        ("graceUntil", json!(announcement.grace_until)),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_string())
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
