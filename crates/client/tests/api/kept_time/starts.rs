//! What a license grants later does not start early because of a clock or of stored time.

use chrono::{SubsecRound as _, TimeDelta};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use serde_json::json;

use super::{Kept, PAID, at};
use crate::database::{Engine, on_both_engines};
use crate::harness::{START, Site};
use crate::vendor::Vendor;

on_both_engines! {
    a_license_does_not_start_early_when_the_time_is_lost_and_the_clock_is_ahead;
}

async fn reason(site: &Site) -> String {
    let body = json!({ "featureKey": PAID });
    let (_, answer) = site.post("/api/license/feature/check", Some(body)).await;
    let reason = answer["reason"].as_str().unwrap();
    let (_, list) = site.get("/api/license/features").await;
    let features = list["features"].as_array().unwrap();
    let listed = features.iter().find(|it| it["featureKey"] == PAID).unwrap();
    assert_eq!(listed["reason"], reason, "{listed}");
    reason.to_owned()
}

async fn a_license_does_not_start_early_when_the_time_is_lost_and_the_clock_is_ahead(
    engine: Engine,
) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let start = at(START).trunc_subsecs(0) + TimeDelta::hours(30);
    let request = IssueRequest {
        starts_at: Some(start),
        ..IssueRequest::of(Tier::Professional)
    };
    site.activate(&vendor.issue(request).await).await;
    assert_eq!(reason(&site).await, "starts_later");
    vendor.go_away().await;
    site.stop().await;
    Kept::nothing().write(&site).await;
    site.clock.set_wall(start + TimeDelta::hours(6));
    site.restart().await;
    site.until("the wall clock counts", async || {
        site.standing().await == "grace"
    })
    .await;
    assert_eq!(reason(&site).await, "starts_later");
    assert!(site.status().await["startsAt"].is_string());
    // It starts when the site has been running until then, at most a day early.
    site.advance(TimeDelta::hours(5));
    assert_eq!(reason(&site).await, "starts_later");
    site.advance(TimeDelta::hours(2));
    assert_eq!(reason(&site).await, "grace_period");
    // Nothing that is stored says more at the next start.
    site.restart().await;
    assert_eq!(reason(&site).await, "grace_period");
    site.end().await;
}
