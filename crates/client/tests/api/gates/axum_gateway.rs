//! A gateway on axum with `license-gate`, before a real License Client.

use std::time::Duration;

use chrono::TimeDelta;
use license_gate::{ContactError, Gate, Limit, Resource};
use serde_json::json;

use super::{Licensed, get};
use crate::harness::INSTALLATION_ID;
use crate::nginx::Nginx;

#[path = "../../../../gate/examples/axum_gateway.rs"]
#[expect(dead_code, reason = "the example's own main")]
mod example;

async fn serve(gate: &Gate) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = example::router(gate);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn until(gate: &Gate, feature: &str, reason: &str) {
    for _ in 0..1000 {
        if gate.check(feature).reason.code() == reason {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}, not {reason}: {gate:?}", gate.check(feature));
}

const MAP_VIEW: &str = "module.map_view";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_gateway_decides_in_the_process() {
    let mut licensed = Licensed::by_feature().await;
    let gate = Gate::builder(&licensed.site.url).start().unwrap();
    assert!(gate.ready(Duration::from_secs(10)).await);
    let gateway = serve(&gate).await;
    licensed.is_gated_by(&gateway).await;
    assert_eq!(gate.limit(Resource::Cameras), Limit::AtMost(64));

    let path = "/api/license/features/module.map_view";
    licensed
        .site
        .put(path, json!({"systemEnabled": false}))
        .await;
    until(&gate, MAP_VIEW, "switched_off").await;
    licensed
        .site
        .put(path, json!({"systemEnabled": true}))
        .await;
    until(&gate, MAP_VIEW, "licensed").await;

    // A restart is not noticed by anybody who asks.
    licensed.site.stop().await;
    licensed.is_gated_by(&gateway).await;
    licensed.site.restart().await;
    licensed.is_gated_by(&gateway).await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_comes_on_time_also_without_the_license_client() {
    let mut licensed = Licensed::by_feature().await;
    let gate = Gate::builder(&licensed.site.url).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    licensed.vendor.go_away().await;
    // Three seconds before the end of grace, on a clock that stands still.
    licensed
        .site
        .advance(TimeDelta::hours(96) - TimeDelta::seconds(3));
    until(&gate, MAP_VIEW, "grace_period").await;
    licensed.site.stop().await;
    let gateway = serve(&gate).await;
    assert_eq!(get(&gateway, "/map/1", &[]).await.status(), 200);
    until(&gate, MAP_VIEW, "grace_period_expired").await;
    let refused = get(&gateway, "/map/1", &[]).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(get(&gateway, "/live/1", &[]).await.status(), 200);
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_with_keys_verifies_what_a_real_vendor_has_signed() {
    let licensed = Licensed::today().await;
    let keys = std::fs::read_to_string(licensed.vendor.trusted_keys()).unwrap();
    let of = |installation| {
        let gate = Gate::builder(&licensed.site.url).keys(&keys);
        gate.installation(installation).start().unwrap()
    };
    let here = of(INSTALLATION_ID);
    until(&here, MAP_VIEW, "licensed").await;
    until(&here, "module.alarm_advanced", "not_in_license").await;
    until(&of("another"), MAP_VIEW, "not_signed").await;
    licensed.end().await;
}

/// A License Client behind https, with a certificate that the site has made itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_trusts_the_certificate_that_it_is_given_and_no_other() {
    let licensed = Licensed::by_feature().await;
    let (nginx, other) = tokio::join!(
        Nginx::with_tls(&licensed.site.url),
        Nginx::with_tls(&licensed.site.url),
    );
    let certificate = |nginx: &Nginx| std::fs::read_to_string(nginx.certificate()).unwrap();
    let gate = Gate::builder(&nginx.url).root_certificate(&certificate(&nginx));
    let gate = gate.start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;

    let stranger = Gate::builder(&nginx.url).root_certificate(&certificate(&other));
    let stranger = stranger.start().unwrap();
    assert!(!stranger.ready(Duration::from_secs(1)).await);
    let error = stranger.last_error().unwrap();
    assert!(matches!(error, ContactError::Connection(_)), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    licensed.end().await;
}
