//! The scheduler, with a clock that the test moves.

use chrono::TimeDelta;

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

on_both_engines! {
    calls_are_made_on_schedule_and_the_schedule_survives_a_restart;
}

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

/// Lets the background catch up with the clock.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
}

async fn calls_are_made_on_schedule_and_the_schedule_survives_a_restart(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    site.advance(TimeDelta::hours(100));
    settle().await;
    assert!(cloud.arrived().is_empty(), "nothing to call about");

    site.activate(KEY).await;
    // Intervals are shortened by a tenth at most: nothing before 3.6 h.
    site.advance(TimeDelta::minutes(3 * 60 + 30));
    settle().await;
    assert_eq!(count(&cloud, "heartbeat"), 0);
    site.restart().await;
    site.advance(TimeDelta::minutes(31));
    noted_heartbeat(&site).await;
    assert_eq!(count(&cloud, "heartbeat"), 1);
    assert_eq!(count(&cloud, "validate"), 0);

    // And nothing before 21.6 h; by 24 h it is due.
    site.advance(TimeDelta::hours(17));
    noted_heartbeat(&site).await;
    assert_eq!(count(&cloud, "heartbeat"), 2);
    site.restart().await;
    settle().await;
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
    site.until("a validation", async || count(&cloud, "validate") == 1)
        .await;
    settle().await;
    assert_eq!(count(&cloud, "validate"), 1);
    assert_eq!(site.standing().await, "grace");

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
        site.advance(TimeDelta::seconds(minutes * 30 - 1));
        settle().await;
        assert_eq!(count(&cloud, "validate"), before, "too early: {minutes}");
        site.advance(TimeDelta::seconds(minutes * 30 + 2));
        let now = site.now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        site.until("the next try has failed", async || {
            site.status().await["lastFailure"]["at"] == now
        })
        .await;
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
        site.advance(TimeDelta::seconds(waits - 1));
        settle().await;
        assert_eq!(count(&cloud, "validate"), before, "too early: {status}");
        cloud.always(None);
        cloud.retry_after(None);
        // With jitter it is a tenth more at most, and never more than an hour.
        site.advance(TimeDelta::seconds(waits / 9 + 2));
        site.until("the validation", async || {
            count(&cloud, "validate") == before + 1
        })
        .await;
        let now = site.now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        site.until("it is confirmed", async || {
            site.status().await["lastValidated"] == now
        })
        .await;
        settle().await;
    }

    // A failed validation tries again after a minute, unless it is asked to wait; a
    // person who asks for one does not wait.
    cloud.always(Some(Scripted::new(429, "")));
    cloud.retry_after(Some(600));
    assert_eq!(site.validate().await["valid"], true, "it is no denial");
    assert_eq!(site.standing().await, "grace");
    let before = count(&cloud, "validate");
    site.advance(TimeDelta::seconds(599));
    settle().await;
    assert_eq!(count(&cloud, "validate"), before);
    cloud.always(None);
    site.validate().await;
    assert_eq!(site.standing().await, "active");
    site.end().await;
}
