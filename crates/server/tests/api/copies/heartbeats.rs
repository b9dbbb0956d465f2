//! Copies that never request a lease after the first one.

use chrono::TimeDelta;
use serde_json::Value;

use super::{heartbeat, licensed, noted, validate};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    copies_that_only_send_heartbeats_get_no_lease_and_are_noted;
}

async fn copies_that_only_send_heartbeats_get_no_lease_and_are_noted(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let (key, seq) = licensed(&vendor).await;
    let lease = vendor.seat(&key, "machine").await.unwrap().signed_until;
    let mut noted_on = None;
    for day in 1..=36 {
        vendor.clock.advance(TimeDelta::days(1));
        for _ in 0..3 {
            let license = heartbeat(&vendor, &key, seq).await;
            assert_eq!(license["licenseKey"], key);
            assert_eq!(license["signature"], Value::Null, "day {day}");
        }
        let seat = vendor.seat(&key, "machine").await.unwrap();
        assert_eq!(seat.signed_until, lease, "day {day}");
        let is_noted = !noted(&vendor).await.is_empty();
        noted_on = noted_on.or(is_noted.then_some(day));
    }
    // The lease and its grace end after four days; since then, calls more than a day apart count.
    assert_eq!(noted_on, Some(8));
    assert_eq!(noted(&vendor).await[0].0, "shared_identity");

    // A site that was switched off for as long sends its heartbeat first.
    let (key, mut known) = licensed(&vendor).await;
    for _ in 0..5 {
        vendor.clock.advance(TimeDelta::days(36));
        heartbeat(&vendor, &key, known).await;
        known = validate(&vendor, &key, Some(known), &[]).await;
        heartbeat(&vendor, &key, known).await;
    }
    assert_eq!(noted(&vendor).await.len(), 1);
    vendor.end().await;
}
