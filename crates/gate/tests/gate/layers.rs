//! The layer around services of all kinds.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use license_gate::{Bytes, Decision, Gate, Reason, Refusal};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

use crate::scripted_client::{ALARM, LIVE_VIEW, MAP_VIEW, ScriptedClient, announcement, said};
use crate::signer::{Signer, T0, license_claims};

pub async fn licensed() -> (ScriptedClient, Gate) {
    let evidence = Signer::vendor().evidence(&license_claims());
    let client = ScriptedClient::start(said(&announcement(&evidence, T0), T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    assert!(gate.ready(Duration::from_secs(5)).await);
    (client, gate)
}

pub async fn ask(router: &Router, method: Method, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 16).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, text)
}

#[tokio::test]
async fn a_request_passes_or_gets_the_reason() {
    let (_client, gate) = licensed().await;
    let behind = |name| get(move || async move { name });
    let router = Router::new()
        .route("/map", behind("a map").layer(gate.layer(MAP_VIEW)))
        .route("/alarm", behind("an alarm").layer(gate.layer(ALARM)))
        .route("/live", behind("live").layer(gate.layer(LIVE_VIEW)))
        .route("/nope", behind("what").layer(gate.layer("module.nope")));
    for (path, body) in [("/map", "a map"), ("/live", "live")] {
        let (status, headers, text) = ask(&router, Method::GET, path).await;
        assert_eq!((status, text.as_str()), (StatusCode::OK, body));
        assert!(!headers.contains_key("x-license-reason"));
    }
    for (path, feature) in [("/alarm", ALARM), ("/nope", "module.nope")] {
        let (status, headers, text) = ask(&router, Method::GET, path).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["x-license-reason"], "not_in_license");
        assert_eq!(headers["x-license-tier"], "professional");
        let body: Value = serde_json::from_str(&text).unwrap();
        let detail = format!("The license does not include '{feature}'");
        let expected = json!({"detail": detail, "reason": "not_in_license", "feature": feature});
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn grpc_requests_get_a_grpc_status() {
    let (_client, gate) = licensed().await;
    for (feature, status) in [
        (MAP_VIEW, Ok(())),
        (
            ALARM,
            Err("The license does not include 'module.alarm_advanced'"),
        ),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // A real gRPC service behind the layer.
        let (_reporter, health) = tonic_health::server::health_reporter();
        let server = tonic::transport::Server::builder()
            .layer(gate.layer(feature))
            .add_service(health);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let serving = tokio::spawn(server.serve_with_incoming(incoming));

        let endpoint = tonic::transport::Endpoint::new(format!("http://{address}")).unwrap();
        let mut caller = HealthClient::new(endpoint.connect().await.unwrap());
        let answer = caller.check(HealthCheckRequest::default()).await;
        let said = answer.map(drop).map_err(|refused| {
            assert_eq!(refused.code(), tonic::Code::PermissionDenied);
            let reason = refused.metadata().get("x-license-reason").unwrap();
            assert_eq!(reason, "not_in_license");
            refused.message().to_owned()
        });
        assert_eq!(said, status.map_err(str::to_owned), "{feature}");
        serving.abort();
    }
}

/// gRPC-Web has its status in the body, with the media type of the request.
#[tokio::test]
async fn grpc_web_requests_get_a_grpc_status_in_the_body() {
    let gate = Gate::fixed([MAP_VIEW]);
    let router = Router::new()
        .route(
            "/alarm",
            get(|| async { "behind" }).post(|| async { "behind" }),
        )
        .layer(gate.layer(ALARM));
    for (content_type, is_web, is_text) in [
        ("application/grpc", false, false),
        ("application/grpc+proto", false, false),
        ("Application/gRPC; x=1", false, false),
        ("application/grpc-web", true, false),
        ("application/grpc-web+proto", true, false),
        ("application/GRPC-Web+json; charset=utf-8", true, false),
        ("application/grpc-web-text", true, true),
        ("application/grpc-web-text+proto", true, true),
    ] {
        let request = Request::post("/alarm").header("content-type", content_type);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{content_type}");
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["x-license-reason"], "not_in_license");
        let body = to_bytes(body, 1 << 16).await.unwrap();
        if !is_web {
            assert_eq!(parts.headers["content-type"], "application/grpc");
            assert_eq!(parts.headers["grpc-status"], "7");
            assert!(body.is_empty(), "{content_type}");
            continue;
        }
        assert_eq!(parts.headers["content-type"], content_type);
        assert!(!parts.headers.contains_key("grpc-status"));
        let frame = match is_text {
            true => STANDARD.decode(&body).unwrap(),
            false => body.to_vec(),
        };
        let trailers = "grpc-status: 7\r\ngrpc-message: The license does not include \
                        'module.alarm_advanced'\r\n";
        let length = u8::try_from(trailers.len()).unwrap();
        assert_eq!(frame[..5], [0x80, 0, 0, 0, length], "{content_type}");
        assert_eq!(frame[5..], *trailers.as_bytes(), "{content_type}");
    }
    // Similar media types are not gRPC.
    for content_type in [
        "application/grpcx",
        "application/grpc-websocket",
        "text/plain",
    ] {
        let request = Request::post("/alarm").header("content-type", content_type);
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{content_type}");
    }
}

