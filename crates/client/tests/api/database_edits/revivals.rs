//! Rows and triggers that bring back what has ended.

use std::sync::Arc;

use chrono::TimeDelta;
use license_client::app::App;
use license_client::licensing::activate::activate;
use license_client::licensing::deactivate::deactivate;
use license_client::licensing::validate::validate;
use license_core::schedule::calls::Calls;
use license_core::standing::Standing;
use license_server::store::licenses::Status;

use super::{NEW_REVISION, NO_MEMO, NOT_BOUGHT, events, forged, may_use, open, standard, standing};
use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    triggers_do_not_bring_back_what_was_revoked;
    copied_rows_do_not_bring_back_what_was_deactivated;
    every_revival_is_an_event_however_soon_after_another;
    what_is_not_trusted_is_reported_once_and_its_row_stays;
    the_65th_license_is_remembered_as_well;
    a_restart_adopts_nothing_where_a_signed_license_was_seen;
    a_second_adopted_license_has_what_is_left_of_the_grace_of_the_first;
}

/// Triggers that replace each row of the license with an unsigned one, and block the memo.
fn triggers(engine: Engine, key: &str) -> String {
    let data = forged(key);
    match engine {
        Engine::Sqlite => {
            let forge = format!(
                "UPDATE local_license_cache SET license_signature = '', license_data = '{data}', \
                 in_grace_period = false, grace_period_started_at = NULL"
            );
            format!(
                "CREATE TRIGGER f1 AFTER INSERT ON local_license_cache BEGIN {forge}; END; \
                 CREATE TRIGGER f2 AFTER UPDATE ON local_license_cache BEGIN {forge}; END; \
                 CREATE TRIGGER m1 BEFORE INSERT ON system_config \
                 WHEN NEW.key = 'license_client.evidence' BEGIN SELECT RAISE(IGNORE); END; \
                 CREATE TRIGGER m2 BEFORE UPDATE ON system_config \
                 WHEN NEW.key = 'license_client.evidence' BEGIN SELECT RAISE(IGNORE); END; \
                 {NO_MEMO}; UPDATE local_license_cache SET in_grace_period = false"
            )
        }
        Engine::Postgres => format!(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
             NEW.license_signature = ''; NEW.license_data = '{data}'; \
             NEW.in_grace_period = false; NEW.grace_period_started_at = NULL; \
             RETURN NEW; END$$; \
             CREATE TRIGGER f BEFORE INSERT OR UPDATE ON local_license_cache \
             FOR EACH ROW EXECUTE FUNCTION f(); \
             CREATE FUNCTION m() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
             IF NEW.key = 'license_client.evidence' THEN RETURN NULL; END IF; RETURN NEW; END$$; \
             CREATE TRIGGER m BEFORE INSERT OR UPDATE ON system_config \
             FOR EACH ROW EXECUTE FUNCTION m(); \
             {NO_MEMO}; UPDATE local_license_cache SET in_grace_period = false"
        ),
    }
}

async fn triggers_do_not_bring_back_what_was_revoked(engine: Engine) {
    let (site, vendor, key) = standard(engine).await;
    let app = open(&site).await;
    let before = site
        .database
        .texts("SELECT license_signature FROM local_license_cache")
        .await;
    let lease = before[0].clone().unwrap();
    site.database.execute(&triggers(engine, &key)).await;
    app.knowledge.reload(None).await.unwrap();
    assert_eq!(standing(&app), Standing::Active);
    assert!(!may_use(&app, NOT_BOUGHT));
    assert!(events(&app) > 0);
    // An answer counts although no row keeps it.
    validate(&app).await;
    vendor.set_status(&key, Status::Revoked, None).await;
    validate(&app).await;
    for _ in 0..3 {
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(standing(&app).as_str(), "lapsed");
        assert!(!may_use(&app, NOT_BOUGHT));
        assert!(may_use(&app, "module.recording_basic"));
        site.advance(TimeDelta::minutes(2));
    }
    app.knowledge.keep_time_in_file().await;
    app.store.close().await;
    // Not after a restart either, without the local copy, and not by the lease from before.
    let app = open(&site).await;
    assert_eq!(standing(&app).as_str(), "lapsed");
    app.store.close().await;
    let drop_triggers = match engine {
        Engine::Sqlite => "DROP TRIGGER f1; DROP TRIGGER f2; DROP TRIGGER m1; DROP TRIGGER m2",
        Engine::Postgres => {
            "DROP TRIGGER f ON local_license_cache; DROP TRIGGER m ON system_config"
        }
    };
    site.database.execute(drop_triggers).await;
    for removed in ["time.json", "local-copy.json"] {
        let old = format!(
            "{NO_MEMO}; UPDATE local_license_cache SET license_signature = '{lease}', is_valid = true"
        );
        site.database.execute(&old).await;
        let file = site.state_file(removed);
        let kept = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let app = open(&site).await;
        assert_eq!(standing(&app).as_str(), "lapsed", "without {removed}");
        assert!(events(&app) > 0, "without {removed}");
        app.store.close().await;
        std::fs::write(&file, kept).unwrap();
    }
    site.end().await;
}

