//! The OpenFeature Remote Evaluation Protocol, version 0.3: features are
//! booleans, limits are integers, of which -1 is no limit.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use license_core::announcement::Announcement;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::error::ApiError;
use crate::licensing::entitlements::{announcement, entitlements};

/// What the keys of limits begin with: `limit.cameras`.
const LIMIT: &str = "limit.";
/// After how long a page that nobody looks at gives its stream back.
const INACTIVITY_SECONDS: u64 = 60;

/// Evaluate Flag
///
/// OpenFeature Remote Evaluation Protocol 0.3: one feature or limit.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags/{key}",
    params(("key" = String, Path, description = "A feature key, or `limit.cameras`, `limit.users`, `limit.storage_gb`")),
    responses(
        (status = 200, description = "`key`, `value`, `reason`, `variant`, `metadata`"),
        (status = 400, description = "`errorCode` is `PARSE_ERROR` or `INVALID_CONTEXT`"),
        (status = 404, description = "`errorCode` is `FLAG_NOT_FOUND`"),
    )
)]
pub(super) async fn evaluate(
    State(app): State<Arc<App>>,
    key: Result<Path<String>, PathRejection>,
    body: Result<JsonObject, ApiError>,
) -> Response {
    let Ok(Path(key)) = key else {
        return not_found("");
    };
    if let Err((code, why)) = context(body) {
        let error = json!({"key": key, "errorCode": code, "errorDetails": why});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    // One flag needs no name of the whole, which is a hash of it all.
    let announcement = announcement(&app, app.clock.now());
    match flags(&announcement).find(|flag| flag["key"] == key.as_str()) {
        Some(flag) => Json(flag).into_response(),
        None => not_found(&key),
    }
}

/// Evaluate All Flags
///
/// OpenFeature Remote Evaluation Protocol 0.3: all features and limits, with an
/// `ETag`, and where to hear of changes.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer")),
    responses(
        (status = 200, description = "`flags`, `metadata`, `eventStreams`"),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "`errorCode` is `PARSE_ERROR` or `INVALID_CONTEXT`"),
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
    let state = entitlements(&app, app.clock.now());
    let etag = format!("\"{}\"", state.id);
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known.filter_map(|value| value.to_str().ok());
    let is_known = known.any(|known| {
        let mut tags = known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == etag || tag == state.id || tag == "*")
    });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let flags: Vec<Value> = flags(&state.announcement).collect();
        Json(json!({
            "flags": flags,
            "metadata": metadata(&state.announcement),
            "eventStreams": [{
                "type": "sse",
                "endpoint": {"requestUri": "/ofrep/v1/events"},
                "inactivityDelaySec": INACTIVITY_SECONDS,
            }],
        }))
        .into_response()
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// The context decides nothing, but has to be one.
fn context(body: Result<JsonObject, ApiError>) -> Result<(), (&'static str, String)> {
    let mut body = body.map_err(|_| ("PARSE_ERROR", "The body is not a JSON object".to_owned()))?;
    match body.take("context") {
        Some(Value::Object(_)) => Ok(()),
        _ => Err((
            "INVALID_CONTEXT",
            "'context' has to be an object".to_owned(),
        )),
    }
}

fn not_found(key: &str) -> Response {
    let error = json!({
        "key": key, "errorCode": "FLAG_NOT_FOUND",
        "errorDetails": format!("There is no feature or limit '{key}'"),
    });
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

fn flags(announcement: &Announcement) -> impl Iterator<Item = Value> {
    let common = metadata(announcement);
    let features = announcement.features.iter().map({
        let common = common.clone();
        move |(key, told)| {
            let mut metadata = common.clone();
            metadata.insert("reason".to_owned(), json!(told.reason));
            let reason = match told.reason.as_str() {
                "switched_off" => "DISABLED",
                _ => "STATIC",
            };
            let variant = if told.available { "on" } else { "off" };
            json!({
                "key": key, "value": told.available, "reason": reason, "variant": variant,
                "metadata": metadata,
            })
        }
    });
    let limits = announcement.limits.iter().map(move |(resource, limit)| {
        let (value, variant) = match limit {
            Some(limit) => (json!(limit), "limited"),
            None => (json!(-1), "unlimited"),
        };
        json!({
            "key": format!("{LIMIT}{resource}"), "value": value, "reason": "STATIC",
            "variant": variant, "metadata": common,
        })
    });
    features.chain(limits)
}

/// What is said of all flags. There are no nulls in it.
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
