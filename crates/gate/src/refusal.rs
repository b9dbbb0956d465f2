//! Responses to refused requests, the same as those of the License Client's forward
//! authentication.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header};
use serde_json::json;

use crate::decision::Reason;

const REASON: HeaderName = HeaderName::from_static("x-license-reason");
const TIER: HeaderName = HeaderName::from_static("x-license-tier");
/// `PERMISSION_DENIED` (grpc.io, "Status codes").
const PERMISSION_DENIED: &str = "7";
/// The same: the call may be repeated.
const UNAVAILABLE: &str = "14";
/// A gate that has no contact tries again within 5 s.
const RETRY_AFTER_SECONDS: &str = "5";
/// The flag of a frame with trailers in gRPC-Web.
const TRAILERS: u8 = 0x80;

/// Builds the response to a refused request.
pub(crate) type RefusalHandler = Arc<dyn Fn(&Refusal<'_>) -> Response<Bytes> + Send + Sync>;

/// A refused request, from which [`GateLayer::on_refusal`](crate::GateLayer::on_refusal)
/// builds a response.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    pub(crate) reason: Reason,
    pub(crate) feature: Option<&'a str>,
    pub(crate) tier: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) uri: &'a Uri,
}

impl<'a> Refusal<'a> {
    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The required feature; `None` if the path is not listed or cannot be read.
    #[must_use]
    pub fn feature(&self) -> Option<&'a str> {
        self.feature
    }

    /// The license's tier, if known.
    #[must_use]
    pub fn tier(&self) -> Option<&'a str> {
        self.tier
    }

    /// The request's headers, such as `Accept` and `Accept-Language`.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The request's URI, before any router has changed it.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// An English sentence to show to the user.
    #[must_use]
    pub fn message(&self) -> String {
        self.reason.message(self.feature.unwrap_or_default())
    }

    /// The default response: 403, 400 if the path cannot be read, or 503 with `Retry-After` if the
    /// gate has no contact, with `{"detail": …, "reason": …, "feature": …}`.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let body = json!({
            "detail": self.message(),
            "reason": self.reason.code(),
            "feature": self.feature,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = match self.reason {
            Reason::BadPath => StatusCode::BAD_REQUEST,
            Reason::NoContact => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        if self.reason == Reason::NoContact {
            let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    /// The response in the protocol of the request. gRPC and gRPC-Web have their own;
    /// otherwise `handler` builds it.
    pub(crate) fn answer(&self, handler: Option<&RefusalHandler>) -> Response<Bytes> {
        let content_type = self.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
        let mut response = match Protocol::of(content_type) {
            Protocol::Http => match handler {
                Some(handler) => handler(self),
                None => self.response(),
            },
            Protocol::Grpc => self.grpc(),
            Protocol::GrpcWeb { is_text } => self.grpc_web(content_type, is_text),
        };
        let headers = response.headers_mut();
        set(headers, REASON, self.reason.code());
        if let Some(tier) = self.tier.filter(|tier| !tier.is_empty()) {
            set(headers, TIER, tier);
        }
        response
    }

    fn grpc_status(&self) -> &'static str {
        match self.reason {
            Reason::NoContact => UNAVAILABLE,
            _ => PERMISSION_DENIED,
        }
    }

    /// The status in the headers, without a body ("Trailers-Only").
    fn grpc(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        set(headers, header::CONTENT_TYPE, "application/grpc");
        set(
            headers,
            HeaderName::from_static("grpc-status"),
            self.grpc_status(),
        );
        let message = percent_encoded(&self.message());
        set(headers, HeaderName::from_static("grpc-message"), &message);
        response
    }

    /// The status in the body, where pages of other origins can read it, with the media
    /// type of the request.
    fn grpc_web(&self, content_type: &[u8], is_text: bool) -> Response<Bytes> {
        let message = percent_encoded(&self.message());
        let status = self.grpc_status();
        let trailers = format!("grpc-status: {status}\r\ngrpc-message: {message}\r\n");
        let mut frame = vec![TRAILERS];
        let length = u32::try_from(trailers.len()).unwrap_or_default();
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(trailers.as_bytes());
        let body = match is_text {
            true => Bytes::from(STANDARD.encode(frame)),
            false => Bytes::from(frame),
        };
        let mut response = Response::new(body);
        if let Ok(content_type) = HeaderValue::from_bytes(content_type) {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
        }
        response
    }
}

enum Protocol {
    Http,
    Grpc,
    GrpcWeb { is_text: bool },
}

impl Protocol {
    /// Compares media types case-insensitively.
    fn of(content_type: &[u8]) -> Self {
        let essence = content_type.split(|byte| *byte == b';').next();
        let essence = essence
            .unwrap_or_default()
            .trim_ascii()
            .to_ascii_lowercase();
        // Cuts off a suffix such as `+proto`.
        let kind = essence
            .split(|byte| *byte == b'+')
            .next()
            .unwrap_or_default();
        match kind {
            b"application/grpc" => Self::Grpc,
            b"application/grpc-web" => Self::GrpcWeb { is_text: false },
            b"application/grpc-web-text" => Self::GrpcWeb { is_text: true },
            _ => Self::Http,
        }
    }
}

/// Omits values that a header cannot contain.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Encodes a message for gRPC: everything but printable ASCII, and `%`, as `%XX` of
/// its UTF-8.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}