async fn copied_rows_do_not_bring_back_what_was_deactivated(engine: Engine) {
    let (site, _vendor, key) = standard(engine).await;
    let app = open(&site).await;
    assert!(matches!(standing(&app), Standing::Active));
    site.database
        .execute(
            "CREATE TABLE copied AS SELECT * FROM local_license_cache; \
             CREATE TABLE copied_memo AS SELECT * FROM system_config \
             WHERE key = 'license_client.evidence'",
        )
        .await;
    deactivate(&app, false).await.unwrap();
    assert_eq!(standing(&app), Standing::Unlicensed);
    let put_back = format!(
        "DELETE FROM local_license_cache; INSERT INTO local_license_cache SELECT * FROM copied; \
         DELETE FROM system_config WHERE key = 'license_client.evidence'; \
         INSERT INTO system_config SELECT * FROM copied_memo; {NEW_REVISION}"
    );
    let before = events(&app);
    site.database.execute(&put_back).await;
    app.knowledge.reload(None).await.unwrap();
    assert!(matches!(standing(&app), Standing::Lapsed(_)));
    assert_eq!(events(&app), before + 1);
    app.store.close().await;
    // Neither does a restart.
    site.database.execute(&put_back).await;
    let app = open(&site).await;
    assert!(matches!(standing(&app), Standing::Lapsed(_)));
    // The license can be activated again.
    activate(&app, &key).await.unwrap();
    assert!(matches!(standing(&app), Standing::Active));
    app.store.close().await;
    site.end().await;
}

/// Statements that copy the rows of the license, and that put them back.
fn copied() -> (&'static str, String) {
    let copy = "CREATE TABLE copied AS SELECT * FROM local_license_cache; \
                CREATE TABLE copied_memo AS SELECT * FROM system_config \
                WHERE key = 'license_client.evidence'";
    let put_back = format!(
        "DELETE FROM local_license_cache; INSERT INTO local_license_cache SELECT * FROM copied; \
         {NO_MEMO}; INSERT INTO system_config SELECT * FROM copied_memo; {NEW_REVISION}"
    );
    (copy, put_back)
}

async fn every_revival_is_an_event_however_soon_after_another(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let (copy, put_back) = copied();
    site.database.execute(copy).await;
    deactivate(&app, false).await.unwrap();
    let data = forged("other");
    let unsigned = format!(
        "INSERT INTO local_license_cache (license_key, license_data, license_signature, cached_at, \
         valid_until, is_valid) VALUES ('other', '{data}', 'x', '2026-11-01 00:00:00', \
         '2099-01-01 00:00:00', true); {NEW_REVISION}"
    );
    let removed = format!("DELETE FROM local_license_cache; {NO_MEMO}; {NEW_REVISION}");
    // The rows of the first one are rewritten, and no others are for a minute.
    for (number, edit) in [&unsigned, &put_back, &put_back, &unsigned]
        .into_iter()
        .enumerate()
    {
        let before = events(&app);
        site.database.execute(edit).await;
        app.knowledge.reload(None).await.unwrap();
        assert!(matches!(standing(&app), Standing::Lapsed(_)), "{number}");
        assert_eq!(events(&app), before + 1, "{number}");
        // What has been reported is not reported again.
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(events(&app), before + 1, "{number}");
        site.database.execute(&removed).await;
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(standing(&app), Standing::Unlicensed, "{number}");
    }
    app.store.close().await;
    site.end().await;
}

