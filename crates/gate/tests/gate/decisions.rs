//! Decisions from announcements.

use std::time::Duration;

use chrono::TimeDelta;
use license_core::evidence::Evidence;
use license_gate::{Gate, Limit, Resource};

use crate::scripted_client::{
    ALARM, LIVE_VIEW, MAP_VIEW, ScriptedClient, announcement, said, until,
};
use crate::signer::{Signer, T0, at, license_claims};

#[tokio::test]
async fn a_gate_decides_like_the_license_client() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let client = ScriptedClient::start(said(&announcement(&evidence, T0), T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    assert!(gate.ready(Duration::from_secs(5)).await);
    assert!(gate.is_in_contact());
    for (feature, available, reason) in [
        (MAP_VIEW, true, "licensed"),
        (LIVE_VIEW, true, "core"),
        (ALARM, false, "not_in_license"),
        ("module.nope", false, "not_in_license"),
        ("", false, "not_in_license"),
    ] {
        let decision = gate.check(feature);
        assert_eq!(decision.available, available, "{feature}");
        assert_eq!(decision.reason.code(), reason, "{feature}");
    }
    assert_eq!(gate.limit(Resource::Cameras), Limit::AtMost(64));
    assert_eq!(gate.limit(Resource::StorageGb), Limit::Unlimited);
    assert_eq!(gate.tier().as_deref(), Some("professional"));
}

#[tokio::test]
async fn a_change_is_followed() {
    let nothing = Evidence::default();
    let client = ScriptedClient::start(said(&announcement(&nothing, T0), T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    until(&gate, MAP_VIEW, "no_license").await;
    let evidence = Signer::vendor().evidence(&license_claims());
    client.now(said(&announcement(&evidence, T0), T0, None));
    until(&gate, MAP_VIEW, "licensed").await;
    client.now(said(&announcement(&nothing, T0), T0, None));
    until(&gate, MAP_VIEW, "no_license").await;
    // All of it used one connection.
    assert_eq!(client.asked().len(), 1);
}

#[tokio::test]
async fn an_end_needs_no_message() {
    let evidence = Signer::vendor().evidence(&license_claims());
    // Half a second before the end of the lease, followed by grace.
    let now = at(24) - TimeDelta::milliseconds(500);
    let client = ScriptedClient::start(said(&announcement(&evidence, now), now, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    until(&gate, MAP_VIEW, "grace_period").await;

    let now = at(96) - TimeDelta::milliseconds(500);
    client.now(said(&announcement(&evidence, now), now, None));
    until(&gate, MAP_VIEW, "grace_period").await;
    until(&gate, MAP_VIEW, "grace_period_expired").await;
    assert!(gate.check(LIVE_VIEW).available);
    assert_eq!(client.asked().len(), 1);
}

#[tokio::test]
async fn an_unknown_reason_is_accepted() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let mut told = announcement(&evidence, T0);
    "the_moon_is_full".clone_into(&mut told.features.get_mut(ALARM).unwrap().reason);
    let client = ScriptedClient::start(said(&told, T0, None));
    let gate = Gate::builder(&client.url).start().unwrap();
    until(&gate, ALARM, "other").await;
    assert!(!gate.check(ALARM).available);
}
