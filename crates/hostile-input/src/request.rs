//! The whole local API, as one function of bytes.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::DateTime;
use clap::Parser as _;
use license_client::app::App;
use license_client::http::access::Access;
use license_client::http::{HttpState, router};
use license_service::clock::{ManualClock, SystemClock};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Line;

/// A service without a license on its own SQLite file.
struct Service {
    runtime: Runtime,
    router: Router,
    _directory: TempDir,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let state_dir = directory.path().display().to_string();
    let flags = [
        "license-client",
        "--state-dir",
        &state_dir,
        "--license-api-url",
        "http://127.0.0.1:1/api",
    ];
    let settings = Line::try_parse_from(flags).unwrap().settings;
    let runtime = Runtime::new().unwrap();
    let app = runtime.block_on(async {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let app = App::new(&settings, clock).unwrap();
        app.knowledge.load().await.unwrap();
        Arc::new(app)
    });
    let clock = Arc::new(SystemClock);
    let access = Access::new(&settings.trusted_networks, None, &[], &[], clock).unwrap();
    let access = Arc::new(access);
    Service {
        runtime,
        router: router(
            HttpState::new(app, access, settings, CancellationToken::new()),
            Router::new(),
        ),
        _directory: directory,
    }
});

/// The routes that can be called without the License Server.
const ROUTES: [(&str, &str); 12] = [
    ("POST", "/ofrep/v1/evaluate/flags/module.map_view"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/api/license/feature/check"),
    ("POST", "/api/license/features/check"),
    ("POST", "/api/license/limits/check"),
    ("PUT", "/api/license/usage"),
    ("PUT", "/api/license/features/module.map_view"),
    ("POST", "/api/license/offline/request"),
    ("POST", "/api/license/offline/import"),
    ("POST", "/api/license/deactivate"),
    ("POST", "/api/license/redeem"),
    ("GET", "/api/license/attempts?limit="),
];

/// The answer to every request is JSON, and never an internal error.
pub fn request(data: &[u8]) {
    let [choice, data @ ..] = data else {
        return;
    };
    let (method, path) = ROUTES[usize::from(*choice) % ROUTES.len()];
    let mut path = path.to_owned();
    if path.ends_with('=') {
        path.extend(data.iter().map(|byte| format!("%{byte:02x}")));
        path.truncate(2_000);
    }
    let caller: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .extension(ConnectInfo(caller))
        .body(Body::from(data.to_vec()))
        .unwrap();
    SERVICE.runtime.block_on(async {
        let answer = SERVICE.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let is_json = serde_json::from_slice::<Value>(&body).is_ok();
        assert!(is_json, "{status}: {}", String::from_utf8_lossy(&body));
        assert!(
            status.as_u16() < 500,
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
    });
}
