//! A gateway gated by path, with any combination of routers.

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::routing::{any, get};
use license_gate::{Gate, Routes};

use crate::layers::ask;
use crate::scripted_client::{ALARM, MAP_VIEW};

fn behind() -> axum::routing::MethodRouter {
    any(|| async { "behind" })
}

async fn answers(router: &Router, method: Method, path: &str, reason: &str) {
    let (status, headers, _) = ask(router, method.clone(), path).await;
    let said = headers.get("x-license-reason");
    let said = said.map_or("", |value| value.to_str().unwrap());
    assert_eq!(said, reason, "{method} {path}");
    let expected = match reason {
        "" => StatusCode::OK,
        "bad_path" => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    };
    assert_eq!(status, expected, "{method} {path}");
}

#[tokio::test]
async fn a_whole_gateway_is_gated_by_path() {
    let gate = Gate::fixed([MAP_VIEW]);
    let routes = Routes::new()
        .open_for(["GET"], "/api/alarms/**")
        .and_then(|routes| routes.feature("/api/alarms/**", ALARM))
        .and_then(|routes| routes.feature("/api/map/**", MAP_VIEW))
        .unwrap();
    let router = Router::new().fallback(|| async { "behind" });
    let closed = router.clone().layer(gate.layer_by_path(routes.clone()));
    for (method, path, reason) in [
        (Method::GET, "/api/map/1?zoom=2", ""),
        (Method::GET, "/api/alarms/1", ""),
        (Method::HEAD, "/api/alarms/1", ""),
        (Method::POST, "/api/alarms/1", "not_in_license"),
        (Method::POST, "/api//map/%2e%2e/alarms;x=1/1", "bad_path"),
        (Method::GET, "/elsewhere", "not_listed"),
        (Method::GET, "/API/map/1", "not_listed"),
        (Method::GET, "/", "not_listed"),
        (Method::GET, "/api/%zz", "bad_path"),
    ] {
        answers(&closed, method, path, reason).await;
    }
    let open = routes.allow_unlisted().ignore_case();
    let open = router.layer(gate.layer_by_path(open));
    for (path, reason) in [
        ("/elsewhere", ""),
        ("/API/Alarms/1", "not_in_license"),
        ("/API/Map/1", ""),
    ] {
        answers(&open, Method::POST, path, reason).await;
    }
}

/// axum strips the prefix of a nested router from the path. The layer always uses the path
/// that the client sent.
#[tokio::test]
async fn a_nested_router_is_gated_by_the_whole_path() {
    let gate = Gate::fixed([MAP_VIEW]);
    let layer = || {
        let routes = Routes::new()
            .feature("/api/alarms/**", ALARM)
            .and_then(|routes| routes.feature("/api/v2/alarms/**", ALARM))
            .and_then(|routes| routes.feature("/service/alarms/**", ALARM))
            .and_then(|routes| routes.feature("/api/map/**", MAP_VIEW))
            .unwrap();
        // The fallback is open, so a stripped path would be allowed.
        gate.layer_by_path(routes.allow_unlisted())
    };
    let inside = || {
        Router::new()
            .route("/alarms/{*rest}", behind())
            .route("/map/{*rest}", behind())
            .fallback(|| async { "the fallback" })
    };
    let nested = Router::new().nest("/api", inside().layer(layer()));
    let twice = Router::new().nest("/v2", inside().layer(layer()));
    let twice = Router::new().nest("/api", twice);
    let service = Router::new().nest_service("/service", inside().layer(layer()));
    let on_routes = Router::new().nest("/api", inside().route_layer(layer()));
    let merged = Router::new()
        .merge(Router::new().nest("/api", inside().layer(layer())))
        .merge(Router::new().route("/health", get(|| async { "well" })));
    let outside = Router::new().nest("/api", inside()).layer(layer());
    let as_fallback =
        Router::new().fallback_service(Router::new().nest("/api", inside().layer(layer())));
    for (name, router, prefix) in [
        ("nested", nested, "/api"),
        ("nested twice", twice, "/api/v2"),
        ("nested service", service, "/service"),
        ("route layer", on_routes, "/api"),
        ("merged", merged, "/api"),
        ("outside", outside, "/api"),
        ("behind a fallback", as_fallback, "/api"),
    ] {
        println!("{name}");
        answers(
            &router,
            Method::GET,
            &format!("{prefix}/alarms/1"),
            "not_in_license",
        )
        .await;
        answers(&router, Method::GET, &format!("{prefix}/map/1"), "").await;
        if name != "route layer" {
            let odd = format!("{prefix}/map/%2e%2e/alarms/1");
            answers(&router, Method::GET, &odd, "bad_path").await;
        }
    }
}

#[tokio::test]
async fn the_fallback_of_a_nested_router_is_gated_too() {
    let gate = Gate::fixed([MAP_VIEW]);
    let routes = Routes::new().feature("/api/map/**", MAP_VIEW).unwrap();
    let inside = Router::new().fallback(|| async { "the fallback" });
    let router = Router::new().nest("/api", inside.layer(gate.layer_by_path(routes)));
    answers(&router, Method::GET, "/api/map/1", "").await;
    answers(&router, Method::GET, "/api/anything", "not_listed").await;
}

#[test]
fn an_invalid_route_is_rejected_with_a_reason() {
    for (paths, feature, says) in [
        ("api/map", MAP_VIEW, "invalid route 'api/map'"),
        ("/api/**/map", MAP_VIEW, "must come last"),
        ("/api/ma*", MAP_VIEW, "'*' must stand for a whole segment"),
        ("/api/map", "", "at least one character"),
    ] {
        let error = Routes::new().feature(paths, feature).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
