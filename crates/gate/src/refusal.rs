//! What a request is answered that may not pass: as the License Client's own
//! forward authentication answers it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use license_core::gate::in_words;
use serde_json::json;

use crate::decision::Reason;

const REASON: HeaderName = HeaderName::from_static("x-license-reason");
const TIER: HeaderName = HeaderName::from_static("x-license-tier");
/// `PERMISSION_DENIED` (grpc.io, "Status codes").
const PERMISSION_DENIED: &str = "7";

/// 403 with a reason that a user may be shown. gRPC gets its own kind of
/// answer, without a body ("Trailers-Only").
pub(crate) fn refusal(
    reason: Reason,
    feature: Option<&str>,
    tier: Option<&str>,
    asked: &HeaderMap,
) -> Response<Full<Bytes>> {
    let detail = in_words(reason.code(), feature.unwrap_or_default());
    let kind = asked.get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let mut response = if is_grpc {
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        set(headers, header::CONTENT_TYPE, "application/grpc");
        set(headers, "grpc-status".parse().ok(), PERMISSION_DENIED);
        set(
            headers,
            "grpc-message".parse().ok(),
            &percent_encoded(&detail),
        );
        response
    } else {
        let body = json!({"detail": detail, "reason": reason.code(), "feature": feature});
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = StatusCode::FORBIDDEN;
        set(
            response.headers_mut(),
            header::CONTENT_TYPE,
            "application/json",
        );
        response
    };
    let headers = response.headers_mut();
    set(headers, REASON, reason.code());
    if let Some(tier) = tier.filter(|tier| !tier.is_empty()) {
        set(headers, TIER, tier);
    }
    response
}

/// What no header can hold is left out.
fn set(headers: &mut HeaderMap, name: impl Into<Option<HeaderName>>, value: &str) {
    if let (Some(name), Ok(value)) = (name.into(), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

/// How gRPC writes a message: everything but printable ASCII, and `%` itself,
/// as `%XX` of its UTF-8.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}