async fn what_is_not_trusted_is_reported_once_and_its_row_stays(engine: Engine) {
    let (site, mut vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let (copy, put_back) = copied();
    site.database.execute(copy).await;
    deactivate(&app, false).await.unwrap();
    vendor.go_away().await;
    let before = events(&app);
    site.database.execute(&put_back).await;
    app.knowledge.reload(None).await.unwrap();
    assert_eq!(events(&app), before + 1);
    let row = "SELECT license_signature FROM local_license_cache";
    let genuine = site.database.texts(row).await;
    // The failure is known then, but is not written over the document of the row.
    validate(&app).await;
    assert_eq!(events(&app), before + 1);
    assert_eq!(site.database.texts(row).await, genuine);
    app.store.close().await;
    for has_copy in [true, true, false, true] {
        if !has_copy {
            std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
        }
        let app = open(&site).await;
        assert!(matches!(standing(&app), Standing::Lapsed(_)));
        assert_eq!(events(&app), u64::from(!has_copy), "{has_copy}");
        validate(&app).await;
        app.knowledge.keep_time_in_file().await;
        app.store.close().await;
    }
    // A row that is not genuine is replaced by one that is not reported again.
    let damaged =
        format!("UPDATE local_license_cache SET license_signature = 'a.b.c'; {NEW_REVISION}");
    for events_of_start in [1, 0, 0] {
        let app = open_after(&site, (events_of_start == 1).then_some(&*damaged)).await;
        assert!(matches!(standing(&app), Standing::Lapsed(_)));
        assert_eq!(events(&app), events_of_start);
        validate(&app).await;
        assert_eq!(events(&app), events_of_start);
        app.store.close().await;
    }
    site.end().await;
}

async fn open_after(site: &Site, edit: Option<&str>) -> Arc<App> {
    if let Some(edit) = edit {
        site.database.execute(edit).await;
    }
    open(site).await
}

async fn the_65th_license_is_remembered_as_well(engine: Engine) {
    let (site, vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let advance = || {
        vendor.advance(TimeDelta::seconds(1));
        site.advance(TimeDelta::seconds(1));
    };
    for _ in 0..64 {
        advance();
        activate(&app, &vendor.issue_professional().await)
            .await
            .unwrap();
    }
    let (copy, put_back) = copied();
    site.database
        .execute(&format!("{copy}; DELETE FROM copied WHERE NOT is_valid"))
        .await;
    deactivate(&app, false).await.unwrap();
    let before = events(&app);
    site.database.execute(&put_back).await;
    app.knowledge.reload(None).await.unwrap();
    assert!(matches!(standing(&app), Standing::Lapsed(_)));
    assert_eq!(events(&app), before + 1);
    app.store.close().await;
    site.end().await;
}

async fn a_restart_adopts_nothing_where_a_signed_license_was_seen(engine: Engine) {
    let (site, mut vendor, key) = standard(engine).await;
    vendor.go_away().await;
    let keep = |name| std::fs::read(site.state_file(name)).unwrap();
    let files = ["local-copy.json", "time.json"].map(|name| (name, keep(name)));
    let saved = "SELECT license_signature FROM local_license_cache";
    let lease = site.database.texts(saved).await.remove(0).unwrap();
    for other_key in [false, true] {
        for (name, _) in &files {
            let data = forged(&key);
            let key = if other_key { "other" } else { key.as_str() };
            let edit = format!(
                "UPDATE local_license_cache SET license_signature = '', license_data = '{data}', \
                 license_key = '{key}', grace_period_started_at = NULL, is_valid = true; {NO_MEMO}; \
                 DELETE FROM system_config WHERE key = 'installation_id'"
            );
            site.database.execute(&edit).await;
            std::fs::remove_file(site.state_file(name)).unwrap();
            let app = open(&site).await;
            assert!(!may_use(&app, NOT_BOUGHT), "without {name}");
            // The local copy has the license; without it, there is no license.
            let expected = if *name == "time.json" {
                "active"
            } else {
                "lapsed"
            };
            assert_eq!(standing(&app).as_str(), expected, "without {name}");
            assert!(events(&app) > 0, "without {name}");
            assert_eq!(
                app.knowledge.calls().is_validation_wanted(),
                expected == "lapsed"
            );
            app.store.close().await;
            for (name, content) in &files {
                std::fs::write(site.state_file(name), content).unwrap();
            }
        }
    }
    assert!(!lease.is_empty());
    site.end().await;
}

async fn a_second_adopted_license_has_what_is_left_of_the_grace_of_the_first(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    vendor.go_away().await;
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    site.stop().await;
    let left = |key: &str| {
        let data = forged(key);
        format!(
            "DELETE FROM local_license_cache; INSERT INTO local_license_cache (license_key, \
             license_data, license_signature, cached_at, valid_until, is_valid) VALUES ('{key}', \
             '{data}', 'x', '2026-11-01 00:00:00', '2099-01-01 00:00:00', true); {NO_MEMO}; \
             {NEW_REVISION}"
        )
    };
    let app = open(&site).await;
    site.database.execute(&left("one")).await;
    app.knowledge.reload(None).await.unwrap();
    let Standing::Grace { until } = standing(&app) else {
        panic!("{:?}", standing(&app));
    };
    // What was adopted is to be validated; nothing else was seen before.
    assert!(app.knowledge.calls().is_validation_wanted());
    assert_eq!(events(&app), 0);
    for (number, key) in ["two", "one", "three"].into_iter().enumerate() {
        site.advance(TimeDelta::hours(20));
        app.knowledge.note_call(Calls::nothing_to_validate);
        site.database.execute(&left(key)).await;
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(standing(&app), Standing::Grace { until }, "{key}");
        assert!(app.knowledge.calls().is_validation_wanted());
        assert_eq!(events(&app), number as u64 + 1, "{key}");
    }
    site.advance(TimeDelta::hours(20));
    assert_eq!(standing(&app).as_str(), "lapsed");
    app.store.close().await;
    // Nor with a start.
    site.database.execute(&left("four")).await;
    let app = open(&site).await;
    assert_eq!(standing(&app).as_str(), "lapsed");
    assert!(!may_use(&app, NOT_BOUGHT));
    app.store.close().await;
    site.end().await;
}
