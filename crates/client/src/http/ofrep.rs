//! The OpenFeature Remote Evaluation Protocol, version 0.3: features are booleans, limits are
//! integers, where -1 means no limit.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use axum::response::IntoResponse as _;
use chrono::{DateTime, Utc};
use license_core::announcement::{Announcement, Told};
use license_core::feature::FeatureKey;
use license_core::gate::Reason;
use license_core::unambiguous_json::Unambiguous;
use license_service::direct::{DirectResponse, Head, text_of};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::http::body::JsonObject;
use crate::http::body::field::{AnyObject, body, object};
use crate::http::error::ApiError;
use crate::http::json_answer::{json, json_bytes};
use crate::licensing::decide::note_unknown;

/// The prefix of the keys of limits: `limit.cameras`.
const LIMIT: &str = "limit.";
/// The time after which a hidden page closes its stream.
const INACTIVITY_SECONDS: u64 = 60;

/// Maximum number of entries of `If-None-Match` that are compared; providers send one.
const MAX_ETAGS: usize = 32;

/// The path of [`evaluate_all`].
pub(super) const ALL_FLAGS: &str = "/ofrep/v1/evaluate/flags";
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
    params(("key" = String, Path, description = "A feature key, or `limit.cameras`, `limit.users` or `limit.storage_gb`")),
    responses(
        (status = 200, description = "`key`, `value`, `reason`, `variant`, `metadata`"),
        (status = 400, description = "`errorCode` is `PARSE_ERROR` or `INVALID_CONTEXT`"),
        (status = 404, description = "`errorCode` is `FLAG_NOT_FOUND`"),
        (status = 413, description = "The body is too large"),
    )
)]
pub(super) async fn evaluate(
    State(app): State<Arc<App>>,
    uri: Uri,
    body: Result<JsonObject, ApiError>,
) -> Response<Body> {
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
    if let Some(flag) = evaluated(&app, &key) {
        return json(flag).into_response();
    }
    note_unknown(&app, &key, app.clock.now());
    not_found(&key)
}

/// The same as [`evaluate`]; `None` if the key is unusual or unknown, or the body is not an
/// [`Evaluation`].
pub(super) fn evaluate_text(app: &App, path: &str, body: &str) -> Option<Bytes> {
    let key = path.strip_prefix(FLAGS)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_accepted = key.len() <= FeatureKey::MAX_CHARS && key.bytes().all(is_plain);
    (is_accepted && has_context(body)).then(|| evaluated(app, key))?
}

/// The flag; `None` if it is unknown.
fn evaluated(app: &App, key: &str) -> Option<Bytes> {
    let entitled = app.entitled.at(&app.snapshot(), app.plausible_time());
    let announcement = &entitled.announced.announcement;
    if let Some(told) = announcement.features.get(key) {
        return Some(json_bytes(&Flag::of_feature(announcement, key, told)));
    }
    let limit = announcement.limits.get(key.strip_prefix(LIMIT)?)?;
    Some(json_bytes(&Flag::of_limit(announcement, key, *limit)))
}

/// Evaluate All Flags
///
/// OpenFeature Remote Evaluation Protocol 0.3: all features and limits, with an `ETag` and the
/// event stream for changes.
#[utoipa::path(
    post,
    path = "/ofrep/v1/evaluate/flags",
    request_body = EvaluationRequest,
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier response")),
    responses(
        (status = 200, description = "`flags`, `metadata`, `eventStreams`"),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "`errorCode` is `PARSE_ERROR` or `INVALID_CONTEXT`"),
        (status = 413, description = "The body is too large"),
    )
)]
pub(super) async fn evaluate_all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<JsonObject, ApiError>,
) -> Response<Body> {
    if let Err((code, why)) = context(body) {
        let error = json!({"errorCode": code, "errorDetails": why});
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    all_evaluated(&app, known.map(HeaderValue::as_bytes)).into_response()
}

/// The same as [`evaluate_all`]; `None` if the body is not an [`Evaluation`].
pub(super) fn evaluate_all_text(app: &App, head: &Head<'_>, body: &str) -> Option<DirectResponse> {
    has_context(body).then(|| all_evaluated(app, head.values(header::IF_NONE_MATCH.as_str())))
}

/// All flags, or 304 if the caller has them.
fn all_evaluated<'a>(app: &App, known: impl Iterator<Item = &'a [u8]>) -> DirectResponse {
    let entitled = app.entitled.at(&app.snapshot(), app.plausible_time());
    let state = &entitled.announced;
    let etag = format!("\"{}\"", state.id);
    let is_known = known
        .filter_map(text_of)
        .flat_map(|value| value.split(','))
        .take(MAX_ETAGS)
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == state.id || tag == "*");
    let mut response = match is_known {
        true => DirectResponse::empty(StatusCode::NOT_MODIFIED),
        false => {
            let flags = entitled.flags.get_or_init(|| all(&state.announcement));
            DirectResponse::json(StatusCode::OK, flags.clone())
        }
    };
    let etag = HeaderValue::from_str(&etag).ok();
    response
        .headers
        .extend(etag.map(|etag| (header::ETAG, etag)));
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

