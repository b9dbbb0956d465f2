//! Contact is lost and restored.

use std::time::Duration;

use axum::http::StatusCode;
use license_gate::{Gate, GateBuilder, WithoutContact};

use crate::scripted_client::{
    ALARM, LIVE_VIEW, MAP_VIEW, Manner, ScriptedClient, announcement, said, text, until,
};
use crate::signer::{Signer, T0, at, license_claims};

/// The announcement of a licensed site.
fn licensed() -> String {
    let evidence = Signer::vendor().evidence(&license_claims());
    text(&announcement(&evidence, T0), T0, None)
}

fn with(client: &ScriptedClient, policy: WithoutContact) -> GateBuilder {
    Gate::builder(&client.url)
        .without_contact(policy)
        .contact_timeout(Duration::from_millis(200))
}

/// A gate that denies features without contact, after a longer timeout than the gates of [`with`]:
/// when it denies them, the others' timeout has passed as well.
fn past_timeout(client: &ScriptedClient) -> GateBuilder {
    with(client, WithoutContact::Deny).contact_timeout(Duration::from_millis(600))
}

/// Waits until the gate has lost contact.
async fn lost(gate: &Gate) {
    for _ in 0..500 {
        if !gate.is_in_contact() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("contact is not lost");
}

#[tokio::test]
async fn before_the_first_contact_the_policy_decides() {
    let client = ScriptedClient::start(Manner::Hangs);
    for (policy, map_view) in [
        (WithoutContact::KeepUntilEnd, false),
        (WithoutContact::Deny, false),
        (WithoutContact::Allow, true),
    ] {
        let gate = with(&client, policy).start().unwrap();
        assert!(!gate.ready(Duration::from_millis(50)).await);
        assert_eq!(gate.check(MAP_VIEW).available, map_view, "{policy:?}");
        assert_eq!(gate.check(MAP_VIEW).reason.code(), "no_contact");
        assert!(gate.check(LIVE_VIEW).available, "{policy:?}");
    }
}

/// A program that took the License Client's port for a moment could keep its connections.
#[tokio::test]
async fn a_connection_is_renewed_without_losing_contact() {
    let client = ScriptedClient::start(Manner::Says(licensed()));
    let gate = with(&client, WithoutContact::Deny).idle_timeout(Duration::from_millis(300));
    let gate = gate.start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    for _ in 0..100 {
        assert!(gate.is_in_contact());
        assert_eq!(gate.check(MAP_VIEW).reason.code(), "licensed");
        if client.asked().len() == 3 {
            return;
        }
        // It is never idle.
        client.now(Manner::Says(licensed()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the connection is not renewed");
}

#[tokio::test]
async fn features_stay_available_without_contact_until_the_announced_end() {
    let mut client = ScriptedClient::start(Manner::Says(licensed()));
    let gate = with(&client, WithoutContact::KeepUntilEnd).start().unwrap();
    let other = past_timeout(&client).start().unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    until(&other, MAP_VIEW, "licensed").await;
    client.stop();
    lost(&gate).await;
    until(&other, MAP_VIEW, "no_contact").await;
    assert_eq!(gate.check(MAP_VIEW).reason.code(), "licensed");
    client.start_again();
    until(&gate, MAP_VIEW, "licensed").await;
    for _ in 0..700 {
        if gate.is_in_contact() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("contact is not found again");
}

#[tokio::test]
async fn ends_apply_without_contact() {
    let evidence = Signer::vendor().evidence(&license_claims());
    let now = at(96) - chrono::TimeDelta::milliseconds(800);
    let mut client = ScriptedClient::start(said(&announcement(&evidence, now), now, None));
    let keeps = with(&client, WithoutContact::KeepUntilEnd).start().unwrap();
    let allows = with(&client, WithoutContact::Allow).start().unwrap();
    for gate in [&keeps, &allows] {
        until(gate, MAP_VIEW, "grace_period").await;
    }
    client.stop();
    lost(&allows).await;
    until(&keeps, MAP_VIEW, "grace_period_expired").await;
    // The other gate keeps the state from when its contact timeout passed, long before this end.
    assert_eq!(allows.check(MAP_VIEW).reason.code(), "grace_period");
    assert!(!allows.check(ALARM).available);
}

#[tokio::test]
async fn a_gate_that_denies_without_contact_waits_and_keeps_core_features() {
    let mut client = ScriptedClient::start(Manner::Says(licensed()));
    let gate = with(&client, WithoutContact::Deny)
        .contact_timeout(Duration::from_millis(1500))
        .start()
        .unwrap();
    until(&gate, MAP_VIEW, "licensed").await;
    client.stop();
    lost(&gate).await;
    assert_eq!(gate.check(MAP_VIEW).reason.code(), "licensed");
    until(&gate, MAP_VIEW, "no_contact").await;
    assert!(!gate.check(MAP_VIEW).available);
    assert_eq!(gate.check(ALARM).reason.code(), "not_in_license");
    assert_eq!(gate.check(LIVE_VIEW).reason.code(), "core");
    client.start_again();
    until(&gate, MAP_VIEW, "licensed").await;
}

#[tokio::test]
async fn a_connection_without_data_times_out() {
    for manner in [Manner::Hangs, Manner::FallsSilentAfter(licensed())] {
        let client = ScriptedClient::start(manner.clone());
        let gate = with(&client, WithoutContact::KeepUntilEnd)
            .idle_timeout(Duration::from_millis(300))
            .start()
            .unwrap();
        for _ in 0..500 {
            if client.asked().len() > 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(client.asked().len() > 1, "{manner:?}: it was not given up");
        client.now(Manner::Says(licensed()));
        until(&gate, MAP_VIEW, "licensed").await;
    }
}

#[tokio::test]
async fn an_event_without_an_end_is_rejected() {
    let endless = "x".repeat(40 * 1024 * 1024);
    let client = ScriptedClient::start(Manner::Says(endless));
    let gate = with(&client, WithoutContact::KeepUntilEnd).start().unwrap();
    for _ in 0..500 {
        if client.asked().len() > 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(client.asked().len() > 2, "it was not given up");
    client.now(Manner::Says(licensed()));
    until(&gate, MAP_VIEW, "licensed").await;
}

#[tokio::test]
async fn retries_back_off_if_the_responder_is_not_a_license_client() {
    for manner in [
        Manner::Refuses(StatusCode::NOT_FOUND),
        Manner::Refuses(StatusCode::UNAUTHORIZED),
        Manner::Refuses(StatusCode::SERVICE_UNAVAILABLE),
        Manner::Refuses(StatusCode::FOUND),
        Manner::EndsAfter("{}".to_owned()),
        Manner::EndsAfter("<html>".to_owned()),
        Manner::EndsAfter(r#"{"now": 1}"#.to_owned()),
    ] {
        let client = ScriptedClient::start(manner.clone());
        let gate = Gate::builder(&client.url).start().unwrap();
        // How often it asks in this time is what is tested: after 0, 100, 300 and 700 ms.
        tokio::time::sleep(Duration::from_millis(900)).await;
        let asked = client.asked().len();
        assert!((2..=4).contains(&asked), "{manner:?}: asked {asked} times");
        assert_eq!(gate.check(MAP_VIEW).reason.code(), "no_contact");
        assert!(gate.check(LIVE_VIEW).available);
    }
}

#[tokio::test]
async fn the_follower_ends_with_the_last_gate() {
    let client = ScriptedClient::start(Manner::Says(licensed()));
    let gate = Gate::builder(&client.url).start().unwrap();
    let twin = gate.clone();
    until(&gate, MAP_VIEW, "licensed").await;
    drop(gate);
    until(&twin, MAP_VIEW, "licensed").await;
    assert_eq!(client.subscribers(), 1);
    drop(twin);
    for _ in 0..500 {
        if client.subscribers() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the connection is still there");
}
