//! What the database contains does not make the local copy unreadable.

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::Value;

use super::{NEW_REVISION, events, open};
use crate::database::{Engine, on_both_engines};
use crate::offline::{import, signed, site, write_request};
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    pending_requests_survive_rows_that_are_nested_deep;
    an_unreadable_local_copy_is_a_security_event;
}

/// A statement that stores an unsigned license with this data.
fn unsigned(data: &str) -> String {
    format!(
        "DELETE FROM local_license_cache; INSERT INTO local_license_cache (license_key, \
         license_data, license_signature, cached_at, valid_until, is_valid) VALUES ('other', \
         '{data}', 'x', '2026-11-01 00:00:00', '2099-01-01 00:00:00', true); {NEW_REVISION}"
    )
}

async fn pending_requests_survive_rows_that_are_nested_deep(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let requests = [
        write_request(&site, "activate", Some(&key)).await,
        write_request(&site, "activate", Some(&key)).await,
    ];
    site.stop().await;
    let lists = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let texts = (20..=127).step_by(7).chain(122..=127);
    let texts = texts.flat_map(|levels| [lists(levels), objects(levels)]);
    for data in texts {
        site.database.execute(&unsigned(&data)).await;
        for _ in 0..2 {
            let app = open(&site).await;
            assert_eq!(app.knowledge.requests().len(), 2, "{data:.200}");
            app.store.close().await;
            site.advance(TimeDelta::minutes(2));
            vendor.advance(TimeDelta::minutes(2));
        }
    }
    site.restart().await;
    let file = signed(&vendor, &requests[1]).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

async fn an_unreadable_local_copy_is_a_security_event(engine: Engine) {
    let vendor = Vendor::start().await;
    let mut site = site(engine, &vendor, &[]).await;
    let key = vendor.issue_professional().await;
    let request = write_request(&site, "activate", Some(&key)).await;
    let file = signed(&vendor, &request).await;
    assert_eq!(import(&site, &file).await.0, StatusCode::OK);
    write_request(&site, "renew", None).await;
    site.stop().await;
    let path = site.state_file("local-copy.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let mut copy: Value = serde_json::from_str(&good).unwrap();
    let rows: Value = serde_json::from_str(copy["rows"].as_str().unwrap()).unwrap();

    // In the form that was written before, nothing is lost, and nothing is reported.
    copy["rows"] = rows;
    std::fs::write(&path, copy.to_string()).unwrap();
    let app = open(&site).await;
    assert_eq!((events(&app), app.knowledge.requests().len()), (0, 1));
    assert!(app.snapshot().evidence.lease.is_some());
    app.store.close().await;

    // Rows that cannot be read take nothing else with them.
    copy["rows"] = "{".into();
    std::fs::write(&path, copy.to_string()).unwrap();
    let app = open(&site).await;
    assert_eq!((events(&app), app.knowledge.requests().len()), (1, 1));
    app.store.close().await;

    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for text in ["", "{", &good[..good.len() / 2], &deep] {
        std::fs::write(&path, text).unwrap();
        site.restart().await;
        assert_eq!(security_events(&site).await, 1, "{text:.100}");
        assert_eq!(site.standing().await, "active");
        site.restart().await;
        assert_eq!(security_events(&site).await, 0);
        site.stop().await;
    }
    site.end().await;
}
