//! What sites do is written to the audit log, within bounds.

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_core::rate::max_site_entries;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::history::forget;
use license_server::licensing::issue::IssueRequest;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;

on_both_engines! {
    one_machine_in_a_loop_hides_nothing_that_another_does_for_the_first_time_on_a_day;
    what_sites_do_without_end_is_counted_and_moves_are_always_written;
}

async fn one_machine_in_a_loop_hides_nothing_that_another_does_for_the_first_time_on_a_day(
    engine: Engine,
) {
    let vendor = Vendor::start(engine).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(3),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    assert_eq!(vendor.activate(&key, "honest").await.word(), "yes");
    vendor
        .clock
        .advance(TimeDelta::days(1) - TimeDelta::hours(12));
    for _ in 0..60 {
        vendor.activate(&key, "loop").await;
        vendor.deactivate(&key, "loop").await;
        vendor.clock.advance(TimeDelta::seconds(90));
    }
    let written = async |word: &str, machine: &str| {
        let log = vendor.audit(&format!("?license={key}&limit=500")).await;
        let is_it = |it: &&Value| it["action"] == *word && it["subject"] == *machine;
        log.as_array().unwrap().iter().filter(is_it).count()
    };
    let all = written("seat_taken", "loop").await + written("seat_given_back", "loop").await;
    assert_eq!(u64::try_from(all).unwrap(), max_site_entries(3));
    // The honest one took its seat the day before.
    for _ in 0..3 {
        vendor.deactivate(&key, "honest").await;
        assert_eq!(vendor.activate(&key, "honest").await.word(), "yes");
    }
    assert_eq!(written("seat_given_back", "honest").await, 1);
    assert_eq!(written("seat_taken", "honest").await, 2);
    assert_eq!(vendor.activate(&key, "new").await.word(), "yes");
    assert_eq!(written("seat_taken", "new").await, 1);
    let all = written("seat_taken", "loop").await + written("seat_given_back", "loop").await;
    assert_eq!(u64::try_from(all).unwrap(), max_site_entries(3));
    vendor.end().await;
}

async fn what_sites_do_without_end_is_counted_and_moves_are_always_written(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    // Rows in all tables: one machine in a loop adds few of them in a day.
    let rows = async || {
        let tables = [
            "seats",
            "audit_log",
            "suspicions",
            "seat_moves",
            "site_entries",
            "usage_days",
        ];
        let counts = tables.map(|table| format!("(SELECT COUNT(*) FROM {table})"));
        let sql = format!("SELECT CAST({} AS VARCHAR)", counts.join(" + "));
        let sum = vendor.database.texts(&sql).await[0].clone();
        sum.unwrap().parse::<u64>().unwrap()
    };
    let before = rows().await;
    for _ in 0..60 {
        vendor.activate(&key, "a").await;
        vendor.heartbeat(&key, "a", 1).await;
        vendor.deactivate(&key, "a").await;
        // As fast as calls are answered.
        vendor.clock.advance(TimeDelta::seconds(90));
    }
    let added = rows().await - before;
    assert!(added <= max_site_entries(1) + 4, "{added} rows");
    vendor.activate(&key, "b").await;
    vendor.free(&key, "b").await.unwrap();
    let actions = async || {
        let log = vendor.audit(&format!("?license={key}&limit=500")).await;
        let log = log.as_array().unwrap().clone();
        let action = |it: &Value| it["action"].as_str().unwrap().to_owned();
        let words: Vec<String> = log.iter().map(action).collect();
        (words, log[0].clone())
    };
    let (words, _) = actions().await;
    let count = |word: &str| words.iter().filter(|it| *it == word).count();
    let by_sites = count("seat_taken") + count("seat_given_back");
    // What the other machine does for the first time on this day comes on top.
    assert_eq!(u64::try_from(by_sites).unwrap(), max_site_entries(1) + 1);
    assert_eq!(
        words[..4],
        [
            "seat_freed",
            "seat_taken",
            "seat_moved",
            "site_entries_limited"
        ]
    );
    // The day is summed up when it is over, once.
    forget(&vendor.app).await.unwrap();
    assert_eq!(actions().await.0, words);
    vendor.clock.advance(TimeDelta::days(1));
    forget(&vendor.app).await.unwrap();
    forget(&vendor.app).await.unwrap();
    let (after, newest) = actions().await;
    assert_eq!(after.len(), words.len() + 1);
    let details = json!({"day": "2026-11-24", "entries": 18});
    assert_eq!(
        (&newest["action"], &newest["details"]),
        (&json!("site_entries_counted"), &details)
    );
    // The next day starts from zero.
    vendor.activate(&key, "b").await;
    assert_eq!(actions().await.0[0], "seat_taken");
    vendor.end().await;
}
