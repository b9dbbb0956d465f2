//! The scheduler, with a clock that the test moves.

use chrono::{DateTime, TimeDelta};

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

on_both_engines! {
    calls_are_made_on_schedule_and_the_schedule_survives_a_restart;
}

/// A metric does not show fractions of a microsecond.
const MOMENT: TimeDelta = TimeDelta::milliseconds(1);

fn count(cloud: &ScriptedCloud, call: &str) -> usize {
    let arrived = cloud.arrived();
    arrived.iter().filter(|r| r.path.ends_with(call)).count()
}

/// Waits until the answer to a heartbeat of this instant has been noted: a
/// request that has only arrived may still be answered at a later time.
async fn noted_heartbeat(site: &Site) {
    let noted = "SELECT value FROM system_config WHERE key = 'license_client.heartbeat_at'";
    let now = Some(site.now().to_rfc3339());
    site.until("a heartbeat", async || {
        site.database.texts(noted).await == [now.clone()]
    })
    .await;
}

/// Waits until the process may make scheduled calls at this time: moving the clock makes its
/// scheduler lease too old, which it renews every three seconds.
async fn may_call(site: &Site) {
    site.until("it makes the scheduled calls", async || {
        site.metric("foxsight_license_scheduler").await == Some(1.0)
    })
    .await;
}

/// How long the scheduler waits until the next validation; `None` if it plans none.
async fn next_validation(site: &Site) -> Option<TimeDelta> {
    let name = "foxsight_license_next_validation_timestamp_seconds";
    let at = site.metric(name).await?;
    #[expect(clippy::cast_possible_truncation, reason = "a time of this century")]
    let at = DateTime::from_timestamp_micros((at * 1e6).round() as i64).unwrap();
    Some(at - site.now())
}

async fn calls_are_made_on_schedule_and_the_schedule_survives_a_restart(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    site.advance(TimeDelta::hours(100));
    may_call(&site).await;
    assert_eq!(next_validation(&site).await, None, "nothing to call about");
    assert!(cloud.arrived().is_empty(), "nothing to call about");

    site.activate(KEY).await;
    // Intervals are shortened by a tenth at most: no heartbeat before 3.6 h, and no validation before
    // 21.6 h. A heartbeat that was made too early would not be repeated at the time that is noted
    // below.
    let validations = TimeDelta::minutes(21 * 60 + 36)..=TimeDelta::hours(24);
    let validation = next_validation(&site).await.unwrap();
    assert!(validations.contains(&validation), "{validation}");
    site.advance(TimeDelta::minutes(3 * 60 + 30));
    may_call(&site).await;
    assert_eq!(count(&cloud, "heartbeat"), 0);
    site.restart().await;
    site.advance(TimeDelta::minutes(31));
    noted_heartbeat(&site).await;
    assert_eq!(count(&cloud, "heartbeat"), 1);
    assert_eq!(count(&cloud, "validate"), 0);

    site.advance(TimeDelta::hours(17));
    noted_heartbeat(&site).await;
    assert_eq!(count(&cloud, "heartbeat"), 2);
    site.restart().await;
    may_call(&site).await;
    let passed = TimeDelta::minutes(3 * 60 + 30 + 31 + 17 * 60);
    let validation = passed + next_validation(&site).await.unwrap();
    assert!(validations.contains(&validation), "{validation}");
    assert_eq!(count(&cloud, "validate"), 0);
    site.advance(TimeDelta::hours(3));
    site.until("the validation", async || count(&cloud, "validate") == 1)
        .await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_heartbeat_triggers_one_validation_and_one_that_works_in_grace_another() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    cloud.always(Some(Scripted::new(503, "")));
    let (_, answer) = site.post("/api/license/heartbeat", None).await;
    assert_eq!(answer["success"], false);
    site.until("a validation has failed", async || {
        site.standing().await == "grace"
    })
    .await;
    assert_eq!(count(&cloud, "validate"), 1);
    assert!(next_validation(&site).await > Some(TimeDelta::zero()));

    cloud.always(None);
    let (_, answer) = site.post("/api/license/heartbeat", None).await;
    assert_eq!(answer["success"], true);
    site.until("the grace is over", async || {
        site.standing().await == "active"
    })
    .await;
    assert_eq!(count(&cloud, "validate"), 2);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_validations_fail_they_are_tried_ever_more_rarely() {
    let cloud = ScriptedCloud::start().await;
    let flags = ["--heartbeat-interval-hours", "1000"];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    site.activate(KEY).await;
    cloud.always(Some(Scripted::new(503, "")));
    site.validate().await;
    // After failure n the wait is 2^(n-1) minutes, times 0.5 to 1.
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        let before = count(&cloud, "validate");
        let wait = next_validation(&site).await.unwrap();
        let bounds = TimeDelta::seconds(minutes * 30)..=TimeDelta::seconds(minutes * 60);
        assert!(bounds.contains(&wait), "{minutes} min: {wait}");
        site.advance(wait + MOMENT);
        let now = site.now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        site.until("the next try has failed", async || {
            site.status().await["lastFailure"]["at"] == now
        })
        .await;
        assert_eq!(count(&cloud, "validate"), before + 1, "{minutes} min");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_server_that_asks_to_wait_is_left_alone_for_an_hour_at_most() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    // A heartbeat with `Retry-After` triggers a validation, which waits as well; the next
    // heartbeat is due hours later.
    for (status, seconds, waits) in [(429, 600, 600), (503, 1800, 1800), (429, 86_400, 3240)] {
        cloud.always(Some(Scripted::new(status, "")));
        cloud.retry_after(Some(seconds));
        let before = count(&cloud, "validate");
        let (_, answer) = site.post("/api/license/heartbeat", None).await;
        assert_eq!(answer["success"], false, "{status}");
        // With jitter it is a tenth more at most, and never more than an hour.
        let wait = next_validation(&site).await.unwrap();
        let bounds = TimeDelta::seconds(waits)..=TimeDelta::seconds(waits + waits / 9 + 1);
        assert!(bounds.contains(&wait), "{status}: {wait}");
        cloud.always(None);
        cloud.retry_after(None);
        site.advance(wait + MOMENT);
        site.until("the validation", async || {
            count(&cloud, "validate") == before + 1
        })
        .await;
        let now = site.now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        site.until("it is confirmed", async || {
            site.status().await["lastValidated"] == now
        })
        .await;
    }

    // A failed validation tries again after a minute, unless it is asked to wait; a
    // person who asks for one does not wait.
    cloud.always(Some(Scripted::new(429, "")));
    cloud.retry_after(Some(600));
    assert_eq!(site.validate().await["valid"], true, "it is no denial");
    assert_eq!(site.standing().await, "grace");
    let wait = next_validation(&site).await.unwrap();
    assert!(wait >= TimeDelta::seconds(600), "{wait}");
    cloud.always(None);
    site.validate().await;
    assert_eq!(site.standing().await, "active");
    site.end().await;
}
