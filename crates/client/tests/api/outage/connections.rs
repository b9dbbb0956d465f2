//! Connections that break, hang, take no changes or are all in use.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use super::{
    GRACE, RESULTS, answers_from_memory, ready, rows, short, site_behind_gate, until_ready,
};
use crate::database::{Engine, TestDatabase};
use crate::database_gate::{Gate, Way};
use crate::harness::{KEY, Site};
use crate::pgbouncer::PgBouncer;
use crate::scripted_cloud::{Scripted, ScriptedCloud};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_restarted_is_used_again() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    for _ in 0..3 {
        gate.set(Way::Cut);
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.set(Way::Open);
        assert_eq!(site.validate().await["valid"], true);
        let (status, answer) = site.activate(KEY).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    until_ready(&site).await;
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_reported_and_caught_up_with() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    let name = direct.url.rsplit('/').next().unwrap().to_owned();
    let set =
        |value: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    direct.execute(&set("on")).await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    site.until("it is not ready", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("read-only"))
    })
    .await;
    cloud.always(Some(Scripted::new(503, "")));
    assert_eq!(site.validate().await["inGracePeriod"], true);
    let body = json!({"source": "s", "cameras": 7});
    assert_eq!(site.put("/api/license/usage", body).await.1["cameras"], 7);
    answers_from_memory(&site).await;
    let switch = site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    );
    assert_eq!(switch.await.0, StatusCode::SERVICE_UNAVAILABLE);

    let back = format!("BEGIN READ WRITE; {}; COMMIT", set("off"));
    direct.execute(&back).await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(rows(&direct, GRACE).await.len(), 1);
    let usage = "SELECT value FROM system_config WHERE key = 'license_client.usage'";
    assert!(rows(&direct, usage).await[0].contains("\"cameras\":7"));
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_that_take_all_connections_only_delay_what_is_written() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let name = direct.url.rsplit('/').next().unwrap().to_owned();
    let role = format!("user_{name}");
    direct
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}"
        ))
        .await;
    let mut limited = TestDatabase::same_as(&direct);
    limited.url = limited.url.replace("postgres@", &format!("{role}@"));
    let gate = Gate::before(&limited, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    site.activate(KEY).await;

    direct
        .execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 0"))
        .await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    assert_eq!(site.validate().await["valid"], true);
    answers_from_memory(&site).await;
    site.until("it says why", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("too many connections"))
    })
    .await;
    direct
        .execute(&format!("ALTER ROLE {role} CONNECTION LIMIT -1"))
        .await;
    until_ready(&site).await;
    assert_eq!(rows(&direct, RESULTS).await, ["success", "success"]);
    site.stop().await;
    direct
        .execute(&format!(
            "REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}"
        ))
        .await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_server_that_takes_no_changes_are_left() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    let name = direct.url.rsplit('/').next().unwrap().to_owned();
    let set = |value: &str| {
        format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {value}; COMMIT"
        )
    };
    direct.execute(&set("on")).await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    site.until("it is not ready", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("read-only"))
    })
    .await;
    // Sessions created in between are not ended.
    direct.execute(&set("off")).await;
    let (status, answer) = site.activate("another").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    until_ready(&site).await;
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_host_vanishes_is_used_again_when_there_is_another() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_with_timeouts(through, &cloud.url, short()).await;
    site.activate(KEY).await;
    gate.set(Way::Vanished);
    let start = Instant::now();
    let changes = (0..4).map(|_| {
        site.put(
            "/api/license/features/module.map_view",
            json!({"systemEnabled": false}),
        )
    });
    let (changes, ()) = tokio::join!(
        futures_util::future::join_all(changes),
        answers_from_memory(&site)
    );
    for (status, body) in changes {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    }
    assert!(!ready(&site).await);
    let away = start.elapsed();
    gate.set(Way::Open);
    until_ready(&site).await;
    let back = start.elapsed() - away;
    println!("away for {away:?}, back after {back:?}");
    let (status, body) = site
        .put(
            "/api/license/features/module.map_view",
            json!({"systemEnabled": true}),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_reported_and_one_in_session_mode_works() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let pooler = PgBouncer::before(&direct, "transaction").await;
    let mut through = TestDatabase::same_as(&direct);
    through.url.clone_from(&pooler.url);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    site.until("it says what to set", async || {
        let (status, readiness) = site.get("/readyz").await;
        let database = readiness["database"].as_str().unwrap();
        status == StatusCode::SERVICE_UNAVAILABLE
            && database.contains("set pool_mode = session")
            && database.lines().count() == 1
    })
    .await;
    site.stop().await;
    drop(pooler);

    let pooler = PgBouncer::before(&direct, "session").await;
    let mut through = TestDatabase::same_as(&direct);
    through.url.clone_from(&pooler.url);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    until_ready(&site).await;
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(rows(&direct, RESULTS).await, ["success", "success"]);
    site.stop().await;
    direct.drop_database().await;
}
