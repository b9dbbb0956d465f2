//! Rows that claim more than was signed.

use std::time::Duration;

use chrono::TimeDelta;
use license_client::licensing::validate::validate;
use license_client::scheduler::Scheduler;
use license_client::store::system_config;
use license_core::standing::Standing;
use serde_json::{Value, json};

use super::{NEW_REVISION, NO_MEMO, NOT_BOUGHT, events, forged, may_use, open, standard, standing};
use crate::database::{Engine, on_both_engines};

on_both_engines! {
    edits_of_rows_grant_nothing_and_are_security_events;
    a_lease_with_the_greatest_numbers_is_taken;
    columns_beside_a_signed_license_say_nothing;
}

async fn edits_of_rows_grant_nothing_and_are_security_events(engine: Engine) {
    let (site, _vendor, key) = standard(engine).await;
    let app = open(&site).await;
    let signed = app.snapshot().evidence.clone();
    let data = forged(&key);
    let unsigned = format!(
        "license_signature = '', in_grace_period = false, grace_period_started_at = NULL, \
         license_data = '{data}'"
    );
    let other = forged("other");
    let no_other = "DELETE FROM local_license_cache WHERE license_key = 'other'";
    for edit in [
        format!("UPDATE local_license_cache SET {unsigned}; {NO_MEMO}"),
        format!("UPDATE local_license_cache SET {unsigned}"),
        format!(
            "{no_other}; UPDATE local_license_cache SET {unsigned}, license_key = 'other'; {NO_MEMO}"
        ),
        format!(
            "{no_other}; INSERT INTO local_license_cache (license_key, license_data, license_signature, \
             cached_at, valid_until, is_valid) VALUES ('other', '{other}', 'x', \
             '2099-01-01 00:00:00', '2099-01-01 00:00:00', true); {NO_MEMO}"
        ),
        "UPDATE local_license_cache SET license_signature = license_signature || 'x'".to_owned(),
        format!("UPDATE local_license_cache SET license_data = '{data}'"),
        "UPDATE local_license_cache SET valid_until = '2099-01-01 00:00:00'".to_owned(),
        "UPDATE local_license_cache SET is_valid = false".to_owned(),
        "UPDATE local_license_cache SET grace_period_started_at = '1001-01-01 00:00:00'".to_owned(),
    ] {
        let before = events(&app);
        site.database
            .execute(&format!("{edit}; {NEW_REVISION}"))
            .await;
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(app.snapshot().evidence, signed, "{edit}");
        assert_eq!(standing(&app), Standing::Active, "{edit}");
        assert!(!may_use(&app, NOT_BOUGHT), "{edit}");
        assert_eq!(events(&app), before + 1, "{edit}");
        // The rows say again what is signed.
        let again = app.knowledge.reload(None).await.unwrap();
        assert!(again.is_some_and(|revision| revision != "x"), "{edit}");
        assert_eq!(events(&app), before + 1, "{edit}");
        let valid = "SELECT license_key FROM local_license_cache WHERE is_valid";
        assert_eq!(
            site.database.texts(valid).await,
            [Some(key.clone())],
            "{edit}"
        );
        // A row changed again immediately is rewritten a minute later.
        site.database.execute(&edit).await;
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(events(&app), before + 1, "{edit}");
        assert!(!may_use(&app, NOT_BOUGHT), "{edit}");
        site.advance(TimeDelta::seconds(61));
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(events(&app), before + 2, "{edit}");
        site.advance(TimeDelta::seconds(61));
        site.database.execute(no_other).await;
    }
    app.store.close().await;
    site.end().await;
}

async fn columns_beside_a_signed_license_say_nothing(engine: Engine) {
    let (site, mut vendor, _key) = standard(engine).await;
    vendor.go_away().await;
    let app = open(&site).await;
    let calls = app.knowledge.calls().validated_at();
    // Neither into grace, nor calls put off.
    site.advance(TimeDelta::hours(2));
    let edit = "UPDATE local_license_cache SET in_grace_period = true, \
                grace_period_started_at = '2026-11-23 21:30:00', \
                last_validated_at = '2026-11-23 22:50:00', validation_error = 'x'";
    site.database.execute(edit).await;
    app.knowledge.reload(None).await.unwrap();
    assert_eq!(standing(&app), Standing::Active);
    assert_eq!(app.knowledge.calls().validated_at(), calls);
    assert_eq!(events(&app), 0);
    // Nor out of the grace that runs.
    validate(&app).await;
    let grace = standing(&app);
    assert!(matches!(grace, Standing::Grace { .. }), "{grace:?}");
    let edit = "UPDATE local_license_cache SET in_grace_period = false, \
                grace_period_started_at = NULL";
    site.database.execute(edit).await;
    app.knowledge.reload(None).await.unwrap();
    assert_eq!(standing(&app), grace);
    app.store.close().await;
    // A process without its own memory uses the document.
    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    let edit = "UPDATE local_license_cache SET grace_period_started_at = '0001-01-01 00:00:00'";
    site.database.execute(edit).await;
    let app = open(&site).await;
    assert_ne!(standing(&app).as_str(), "lapsed");
    assert_eq!(events(&app), 1);
    app.store.close().await;
    site.end().await;
}

async fn a_lease_with_the_greatest_numbers_is_taken(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let (db, now) = (app.store.db(), app.clock.now());
    for (fence, renewals) in [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        let row = json!({"holder": null, "fence": fence, "renewals": renewals, "renewedAt": now});
        let row = row.to_string();
        system_config::set(&db, system_config::SCHEDULER, &row, now)
            .await
            .unwrap();
        let scheduler = Scheduler::new();
        let held = scheduler.attend(&app.store, now, Duration::ZERO).await;
        assert!(held.unwrap(), "{row}");
        let row = system_config::get(&db, system_config::SCHEDULER).await;
        let row: Value = serde_json::from_str(&row.unwrap().unwrap()).unwrap();
        assert_eq!((&row["fence"], &row["renewals"]), (&json!(1), &json!(1)));
    }
    app.store.close().await;
    site.end().await;
}
