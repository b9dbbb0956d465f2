//! A row that stops the schedule.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::standard;
use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    a_stopped_schedule_is_noticed_and_validations_are_made;
    a_holder_of_the_schedule_that_never_calls_is_noticed;
}

async fn validations(site: &Site) -> usize {
    let log = "SELECT license_key FROM local_license_validation_attempts";
    site.database.texts(log).await.len()
}

async fn next_validation(site: &Site) -> i64 {
    let name = "foxsight_license_next_validation_timestamp_seconds";
    site.metric(name).await.unwrap() as i64
}

/// Runs it until its next validation is overdue, while `held_up` is done again and again.
async fn run_overdue(site: &Site, vendor: &Vendor, held_up: &str) {
    let before = validations(site).await;
    let advance = |by| {
        vendor.advance(by);
        site.advance(by);
    };
    let next = next_validation(site).await - site.now().timestamp();
    advance(TimeDelta::seconds(next) + TimeDelta::minutes(14));
    // A process that does not make the scheduled calls checks every second whether a validation is
    // overdue: this time has to pass, because nothing happens.
    for _ in 0..3 {
        site.database.execute(held_up).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(validations(site).await, before, "not before it is overdue");
    assert_eq!(site.get("/readyz").await.1["schedule"], "ok");
    assert_eq!(security_events(site).await, 0);
    advance(TimeDelta::minutes(7));
    site.until("a validation that no other process makes", async || {
        site.database.execute(held_up).await;
        validations(site).await > before
    })
    .await;
    site.until("it is said", async || {
        site.get("/readyz").await.1["schedule"] != "ok"
    })
    .await;
    let (status, readiness) = site.get("/readyz").await;
    assert_eq!((status.as_u16(), &readiness["ready"]), (200, &json!(true)));
    let said = readiness["schedule"].as_str().unwrap();
    assert!(said.starts_with("stopped: no process is making"), "{said}");
    assert_eq!(security_events(site).await, 1);
    let (_, metrics) = site.get("/metrics").await;
    let metric = "foxsight_license_schedule_stopped 1";
    assert!(metrics.as_str().unwrap().contains(metric), "{metrics}");
    let (_, found) = site.post("/api/license/diagnostics", None).await;
    let findings = found["findings"].as_array().unwrap();
    let finding = findings.iter().find(|it| it["what"] == "scheduled calls");
    assert_eq!(finding.unwrap()["health"], "error", "{found}");
    assert_eq!(site.standing().await, "active");
}

async fn a_stopped_schedule_is_noticed_and_validations_are_made(engine: Engine) {
    let (mut site, vendor, _key) = standard(engine).await;
    let trigger = match engine {
        Engine::Sqlite => {
            "CREATE TRIGGER s1 BEFORE INSERT ON system_config \
             WHEN NEW.key = 'license_client.scheduler' BEGIN SELECT RAISE(IGNORE); END; \
             CREATE TRIGGER s2 BEFORE UPDATE ON system_config \
             WHEN NEW.key = 'license_client.scheduler' BEGIN SELECT RAISE(IGNORE); END"
        }
        Engine::Postgres => {
            "CREATE FUNCTION s() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
             IF NEW.key = 'license_client.scheduler' THEN RETURN NULL; END IF; RETURN NEW; END$$; \
             CREATE TRIGGER s BEFORE INSERT OR UPDATE ON system_config \
             FOR EACH ROW EXECUTE FUNCTION s()"
        }
    };
    site.database.execute(trigger).await;
    site.restart().await;
    run_overdue(&site, &vendor, "SELECT 1").await;
    // It is over when the lease can be kept again.
    let drop_it = match engine {
        Engine::Sqlite => "DROP TRIGGER s1; DROP TRIGGER s2",
        Engine::Postgres => "DROP TRIGGER s ON system_config",
    };
    site.database.execute(drop_it).await;
    site.until("it keeps the schedule", async || {
        site.get("/readyz").await.1["schedule"] == "ok"
    })
    .await;
    site.end().await;
}

async fn a_holder_of_the_schedule_that_never_calls_is_noticed(engine: Engine) {
    let (mut site, vendor, _key) = standard(engine).await;
    let random = match engine {
        Engine::Sqlite => "abs(random())",
        Engine::Postgres => "(random() * 1000000000)::bigint",
    };
    let held = format!(
        "UPDATE system_config SET value = '{{\"holder\": \"somebody\", \"fence\": 9, \
         \"renewedAt\": \"2026-01-01T00:00:00Z\", \"renewals\": ' || {random} || '}}' \
         WHERE key = 'license_client.scheduler'"
    );
    let row = "INSERT INTO system_config (key, value) VALUES ('license_client.scheduler', 'x') \
               ON CONFLICT (key) DO NOTHING";
    site.database.execute(&format!("{row}; {held}")).await;
    site.restart().await;
    run_overdue(&site, &vendor, &held).await;
    site.end().await;
}
