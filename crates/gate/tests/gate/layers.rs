//! The layer, around services of all kinds.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::routing::get;
use license_core::feature::FeatureKey;
use license_gate::Gate;
use license_gate::route::{Otherwise, Pattern, Route, RouteTable};
use serde_json::{Value, json};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;

use crate::scripted_client::{ALARM, LIVE_VIEW, MAP_VIEW, ScriptedClient, announcement, said};
use crate::signer::{Signer, T0, license_claims};

async fn licensed() -> (ScriptedClient, Gate) {
    let evidence = Signer::vendor().evidence(&license_claims());
    let client = ScriptedClient::start(said(&announcement(&evidence, T0), T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    assert!(gate.ready(Duration::from_secs(5)).await);
    (client, gate)
}

async fn ask(router: &Router, method: Method, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 16).await.unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, text)
}

#[tokio::test]
async fn a_request_passes_or_is_told_why_not() {
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
async fn a_whole_gateway_is_gated_by_path() {
    let (_client, gate) = licensed().await;
    let route = |methods: &[&str], pattern: &str, feature: Option<&str>| Route {
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        pattern: Pattern::parse(pattern).unwrap(),
        feature: feature.map(|key| FeatureKey::parse(key).unwrap()),
    };
    let routes = vec![
        route(&["GET"], "/api/alarms/**", None),
        route(&[], "/api/alarms/**", Some(ALARM)),
        route(&[], "/api/map/**", Some(MAP_VIEW)),
    ];
    let table = RouteTable::new(routes, Otherwise::Deny, false);
    let router = Router::new()
        .fallback(|| async { "behind" })
        .layer(gate.layer_by_path(table));
    for (method, path, status, reason) in [
        (Method::GET, "/api/map/1?zoom=2", StatusCode::OK, ""),
        (Method::GET, "/api/alarms/1", StatusCode::OK, ""),
        (
            Method::POST,
            "/api/alarms/1",
            StatusCode::FORBIDDEN,
            "not_in_license",
        ),
        (
            Method::POST,
            "/api//map/%2e%2e/alarms;x=1/1",
            StatusCode::FORBIDDEN,
            "bad_path",
        ),
        (
            Method::GET,
            "/elsewhere",
            StatusCode::FORBIDDEN,
            "not_listed",
        ),
        (Method::GET, "/api/%zz", StatusCode::FORBIDDEN, "bad_path"),
    ] {
        let (answered, headers, _) = ask(&router, method.clone(), path).await;
        assert_eq!(answered, status, "{method} {path}");
        let said = headers.get("x-license-reason");
        let said = said.map_or("", |value| value.to_str().unwrap());
        assert_eq!(said, reason, "{method} {path}");
    }
}

#[tokio::test]
async fn grpc_is_refused_in_its_own_way() {
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
        // A real service of gRPC, behind the layer.
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
