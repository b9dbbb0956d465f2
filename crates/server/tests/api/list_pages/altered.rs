//! Cursors with times that no database can store.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::cursor::to_text;
use serde_json::json;

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::lists::assert_refused;

on_both_engines! {
    a_cursor_with_a_time_that_cannot_be_stored_is_refused_by_every_list;
}

async fn a_cursor_with_a_time_that_cannot_be_stored_is_refused_by_every_list(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let usage = format!("/licenses/{key}/usage?");
    for (at, is_refused) in [
        ("-262143-01-01T00:00:00Z", true),
        ("+262142-01-01T00:00:00Z", true),
        ("2026-01-01T00:00:00Z", false),
    ] {
        let day = at.split('T').next().unwrap();
        let place = |name: &str| json!({"place": {name: at}, "order": "desc", "id": "x"});
        for (path, cursor) in [
            ("/trial-codes?", json!({"created_at": at, "id": "x"})),
            ("/licenses?sort=createdAt&order=desc&", place("createdAt")),
            ("/licenses?sort=expiresAt&order=desc&", place("expiresAt")),
            ("/customers?sort=updatedAt&order=desc&", place("updatedAt")),
            (
                "/installations?order=desc&",
                json!({"lastSeenAt": at, "seat": 1, "order": "desc"}),
            ),
            (&*usage, json!({"day": day, "hardwareId": "x"})),
        ] {
            let path = format!("{path}cursor={}", to_text(&cursor));
            match is_refused {
                true => assert_refused(&vendor, &path).await,
                false => drop(vendor.look(&path).await),
            }
        }
    }
    vendor.end().await;
}
