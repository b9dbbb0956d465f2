//! Connections and bodies within bounds, and what every response is sent with.

mod bounds;
mod half_closed;
mod headers;
mod local_users;

use std::time::Duration;

use license_service::listener::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::database::Engine;
use crate::harness::Site;
use crate::raw_http::{
    connect, every_stall_ends, limits_that_refuse_bodies, malformed_requests_are_refused,
    no_body_is_answered_as_a_request, read_head, requests_behind_a_long_one_are_answered,
    short_body_limits, short_limits,
};
use crate::scripted_cloud::ScriptedCloud;

/// Accepts the largest body of all open routes.
const CHECK: &str = "/api/license/features/check";

/// A request of a caller that is not trusted, without its body.
fn from_outside(path: &str, headers: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 192.0.2.1\r\n{headers}\r\n"
    )
}

async fn metric(site: &Site, name: &str) -> u64 {
    let (_, text) = site.get("/metrics").await;
    let text = text.as_str().unwrap().to_owned();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap();
    value.parse::<f64>().unwrap() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stall_is_ended_and_event_streams_are_not() {
    let cloud = ScriptedCloud::start().await;
    let (limits, bodies) = (short_limits(), short_body_limits());
    let site = Site::start_within(Engine::Sqlite, &cloud.url, &[], limits, bodies).await;
    let mut events = connect(&site.url).await;
    let subscribe = b"GET /api/license/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    events.write_all(subscribe).await.unwrap();
    assert!(read_head(&mut events).await.contains("text/event-stream"));

    every_stall_ends(&site.url, CHECK).await;

    // All waits are long over.
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_millis(50), events.read_to_end(&mut rest)).await;
    assert!(ended.is_err(), "the event stream has ended");
    assert!(
        metric(
            &site,
            "foxsight_license_connections_refused_total{reason=\"timeout\"}"
        )
        .await
            > 8
    );
    drop(events);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_ambiguous_requests_are_refused() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    malformed_requests_are_refused(&site.url, CHECK).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_inside_a_body_is_not_answered() {
    let cloud = ScriptedCloud::start().await;
    let (limits, bodies) = (short_limits(), limits_that_refuse_bodies());
    let site = Site::start_within(Engine::Sqlite, &cloud.url, &[], limits, bodies).await;
    let unread = [
        ("POST", "/nothing", "404"),
        ("GET", "/nothing", "404"),
        ("DELETE", "/livez", "405"),
        ("GET", "/livez", "200"),
        ("POST", "/api/license/activate", "401"),
    ];
    no_body_is_answered_as_a_request(&site.url, CHECK, &unread).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_behind_a_long_request_are_answered() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    requests_behind_a_long_one_are_answered(&site.url, CHECK).await;
    site.end().await;
}

#[test]
fn an_idle_connection_is_kept_longer_than_gateways_keep_theirs() {
    let hour = Duration::from_secs(60 * 60);
    assert!(Limits::default().idle_timeout >= hour + Duration::from_secs(30));
}
