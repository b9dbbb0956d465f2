//! Forward authentication over gRPC: `envoy.service.auth.v3.Authorization`, on a separate port.
//!
//! The feature comes from the gateway's configuration, as the context extension `feature`, and the
//! method and path from the request as Envoy routes it. Headers come from the visitor and are
//! ignored.

mod messages;

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use axum::{Router, middleware};
use futures_util::future::{Ready, ready};
use license_service::request_body::{MAX_LONG_BODY_BYTES, allow_bytes};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tower_http::catch_panic::CatchPanicLayer;

use self::messages::{
    AppendAction, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption,
    HttpRequest, HttpResponse, HttpStatus, Kind, OkHttpResponse, RpcStatus, Struct, Value,
};
use crate::app::App;
use crate::http::gate_question::{AskedPath, Question, Verdict, judge, method_of};
use crate::http::{HttpState, access, panicked};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The context extension that names the feature.
const FEATURE: &str = "feature";
/// Maximum length of a question, in bytes: Envoy sends the headers of a request, up
/// to 60 KiB unless it is configured otherwise.
const MAX_MESSAGE_BYTES: usize = MAX_LONG_BODY_BYTES;

/// The gRPC service as a router.
pub fn router(state: HttpState) -> Router {
    let access = state.access.clone();
    let bodies = state.bodies.clone();
    let router = Router::new()
        .route(CHECK, post(check))
        .fallback(unimplemented)
        .with_state(state.app);
    Router::new()
        .fallback_service(router)
        .layer(bodies)
        .layer(middleware::from_fn_with_state(access, access::note_caller))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(as_grpc))
}

async fn check(State(app): State<Arc<App>>, request: Request) -> Response {
    allow_bytes(request.extensions(), MAX_MESSAGE_BYTES + 5);
    let mut grpc = Grpc::new(ProstCodec::default())
        .apply_max_message_size_config(Some(MAX_MESSAGE_BYTES), None);
    grpc.unary(Check(app), request).await.map(Body::new)
}

async fn unimplemented() -> Response {
    Status::unimplemented("the service is envoy.service.auth.v3.Authorization").into_http()
}

/// Errors of the layers around the service, in the terms of gRPC.
async fn as_grpc(response: Response) -> Response {
    let code = match response.status() {
        StatusCode::OK => return response,
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        _ => Code::Internal,
    };
    let reason = response.status().canonical_reason().unwrap_or_default();
    Status::new(code, reason).into_http()
}

struct Check(Arc<App>);

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = Ready<Result<tonic::Response<CheckResponse>, Status>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let mut extensions = attributes.context_extensions.iter().rev();
        let feature = extensions.find(|it| it.key == FEATURE);
        let feature = feature.map(|it| std::str::from_utf8(&it.value).map(Cow::from));
        let http = attributes.request.and_then(|request| request.http);
        let question = Question {
            features: feature.into_iter().collect::<Result<_, _>>().ok(),
            paths: http.as_ref().map_or(Some(Vec::new()), paths),
            features_may_be_the_visitors: false,
        };
        let verdict = judge(&self.0, &question);
        ready(Ok(tonic::Response::new(response(&self.0, &verdict))))
    }
}

/// The path of the request; `None` if Envoy sends several. Envoy writes `!` for
/// each byte that is not UTF-8, except in raw headers (`encode_raw_headers`). Without
/// these, a path with `!` is read both ways, and each has to be allowed.
fn paths(http: &HttpRequest) -> Option<Vec<AskedPath<'_>>> {
    let method = std::str::from_utf8(&http.method).ok().and_then(method_of);
    let headers = http.header_map.iter().flat_map(|map| &map.headers);
    let mut raw = headers.filter(|header| header.key == ":path");
    let paths: Vec<Cow<'_, [u8]>> = match (raw.next(), raw.next()) {
        (Some(header), None) if header.raw_value.is_empty() => vec![Cow::from(&*header.value)],
        (Some(header), None) => vec![Cow::from(&*header.raw_value)],
        (Some(_), Some(_)) => return None,
        (None, _) => {
            let path = Cow::from(&*http.path);
            let unreadable = path.contains(&b'!').then(|| {
                let bytes = path.iter().map(|byte| match byte {
                    b'!' => 0xff,
                    other => *other,
                });
                Cow::from(bytes.collect::<Vec<_>>())
            });
            std::iter::once(path).chain(unreadable).collect()
        }
    };
    let asked = paths.into_iter().map(|path| AskedPath { method, path });
    Some(asked.collect())
}

fn response(app: &App, verdict: &Verdict<'_>) -> CheckResponse {
    let headers = verdict.headers(app);
    let missing = headers.iter().filter(|(_, value)| value.is_none());
    let headers_to_remove = missing.map(|(name, _)| (*name).to_owned()).collect();
    let mut headers: Vec<HeaderValueOption> = headers
        .iter()
        .filter_map(|(name, value)| Some(header(name, value.as_ref()?.as_bytes())))
        .collect();
    let (code, http_response) = if verdict.allowed {
        let ok = OkHttpResponse {
            headers,
            headers_to_remove,
        };
        (Code::Ok, HttpResponse::Ok(ok))
    } else {
        let status = match verdict.is_unreadable() {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::FORBIDDEN,
        };
        headers.push(header("content-type", b"application/json"));
        let denied = DeniedHttpResponse {
            status: Some(HttpStatus {
                code: status.as_u16().into(),
            }),
            headers,
            body: verdict.body(),
        };
        (Code::PermissionDenied, HttpResponse::Denied(denied))
    };
    CheckResponse {
        status: Some(RpcStatus {
            code: code.into(),
            message: verdict.reason().to_owned(),
        }),
        http_response: Some(http_response),
        dynamic_metadata: Some(metadata(verdict)),
    }
}

/// Replaces all values of this name in the request.
fn header(name: &'static str, value: &[u8]) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.into(),
            value: Bytes::copy_from_slice(value),
            raw_value: Bytes::new(),
        }),
        append_action: AppendAction::OverwriteIfExistsOrAdd.into(),
    }
}

/// For the gateway's access log.
fn metadata(verdict: &Verdict<'_>) -> Struct {
    let text = |text: &str| Kind::String(text.to_owned());
    let fields = [
        ("allowed", Some(Kind::Bool(verdict.allowed))),
        ("reason", Some(text(verdict.reason()))),
        ("feature", verdict.feature.as_deref().map(text)),
    ];
    let fields = fields.into_iter().filter_map(|(name, kind)| {
        let value = Value { kind: Some(kind?) };
        Some((name.to_owned(), value))
    });
    Struct {
        fields: fields.collect(),
    }
}
