//! Background jobs that fail.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::Request;
use chrono::TimeDelta;
use license_client::app::App;
use license_client::http::access::Access;
use license_client::http::{HttpState, documented_routes, router};
use license_service::clock::ManualClock;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::database::{Engine, TestDatabase};
use crate::harness::{START, settings};

async fn get(router: &Router, path: &str) -> (u16, String) {
    let caller: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let request = Request::get(path)
        .header("host", "localhost")
        .extension(ConnectInfo(caller))
        .body(Body::empty())
        .unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_is_shown_counted_and_restarted() {
    let database = TestDatabase::new(Engine::Sqlite).await;
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&database, directory.path(), "http://127.0.0.1:1/api", &[]);
    let clock = Arc::new(ManualClock::at(START.parse().unwrap()));
    let app = Arc::new(App::new(&settings, clock.clone()).unwrap());
    app.knowledge.load().await.unwrap();
    let networks = &settings.trusted_networks;
    let access = Access::new(networks, None, &[], &[], clock.clone()).unwrap();
    let shutdown = CancellationToken::new();
    let state = HttpState::new(app.clone(), Arc::new(access), settings, shutdown.clone());
    let jobs = state.jobs.clone();
    let router = router(state, documented_routes(Router::new()));

    license_client::jobs::start(&app, &jobs);
    let (status, text) = get(&router, "/readyz").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(r#""jobs":"ok""#), "{text}");
    let (_, text) = get(&router, "/metrics").await;
    let count = r#"foxsight_license_job_failures_total{task="call home"} 0"#;
    assert!(text.contains(count), "{text}");

    let starts = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = starts.clone();
    jobs.run("test", move || {
        let start = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async move {
            assert_ne!(start, 0, "the first one fails");
            std::future::pending().await
        }
    });
    for _ in 0..1000 {
        if starts.load(std::sync::atomic::Ordering::Relaxed) == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (status, text) = get(&router, "/readyz").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains(r#""jobs":"failing: test""#), "{text}");
    let (_, text) = get(&router, "/metrics").await;
    let count = r#"foxsight_license_job_failures_total{task="test"} 1"#;
    assert!(text.contains(count), "{text}");
    // It has run for a minute since.
    clock.advance(TimeDelta::seconds(61));
    let (status, text) = get(&router, "/readyz").await;
    assert_eq!(status, 200, "{text}");
    shutdown.cancel();
    jobs.ended().await;
    app.store.close().await;
    database.drop_database().await;
}