fn not_found(key: &str) -> Response<Body> {
    let error = json!({
        "key": key, "errorCode": "FLAG_NOT_FOUND",
        "errorDetails": format!("Unknown feature or limit '{key}'"),
    });
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}

/// All flags, and the event stream for changes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllFlags<'a> {
    flags: Vec<Flag<'a>>,
    metadata: Metadata<'a>,
    event_streams: Value,
}

/// The flag of a feature or a limit.
#[derive(Serialize)]
struct Flag<'a> {
    key: Cow<'a, str>,
    value: FlagValue,
    reason: &'static str,
    variant: &'static str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum FlagValue {
    Feature(bool),
    Limit(u64),
    Unlimited(i64),
}

/// The metadata of all flags, and the reason of a feature. It contains no nulls.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    standing: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_until: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Metadata<'a> {
    fn of(announcement: &'a Announcement, reason: Option<&'a str>) -> Self {
        Self {
            standing: &announcement.standing,
            tier: announcement.tier.as_deref(),
            grace_until: announcement.grace_until,
            reason,
        }
    }
}

impl<'a> Flag<'a> {
    fn of_feature(announcement: &'a Announcement, key: &'a str, told: &'a Told) -> Self {
        let is_switched_off = told.reason == Reason::SwitchedOff.code();
        Self {
            key: key.into(),
            value: FlagValue::Feature(told.available),
            reason: if is_switched_off {
                "DISABLED"
            } else {
                "STATIC"
            },
            variant: if told.available { "on" } else { "off" },
            metadata: Metadata::of(announcement, Some(&told.reason)),
        }
    }

    /// `key` with its prefix.
    fn of_limit(
        announcement: &'a Announcement,
        key: impl Into<Cow<'a, str>>,
        limit: Option<u64>,
    ) -> Self {
        Self {
            key: key.into(),
            value: limit.map_or(FlagValue::Unlimited(-1), FlagValue::Limit),
            reason: "STATIC",
            variant: if limit.is_some() {
                "limited"
            } else {
                "unlimited"
            },
            metadata: Metadata::of(announcement, None),
        }
    }
}

fn all(announcement: &Announcement) -> Bytes {
    let features = announcement.features.iter();
    let features = features.map(|(key, told)| Flag::of_feature(announcement, key, told));
    let limits = announcement.limits.iter();
    let limits = limits.map(|(resource, limit)| {
        Flag::of_limit(announcement, format!("{LIMIT}{resource}"), *limit)
    });
    json_bytes(&AllFlags {
        flags: features.chain(limits).collect(),
        metadata: Metadata::of(announcement, None),
        event_streams: json!([{
            "type": "sse",
            "endpoint": {"requestUri": "/ofrep/v1/events"},
            "inactivityDelaySec": INACTIVITY_SECONDS,
        }]),
    })
}

/// A body with nothing but a context.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evaluation {
    #[serde(rename = "context")]
    _context: HashMap<String, Unambiguous>,
}

/// Whether the body is an [`Evaluation`].
fn has_context(body: &str) -> bool {
    serde_json::from_str::<Evaluation>(body).is_ok()
}
