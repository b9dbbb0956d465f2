//! Freed seats are forgotten when their last lease has long ended.

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::history::{FREED_KEPT_FOR, forget};
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    freed_seats_are_pruned_and_take_nothing_along;
}

async fn freed_seats_are_pruned_and_take_nothing_along(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(3),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let mut newest = 0;
    for machine in ["freed", "held"] {
        newest = vendor.activate(&key, machine).await.seq();
    }
    vendor.deactivate(&key, "freed").await;
    let until = vendor
        .seat(&key, "freed")
        .await
        .unwrap()
        .signed_until
        .unwrap();
    vendor
        .clock
        .advance(until + FREED_KEPT_FOR - vendor.clock.now());
    forget(&vendor.app).await.unwrap();
    assert!(
        vendor.seat(&key, "freed").await.is_some(),
        "within the margin"
    );
    vendor.clock.advance(TimeDelta::seconds(1));
    forget(&vendor.app).await.unwrap();
    assert!(vendor.seat(&key, "freed").await.is_none());
    assert!(
        vendor.seat(&key, "held").await.is_some(),
        "a held seat stays"
    );
    assert_eq!(
        vendor.validate(&key, "freed").await.word(),
        "hardware_mismatch"
    );
    assert!(vendor.activate(&key, "freed").await.seq() > newest);
    vendor.end().await;
}
