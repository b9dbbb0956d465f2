//! Several processes on one PostgreSQL database.

use std::time::Duration;

use license_server::licensing::look_up::look_up;
use license_server::store::seats::{self, SeatsQuery};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase};
use crate::harness::{KEY, Site};
use crate::program::Program;
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::Vendor;

/// Two sites on one database, each of which receives the other's notifications.
async fn two_sites(cloud_url: &str, flags: &[&str]) -> (Site, Site) {
    let first = Site::start(Engine::Postgres, cloud_url, flags).await;
    let same = TestDatabase::same_as(&first.database);
    let second = Site::start_on(same, cloud_url, flags).await;
    first.until_listening(2).await;
    (first, second)
}

async fn end(first: Site, mut second: Site) {
    second.stop().await;
    first.end().await;
}

/// How long until it holds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) -> Duration {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "never came about: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_shows_a_change_within_two_seconds() {
    let cloud = ScriptedCloud::start().await;
    let (first, second) = two_sites(&cloud.url, &[]).await;
    let mut longest = Duration::ZERO;
    for number in 0..10 {
        let key = format!("key-{number}");
        let (to, from) = if number % 2 == 0 {
            (&first, &second)
        } else {
            (&second, &first)
        };
        assert_eq!(to.activate(&key).await.0, StatusCode::OK);
        let took = until("the other replica knows the license", async || {
            from.status().await["licenseKey"] == key.as_str()
        });
        longest = longest.max(took.await);
    }
    let body = json!({"systemEnabled": false});
    first
        .put("/api/license/features/module.map_view", body)
        .await;
    let took = until("the switch is known", async || {
        !second.is_available("module.map_view").await
    });
    longest = longest.max(took.await);
    println!("a change is everywhere after {longest:?} at most");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    end(first, second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_a_notification_is_seen_within_fifteen_seconds() {
    let cloud = ScriptedCloud::start().await;
    let (first, second) = two_sites(&cloud.url, &[]).await;
    first.activate(KEY).await;
    // As when a pooler loses notifications: the revision changes, in silence.
    first
        .database
        .execute(
            "UPDATE local_feature_flags SET system_enabled = false; \
             UPDATE system_config SET value = 'other' WHERE key = 'license_client.revision'",
        )
        .await;
    for site in [&first, &second] {
        let took = until("the switch is known", async || {
            !site.is_available("module.map_view").await
        });
        let took = took.await;
        println!("an unannounced change is seen after {took:?}");
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    end(first, second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_activations_take_one_seat() {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", &keys, "--license-hardware-id", ""];
    let (first, second) = two_sites(&vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    // Not more than one seat may ask for in a row.
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let site = if number % 2 == 0 { &first } else { &second };
            let url = format!("{}/api/license/activate", site.url);
            let request = site.http.post(url).json(&json!({"licenseKey": key}));
            tokio::spawn(async move { request.send().await.unwrap().status() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::OK);
    }
    let valid = "SELECT license_key FROM local_license_cache";
    assert_eq!(first.database.texts(valid).await, [Some(key.clone())]);
    let store = &vendor.app.store;
    let license = look_up(store, &key).await.unwrap();
    let seats = seats::count(store.reader(), &license.id, &SeatsQuery::held()).await;
    assert_eq!(seats.unwrap(), 1, "one machine, one seat");
    for site in [&first, &second] {
        site.until("it is active", async || site.standing().await == "active")
            .await;
        assert_eq!(site.validate().await["valid"], true);
    }
    end(first, second).await;
}

fn reading(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line?.trim().parse().ok()
}

async fn schedules(program: &Program) -> bool {
    let metrics = program.text("/metrics").await;
    reading(&metrics, "foxsight_license_scheduler ") == Some(1.0)
}

fn heartbeats(cloud: &ScriptedCloud) -> usize {
    let arrived = cloud.arrived();
    arrived
        .iter()
        .filter(|it| it.path.ends_with("heartbeat"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_calls_home_and_another_takes_over_within_twenty_seconds_of_a_kill() {
    let cloud = ScriptedCloud::start().await;
    let database = TestDatabase::new(Engine::Postgres).await;
    // A heartbeat every second.
    let flags = [
        "--database-url",
        &database.url,
        "--license-api-url",
        &cloud.url,
        "--heartbeat-interval-hours",
        "0.0003",
    ];
    let mut first = Program::start(&flags).await;
    let body = json!({"licenseKey": KEY});
    first
        .send(Method::POST, "/api/license/activate", &body)
        .await;
    until("the first makes the calls", async || {
        schedules(&first).await
    })
    .await;
    let mut second = Program::start(&flags).await;

    let before = heartbeats(&cloud);
    let took = until("five more heartbeats", async || {
        heartbeats(&cloud) >= before + 5
    })
    .await;
    let calls = heartbeats(&cloud) - before;
    let most = (took.as_secs_f64() / 0.9).ceil() as usize + 1;
    assert!(
        calls <= most,
        "{calls} heartbeats in {took:?} by two processes"
    );
    assert!(schedules(&first).await && !schedules(&second).await);

    first.kill();
    let took = until("the second makes the calls", async || {
        schedules(&second).await
    })
    .await;
    println!("taken over {took:?} after the kill");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let before = heartbeats(&cloud);
    until("a heartbeat", async || heartbeats(&cloud) > before).await;

    // One that was held up finds that the lease is no longer its own.
    let lease = "SELECT value FROM system_config WHERE key = 'license_client.scheduler'";
    let lease = database.texts(lease).await.remove(0).unwrap();
    let lease: Value = serde_json::from_str(&lease).unwrap();
    assert_eq!(lease["fence"], 2);
    let stolen = json!({"holder": "somebody", "fence": 3, "renewals": 0, "renewedAt": "2026-01-01T00:00:00Z"});
    let sql = format!(
        "UPDATE system_config SET value = '{stolen}' WHERE key = 'license_client.scheduler'"
    );
    database.execute(&sql).await;
    until("it does not make the calls any more", async || {
        !schedules(&second).await
    })
    .await;
    second.kill();
    database.drop_database().await;
}
