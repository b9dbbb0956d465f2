//! Sites that have lost their key, or went back to a License Client that has none.

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_core::thumbprint::Thumbprint;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Site, bound, code, entries};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    an_activation_without_the_key_removes_it_and_spends_a_move;
    without_moves_a_key_is_replaced_by_staff_alone;
    whoever_knows_only_the_ids_can_remove_a_key_but_not_free_its_seat;
    a_site_whose_machine_died_moves_by_itself;
}

async fn unbound(vendor: &Vendor) -> Vec<Value> {
    entries(vendor, "installation_key_unbound").await
}

async fn an_activation_without_the_key_removes_it_and_spends_a_move(engine: Engine) {
    let (vendor, site) = bound(engine).await;
    // Version 1.0.0 on the same machine, and later a reinstalled License Client with another key.
    let answered = site.unproven("activate").send(&vendor).await;
    let license = &answered.2["data"]["license"];
    assert_eq!(license["movesLeft"], 2, "{answered:?}");
    assert_eq!(site.bound(&vendor).await, None::<Thumbprint>);
    let noted = unbound(&vendor).await;
    assert_eq!(noted[0]["details"]["movesLeft"], 2, "{noted:?}");
    assert_eq!(noted[0]["details"]["reason"], "proof_missing");
    for path in ["validate", "heartbeat"] {
        let answered = site.unproven(path).send(&vendor).await;
        assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
    }
    let mut reinstalled = Site::new(3, &site.license_key, "machine");
    for path in ["activate", "validate"] {
        let answered = reinstalled.ask(&vendor, path).await;
        assert_eq!(answered.0, StatusCode::OK, "{answered:?}");
    }
    let new = Some(reinstalled.key.thumbprint());
    assert_eq!(reinstalled.bound(&vendor).await, new);
    assert_eq!(unbound(&vendor).await.len(), 1);
    vendor.end().await;
}

async fn without_moves_a_key_is_replaced_by_staff_alone(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            moves: Some(0),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let mut site = Site::new(1, &key, "machine");
    assert_eq!(site.ask(&vendor, "activate").await.0, StatusCode::OK);
    let other = Site::new(2, &key, "machine");
    let answered = other.proven(&vendor, "activate").send(&vendor).await;
    assert_eq!(answered.0, StatusCode::OK);
    assert_eq!(answered.2["error"]["code"], "unproven", "{answered:?}");
    let message = answered.2["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("restore the installation key"),
        "{message}"
    );
    assert_eq!(site.bound(&vendor).await, Some(site.key.thumbprint()));
    vendor.clock.advance(TimeDelta::hours(1));
    assert_eq!(site.ask(&vendor, "validate").await.0, StatusCode::OK);
    vendor.free(&key, "machine").await.unwrap();
    vendor.release(&key, "machine").await.unwrap();
    let answered = other.proven(&vendor, "activate").send(&vendor).await;
    assert_eq!(answered.2["success"], json!(true), "{answered:?}");
    assert_eq!(other.bound(&vendor).await, Some(other.key.thumbprint()));
    assert_eq!(
        code(&site.proven(&vendor, "validate").send(&vendor).await),
        (401, "unproven")
    );
    vendor.end().await;
}

async fn a_site_whose_machine_died_moves_by_itself(engine: Engine) {
    let (vendor, mut dead) = bound(engine).await;
    let mut new = Site::new(5, &dead.license_key, "new-machine");
    // A machine that is off for a while keeps its seat.
    vendor.clock.advance(TimeDelta::hours(23));
    let answered = new.ask(&vendor, "activate").await;
    assert_eq!(answered.2["error"]["code"], "seat_limit", "{answered:?}");
    vendor.clock.advance(TimeDelta::hours(2));
    let answered = new.ask(&vendor, "activate").await;
    let license = &answered.2["data"]["license"];
    assert_eq!(license["movesLeft"], 2, "{answered:?}");
    let moved = &entries(&vendor, "seat_moved").await[0]["details"];
    assert_eq!(moved["from"], "machine");
    assert!(moved["silentSince"].is_string(), "{moved}");
    // The old machine comes back: it is told so, and not accused.
    let answered = dead.ask(&vendor, "validate").await;
    assert_eq!(answered.2["data"]["reason"], "hardware_mismatch");
    let message = answered.2["data"]["message"].as_str().unwrap();
    assert!(message.contains("moved to another machine"), "{message}");
    assert!(super::suspicions(&vendor).await.is_empty());
    // A machine that calls keeps its seat, whatever it is answered.
    vendor.clock.advance(TimeDelta::hours(20));
    assert_eq!(new.ask(&vendor, "heartbeat").await.0, StatusCode::OK);
    vendor.clock.advance(TimeDelta::hours(10));
    let answered = dead.ask(&vendor, "activate").await;
    assert_eq!(answered.2["error"]["code"], "seat_limit", "{answered:?}");
    vendor.end().await;
}

async fn whoever_knows_only_the_ids_can_remove_a_key_but_not_free_its_seat(engine: Engine) {
    let (vendor, site) = bound(engine).await;
    let seat = async || {
        let seat = vendor.seat(&site.license_key, "machine").await;
        seat.unwrap().is_held()
    };
    let mut other = Site::new(7, &site.license_key, "machine");
    // Any number of times, at the price of one move.
    for round in 0..3 {
        let answered = other.unproven("activate").send(&vendor).await;
        let license = &answered.2["data"]["license"];
        assert_eq!(license["movesLeft"], 2, "{round}: {answered:?}");
        other.keep(&vendor, &answered);
        for call in [
            other.unproven("deactivate"),
            other.proven(&vendor, "deactivate"),
        ] {
            assert_eq!(code(&call.send(&vendor).await), (401, "unproven"));
        }
        // It binds its own key, which does not free the seat either.
        assert_eq!(other.ask(&vendor, "validate").await.0, StatusCode::OK);
        assert_eq!(other.bound(&vendor).await, Some(other.key.thumbprint()));
        let freed = other.proven(&vendor, "deactivate").send(&vendor).await;
        assert_eq!(code(&freed), (401, "unproven"), "{freed:?}");
        assert!(seat().await);
    }
    // The site itself is answered, and its key is bound again.
    let mut site = Site { ..site };
    assert_eq!(site.ask(&vendor, "validate").await.0, StatusCode::OK);
    assert_eq!(site.bound(&vendor).await, Some(site.key.thumbprint()));
    let answered = site.ask(&vendor, "deactivate").await;
    assert_eq!(answered.2["data"]["deactivated"], true, "{answered:?}");
    vendor.end().await;
}