#[tokio::test]
async fn without_contact_callers_are_asked_to_try_again() {
    let (gate, script) = Gate::scripted();
    script.refuse(MAP_VIEW, Reason::NoContact);
    let router = Router::new().route("/map", get(async || "a map").layer(gate.layer(MAP_VIEW)));
    let (status, headers, body) = ask(&router, Method::GET, "/map").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert_eq!(headers["retry-after"], "5");
    assert_eq!(headers["x-license-reason"], "no_contact");
    let request = Request::get("/map").header("content-type", "application/grpc");
    let request = request.body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
}

/// A refused service releases everything that it has reserved.
#[tokio::test]
async fn a_refusal_releases_the_permit_of_the_service() {
    let gate = Gate::fixed([MAP_VIEW]);
    let permits = GlobalConcurrencyLimitLayer::new(1);
    let behind = permits.layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(())))
    }));
    let mut refused = gate.layer(ALARM).layer(behind.clone());
    let mut allowed = gate.layer(MAP_VIEW).layer(behind);
    for _ in 0..3 {
        let refusal = refused.ready().await.unwrap().call(Request::new(())).await;
        assert_eq!(refusal.unwrap().status(), StatusCode::FORBIDDEN);
        // The refused service still exists, and is idle.
        let ready = timeout(Duration::from_secs(5), allowed.ready()).await;
        let ready = ready.expect("the permit is free").unwrap();
        let response = ready.call(Request::new(())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_gateway_can_build_its_own_refusals() {
    let page = |text: &str| {
        let response = Response::builder().status(402);
        let response = response.header("content-type", "text/html");
        response.body(Bytes::from(text.to_owned())).unwrap()
    };
    let builder = Gate::builder("http://license-client:8010").on_refusal(move |refusal| {
        let german = refusal.headers().get("accept-language");
        match german.is_some_and(|value| value == "de") {
            true => page("Nicht lizenziert"),
            false => page(&format!("{:?} {}", refusal.feature(), refusal.uri())),
        }
    });
    let gate = builder.fixed([MAP_VIEW]);
    let legal = |refusal: &Refusal<'_>| {
        let mut response = refusal.response();
        *response.status_mut() = StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS;
        response
    };
    let inner = Router::new()
        .route(
            "/alarm",
            get(|| async { "behind" }).layer(gate.layer(ALARM)),
        )
        .route(
            "/other",
            get(|| async { "behind" }).layer(gate.layer(ALARM).on_refusal(legal)),
        );
    let router = Router::new().nest("/api", inner);
    let (status, headers, text) = ask(&router, Method::GET, "/api/alarm?x=1").await;
    assert_eq!(status.as_u16(), 402);
    assert_eq!(headers["x-license-reason"], "not_in_license");
    assert_eq!(text, format!("Some({ALARM:?}) /api/alarm?x=1"));
    let (status, headers, _) = ask(&router, Method::GET, "/api/other").await;
    assert_eq!(status, StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS);
    assert_eq!(headers["content-type"], "application/json");

    let request = Request::get("/api/alarm").header("accept-language", "de");
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    assert_eq!(body, "Nicht lizenziert");
    // A program that speaks gRPC cannot read a page.
    let request = Request::get("/api/alarm").header("content-type", "application/grpc");
    let request = request.body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "7");
}

#[tokio::test]
async fn the_decision_is_in_the_request() {
    let gate = Gate::fixed([MAP_VIEW]);
    let handler = async |Extension(decision): Extension<Decision>| decision.reason.to_string();
    let router = Router::new()
        .route("/map", get(handler).layer(gate.layer(MAP_VIEW)))
        .route("/live", get(handler).layer(gate.layer(LIVE_VIEW)));
    assert_eq!(ask(&router, Method::GET, "/map").await.2, "licensed");
    assert_eq!(
        ask(&router, Method::GET, "/live").await.2,
        Reason::Core.code()
    );
}
