//! A site in unsigned mode whose wall clock jumps, or that was switched off for days.

use std::time::Duration;

use chrono::TimeDelta;

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};

const PAID: &str = "module.map_view";

async fn licensed(cloud: &ScriptedCloud) -> Site {
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    assert_eq!(site.standing().await, "active");
    site
}

fn validations(cloud: &ScriptedCloud) -> usize {
    let arrived = cloud.arrived();
    let paths = arrived.iter().map(|request| request.path.as_str());
    paths.filter(|path| path.ends_with("/validate")).count()
}

/// Answers the next calls after a while.
fn slow(status: u16, body: String) -> Scripted {
    Scripted {
        delay: Duration::from_millis(700),
        ..Scripted::new(status, body)
    }
}

fn slow_yes() -> Scripted {
    let license = usual_license(KEY);
    let body = serde_json::json!({"success": true, "data": {"isValid": true, "license": license}});
    slow(200, body.to_string())
}

/// Whether the wall clock does not count yet.
async fn is_held(site: &Site) -> bool {
    !site.status().await["clockAheadSeconds"].is_null()
}

/// Looks all the time until a validation has been answered; answers what was seen
/// before it was.
async fn seen_until_validated(site: &Site, cloud: &ScriptedCloud, before: usize) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..1000 {
        let standing = site.standing().await;
        let is_available = site.is_available(PAID).await;
        if validations(cloud) > before && !is_held(site).await {
            return seen;
        }
        seen.push(format!("{standing} {is_available}"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no validation was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_never_lapses_a_site_whose_server_answers() {
    let cloud = ScriptedCloud::start().await;
    let site = licensed(&cloud).await;
    for days in [5, 40] {
        let before = validations(&cloud);
        cloud.always(Some(slow_yes()));
        site.clock.set_wall(site.now() + TimeDelta::days(days));
        let seen = seen_until_validated(&site, &cloud, before).await;
        assert!(seen.len() > 10, "{seen:?}");
        assert!(seen.iter().all(|it| it == "active true"), "{seen:?}");
        site.until("the jump counts", async || !is_held(&site).await)
            .await;
        let status = site.status().await;
        assert_eq!(status["standing"], "active");
        let validated = status["lastValidated"].as_str().unwrap().to_owned() + "Z";
        let validated: chrono::DateTime<chrono::Utc> = validated.parse().unwrap();
        assert!(site.now() - validated < TimeDelta::hours(1), "{status}");
        assert!(site.is_available(PAID).await);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_lapses_a_site_whose_server_is_away_after_one_try() {
    let cloud = ScriptedCloud::start().await;
    let site = licensed(&cloud).await;
    let before = validations(&cloud);
    cloud.always(Some(slow(502, "Bad Gateway".to_owned())));
    site.clock.set_wall(site.now() + TimeDelta::days(5));
    assert_eq!(site.standing().await, "active");
    assert!(site.status().await["clockAheadSeconds"].as_i64().unwrap() > 4 * 86_400);
    site.until("the site lapses", async || {
        site.standing().await == "lapsed"
    })
    .await;
    assert!(validations(&cloud) > before);
    let status = site.status().await;
    assert_eq!(status["reason"], "grace_period_expired");
    assert_eq!(status["clockAheadSeconds"], serde_json::Value::Null);
    assert!(site.is_available("module.recording_basic").await);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_that_was_off_for_days_is_validated_before_it_lapses() {
    let cloud = ScriptedCloud::start().await;
    let mut site = licensed(&cloud).await;
    let before = validations(&cloud);
    cloud.always(Some(slow_yes()));
    site.stop().await;
    site.advance(TimeDelta::days(10));
    site.restart().await;
    let seen = seen_until_validated(&site, &cloud, before).await;
    assert!(
        seen.len() > 10 && seen.iter().all(|it| it == "active true"),
        "{seen:?}"
    );
    site.until("the time counts", async || !is_held(&site).await)
        .await;
    assert_eq!(site.standing().await, "active");
    // With the server away it lapses, and stays so through the next restart.
    cloud.always(Some(slow(502, "Bad Gateway".to_owned())));
    site.stop().await;
    site.advance(TimeDelta::days(10));
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    site.until("the site lapses", async || {
        site.standing().await == "lapsed"
    })
    .await;
    site.restart().await;
    assert_eq!(site.standing().await, "lapsed");
    site.end().await;
}
