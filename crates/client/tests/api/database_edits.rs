//! A user of the database changes rows while the service runs, without any other right
//! on the machine, and gains nothing; what other processes change still counts.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use license_client::app::App;
use license_client::licensing::activate::activate;
use license_client::licensing::deactivate::deactivate;
use license_client::licensing::switch::switch;
use license_client::licensing::usage::report;
use license_client::licensing::validate::validate;
use license_client::metrics::Readings;
use license_client::scheduler::Scheduler;
use license_client::store::local_license_validation_attempts::LoggedAttempt;
use license_client::store::{
    Store, local_license_cache, local_license_validation_attempts, system_config,
};
use license_core::calls::Calls;
use license_core::standing::Standing;
use license_core::usage::{Gauge, MAX_SOURCES, Usage};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::licenses::Status;
use license_service::database::Timeouts;
use serde_json::{Map, Value, json};

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::Site;
use crate::tampering::security_events;
use crate::vendor::Vendor;

on_both_engines! {
    edits_of_rows_grant_nothing_and_are_security_events;
    texts_of_any_length_change_nothing_and_are_cut;
    a_log_of_long_messages_is_read_within_its_bounds;
    lines_are_removed_without_being_read;
    reports_in_the_database_do_not_displace_those_received_here;
    a_lease_with_the_greatest_numbers_is_taken;
    columns_beside_a_signed_license_say_nothing;
    triggers_do_not_bring_back_what_was_revoked;
    copied_rows_do_not_bring_back_what_was_deactivated;
    a_restart_adopts_nothing_where_a_signed_license_was_seen;
    a_second_adopted_license_has_what_is_left_of_the_grace_of_the_first;
    replicas_still_share_what_they_do;
    what_is_read_together_is_of_one_moment;
    a_stopped_schedule_is_noticed_and_validations_are_made;
    a_holder_of_the_schedule_that_never_calls_is_noticed;
}

const NOT_BOUGHT: &str = "module.analytics_advanced";

fn forged(key: &str) -> String {
    json!({"licenseKey": key, "tier": "enterprise", "maxCameras": -1, "enabledFeatures": [NOT_BOUGHT]})
        .to_string()
}

/// Without its jobs: what happens is what the test does.
async fn open(site: &Site) -> Arc<App> {
    let app = Arc::new(App::new(site.settings(), site.clock.clone()).unwrap());
    app.knowledge.load().await.unwrap();
    app
}

fn standing(app: &App) -> Standing {
    app.snapshot().standing(app.clock.now())
}

fn may_use(app: &App, feature: &str) -> bool {
    app.snapshot()
        .decide(feature, app.clock.now(), |decision| decision.available)
}

fn events(app: &App) -> u64 {
    let text = app.metrics.text(&Readings::new()).unwrap();
    let name = "foxsight_license_security_events_total ";
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    count.unwrap().parse().unwrap()
}

/// A site with a standard license that is stopped, and its vendor.
async fn standard(engine: Engine) -> (Site, Vendor, String) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    site.activate(&key).await;
    site.stop().await;
    (site, vendor, key)
}

const NEW_REVISION: &str =
    "UPDATE system_config SET value = 'x' WHERE key = 'license_client.revision'";
const NO_MEMO: &str = "DELETE FROM system_config WHERE key = 'license_client.evidence'";

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

async fn texts_of_any_length_change_nothing_and_are_cut(engine: Engine) {
    let (site, _vendor, key) = standard(engine).await;
    let app = open(&site).await;
    let signed = app.snapshot().evidence.clone();
    let long = |length: usize| match engine {
        Engine::Sqlite => format!("replace(hex(zeroblob({})), '00', 'xx')", length / 2),
        Engine::Postgres => format!("repeat('x', {length})"),
    };
    let document = long(5 * 1024 * 1024);
    for edit in [
        format!("UPDATE local_license_cache SET license_signature = {document}"),
        format!("UPDATE local_license_cache SET validation_error = {document}"),
        format!("UPDATE system_config SET value = {document} WHERE key LIKE 'license_client.%'"),
    ] {
        site.database
            .execute(&format!("{edit}; {NEW_REVISION}"))
            .await;
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(app.snapshot().evidence, signed, "{edit}");
        assert_eq!(standing(&app), Standing::Active, "{edit}");
        site.advance(TimeDelta::seconds(61));
        app.knowledge.reload(None).await.unwrap();
    }
    let db = app.store.db();
    // The rows say again what is signed.
    let cached = local_license_cache::find(&db, &key).await.unwrap();
    assert!(cached.is_some_and(|cached| cached.license_signature.len() < 10_000));
    let add = format!(
        "INSERT INTO local_license_validation_attempts (license_key, result, error_message) \
         VALUES ('x', 'failed', {})",
        long(20_000)
    );
    site.database.execute(&add).await;
    let lines = local_license_validation_attempts::newest(&db)
        .await
        .unwrap();
    let message = lines[0].error_message.clone();
    assert!(message.is_some_and(|text| text.len() < 1_100));
    let set = format!("UPDATE system_config SET value = {document} WHERE key = 'x'");
    let add = "INSERT INTO system_config (key, value) VALUES ('x', 'y')";
    site.database.execute(&format!("{add}; {set}")).await;
    let text = system_config::get(&db, "x").await.unwrap();
    assert_eq!(text.map(|text| text.len()), Some(4 * 1024 * 1024));
    app.store.close().await;
    site.end().await;
}

async fn a_log_of_long_messages_is_read_within_its_bounds(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let add = "INSERT INTO local_license_validation_attempts \
               (license_key, result, error_message, attempted_at) SELECT";
    let fill = match engine {
        Engine::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000) \
             {add} 'x', 'failed', replace(hex(zeroblob(2000)), '00', '😀'), \
             '2026-11-23 20:00:00' FROM n"
        ),
        Engine::Postgres => format!(
            "{add} 'x', 'failed', repeat('😀', 2000), '2026-11-23 20:00:00' \
             FROM generate_series(1, 6000)"
        ),
    };
    site.database.execute(&fill).await;
    let log = app.attempts.newest().await.unwrap();
    let bytes: usize = log.iter().map(LoggedAttempt::text_bytes).sum();
    assert!((3_000..6_000).contains(&log.len()), "{}", log.len());
    assert!((12 << 20..16 << 20).contains(&bytes), "{bytes}");
    assert!(log.is_sorted_by(|newer, older| newer.id > older.id));
    let message = log[0].error_message.as_deref().unwrap();
    assert_eq!(message, "😀".repeat(1_000));
    let names = format!(
        "UPDATE local_license_validation_attempts SET result = {0}, hardware_id = {0}",
        match engine {
            Engine::Sqlite => "replace(hex(zeroblob(100)), '00', 'xxxx')",
            Engine::Postgres => "repeat('x', 400)",
        }
    );
    // A column of 1.0.0 has at most 255 characters on PostgreSQL.
    if engine == Engine::Postgres {
        let widen = "ALTER TABLE local_license_validation_attempts \
                     ALTER result TYPE text, ALTER hardware_id TYPE text";
        site.database.execute(widen).await;
    }
    site.database.execute(&names).await;
    app.attempts.invalidate();
    let log = app.attempts.newest().await.unwrap();
    assert_eq!(log[0].result.len(), 255);
    assert_eq!(log[0].hardware_id.as_ref().unwrap().len(), 255);
    app.store.close().await;
    site.end().await;
}

async fn lines_are_removed_without_being_read(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let add = "INSERT INTO local_license_validation_attempts (id, result, attempted_at) SELECT";
    // Neither the ids nor the results are what the model says.
    let fill = match engine {
        Engine::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10020) \
             {add} 3000000000 + i, 'success', '2026-11-23 20:00:00' FROM n"
        ),
        Engine::Postgres => format!(
            "ALTER TABLE local_license_validation_attempts ALTER id TYPE bigint, \
             ALTER result TYPE integer USING 1; \
             {add} 3000000000 + i, 1, '2026-11-23 20:00:00' FROM generate_series(1, 10020) AS n(i)"
        ),
    };
    site.database.execute(&fill).await;
    let (db, now) = (app.store.db(), app.clock.now());
    let removed = local_license_validation_attempts::prune(&db, now).await;
    // One line is of the activation.
    assert_eq!(removed.unwrap(), 21);
    let removed = local_license_validation_attempts::prune(&db, now).await;
    assert_eq!(removed.unwrap(), 0);
    let left = "SELECT CAST(min(id) AS text) FROM local_license_validation_attempts";
    let first = Some("3000000021".to_owned());
    assert_eq!(site.database.texts(left).await, [first]);
    app.store.close().await;
    site.end().await;
}

async fn reports_in_the_database_do_not_displace_those_received_here(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let put = async |source: &str, cameras| {
        let now = app.clock.now();
        let usage = Usage {
            cameras: Some(cameras),
            ..Usage::default()
        };
        let gauge = Gauge {
            usage,
            reported_at: now,
            until: now + TimeDelta::minutes(5),
        };
        let in_use = report(&app, source.to_owned(), gauge).await.unwrap();
        in_use.cameras
    };
    assert_eq!(put("recorder", 7).await, Some(7));
    let db = app.store.db();
    for round in 0..3 {
        let gauge = json!({"cameras": 1, "reportedAt": "8999-01-01T00:00:00Z",
            "until": "9000-01-01T00:00:00Z"});
        let names = (0..30_000).map(|name| (format!("a{round}.{name}"), gauge.clone()));
        let row = Value::from(names.collect::<Map<_, _>>()).to_string();
        let now = app.clock.now();
        system_config::set(&db, system_config::USAGE, &row, now)
            .await
            .unwrap();
        site.database.execute(NEW_REVISION).await;
        app.knowledge.reload(None).await.unwrap();
        assert_eq!(app.meter.gauges().values().count(), MAX_SOURCES);
        assert_eq!(app.meter.usage(now).cameras, Some(7 + 255));
    }
    // Another service can still report, and is stored.
    assert_eq!(put("recorder-2", 5).await, Some(7 + 5 + 254));
    let row = system_config::get(&db, system_config::USAGE).await.unwrap();
    assert!(row.is_some_and(|row| row.contains("recorder-2") && row.len() < 100_000));
    // Nothing of the row outlives it.
    system_config::remove(&db, system_config::USAGE)
        .await
        .unwrap();
    app.knowledge.reload(None).await.unwrap();
    assert_eq!(app.meter.usage(app.clock.now()).cameras, Some(12));
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

/// An owner of the tables changes the columns' types, and defines functions that are found before
/// those of PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_of_any_type_are_cut() {
    let (site, _vendor, key) = standard(Engine::Postgres).await;
    let functions = "CREATE FUNCTION public.substr(text, integer, integer) RETURNS text \
         LANGUAGE sql AS $$SELECT repeat('y', 100000)$$; \
         CREATE FUNCTION public.count(integer) RETURNS text \
         LANGUAGE sql AS $$SELECT repeat('y', 100000)$$; \
         DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', \
         current_database()); END$$";
    site.database.execute(functions).await;
    let url = site.database.url.parse().unwrap();
    let store = Store::new(&url, Timeouts::default()).unwrap();
    let db = store.db();
    let id = system_config::get(&db, system_config::INSTALLATION_ID).await;
    assert!(id.unwrap().unwrap().len() < 100);
    let from = "2026-11-01T00:00:00Z".parse().unwrap();
    let days = local_license_validation_attempts::count_by_day(&db, from, 30).await;
    assert_eq!(days.unwrap()[0].all, 1);
    // Instants that the library cannot hold are the last or the first one.
    let endless = "UPDATE local_license_cache SET valid_until = 'infinity', \
                   last_validated_at = '-infinity', cached_at = '294000-01-01'";
    site.database.execute(endless).await;
    let cached = local_license_cache::find(&db, &key).await.unwrap().unwrap();
    assert_eq!(cached.valid_until.to_rfc3339(), "9999-12-31T00:00:00+00:00");
    assert_eq!(cached.cached_at, Some(cached.valid_until));
    let first = cached.last_validated_at.map(|at| at.to_rfc3339());
    assert_eq!(first.as_deref(), Some("0001-01-01T00:00:00+00:00"));
    assert_eq!(cached.grace_period_started_at, None);
    // What cannot be read is an error, and no longer than what is read.
    let change = |column: &str| {
        format!(
            "ALTER TABLE system_config ALTER {column} DROP DEFAULT, \
             ALTER {column} TYPE text USING repeat('x', 100000)"
        )
    };
    site.database.execute(&change("updated_at")).await;
    let expected = |kind| {
        format!(
            "invalid input syntax for type {kind}: \"{}\"",
            "x".repeat(64)
        )
    };
    let refused = system_config::get(&db, system_config::INSTALLATION_ID).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&expected("timestamp")), "{refused}");
    let undo = "ALTER TABLE system_config ALTER updated_at TYPE timestamp USING NULL";
    site.database.execute(undo).await;
    let long_id = change("id").replace("repeat", "id || repeat");
    site.database.execute(&long_id).await;
    let refused = system_config::get(&db, system_config::INSTALLATION_ID).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("invalid input syntax for type integer"),
        "{refused}"
    );
    assert!(refused.len() < 500, "{refused}");
    assert_eq!(store.missing_tables().await.unwrap(), Vec::<&str>::new());
    store.close().await;
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

async fn replicas_still_share_what_they_do(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let mut first = Site::start(engine, &vendor.url, &flags).await;
    first.stop().await;
    let mut other =
        Site::start_on(TestDatabase::same_as(&first.database), &vendor.url, &flags).await;
    other.stop().await;
    let (one, two) = (open(&first).await, open(&other).await);
    let shared = async |what: &str| {
        two.knowledge.reload(None).await.unwrap();
        let known = two.snapshot().evidence.clone();
        assert_eq!(known, one.snapshot().evidence, "{what}");
    };
    let advance = |by| {
        for clock in [&vendor.clock, &first.clock, &other.clock] {
            clock.advance(by);
        }
    };
    let keys = [
        vendor.issue_professional().await,
        vendor.issue_professional().await,
    ];
    for key in [&keys[0], &keys[1], &keys[0]] {
        activate(&one, key).await.unwrap();
        shared("an activation").await;
        advance(TimeDelta::minutes(10));
        validate(&one).await;
        shared("a validation").await;
        assert_eq!(standing(&two), Standing::Active);
        advance(TimeDelta::minutes(10));
    }
    switch(&one, "module.map_view", false).await.unwrap();
    shared("a switch").await;
    assert!(!may_use(&two, "module.map_view"));
    vendor.set_status(&keys[0], Status::Suspended, None).await;
    validate(&one).await;
    shared("a denial").await;
    assert_eq!(standing(&two).as_str(), "lapsed");
    vendor.set_status(&keys[0], Status::Active, None).await;
    advance(TimeDelta::minutes(10));
    validate(&one).await;
    shared("a new lease").await;
    assert_eq!(standing(&two), Standing::Active);
    deactivate(&one, false).await.unwrap();
    shared("a deactivation").await;
    assert_eq!(standing(&two), Standing::Unlicensed);
    advance(TimeDelta::minutes(10));
    activate(&one, &keys[0]).await.unwrap();
    shared("an activation of the same key").await;
    assert_eq!(standing(&two), Standing::Active);
    assert_eq!(events(&one) + events(&two), 0);
    one.store.close().await;
    two.store.close().await;
    first.end().await;
}

async fn what_is_read_together_is_of_one_moment(engine: Engine) {
    let (site, _vendor, _key) = standard(engine).await;
    let app = open(&site).await;
    let revision = system_config::REVISION;
    let reading = app.store.db().begin_reading().await.unwrap();
    let before = system_config::get(&reading, revision).await.unwrap();
    switch(&app, "module.map_view", false).await.unwrap();
    assert_eq!(
        system_config::get(&reading, revision).await.unwrap(),
        before
    );
    reading.rollback().await.unwrap();
    assert_ne!(app.store.revision().await.unwrap(), before);
    app.store.close().await;
    site.end().await;
}

async fn validations(site: &Site) -> usize {
    let log = "SELECT license_key FROM local_license_validation_attempts";
    site.database.texts(log).await.len()
}

async fn next_validation(site: &Site) -> i64 {
    let (_, metrics) = site.get("/metrics").await;
    let name = "foxsight_license_next_validation_timestamp_seconds ";
    let mut lines = metrics.as_str().unwrap().lines();
    let at = lines.find_map(|line| line.strip_prefix(name)).unwrap();
    at.parse::<f64>().unwrap() as i64
}

/// Runs it until its next validation is overdue, while `held_up` is done again and again.
async fn run_overdue(site: &Site, vendor: &Vendor, held_up: &str) {
    let before = validations(site).await;
    let advance = |by| {
        vendor.advance(by);
        site.advance(by);
    };
    let next = next_validation(site).await - site.now().timestamp();
    advance(TimeDelta::seconds(next) + TimeDelta::minutes(14));
    for _ in 0..3 {
        site.database.execute(held_up).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(validations(site).await, before, "not before it is overdue");
    assert_eq!(site.get("/readyz").await.1["schedule"], "ok");
    assert_eq!(security_events(site).await, 0);
    advance(TimeDelta::minutes(7));
    site.until("a validation that no other process makes", async || {
        site.database.execute(held_up).await;
        validations(site).await > before
    })
    .await;
    site.until("it is said", async || {
        site.get("/readyz").await.1["schedule"] != "ok"
    })
    .await;
    let (status, readiness) = site.get("/readyz").await;
    assert_eq!((status.as_u16(), &readiness["ready"]), (200, &json!(true)));
    let said = readiness["schedule"].as_str().unwrap();
    assert!(said.starts_with("stopped: no process makes"), "{said}");
    assert_eq!(security_events(site).await, 1);
    let (_, metrics) = site.get("/metrics").await;
    let metric = "foxsight_license_schedule_stopped 1";
    assert!(metrics.as_str().unwrap().contains(metric), "{metrics}");
    let (_, found) = site.post("/api/license/diagnostics", None).await;
    let findings = found["findings"].as_array().unwrap();
    let finding = findings.iter().find(|it| it["what"] == "scheduled calls");
    assert_eq!(finding.unwrap()["health"], "error", "{found}");
    assert_eq!(site.standing().await, "active");
}

async fn a_stopped_schedule_is_noticed_and_validations_are_made(engine: Engine) {
    let (mut site, vendor, _key) = standard(engine).await;
    let trigger = match engine {
        Engine::Sqlite => {
            "CREATE TRIGGER s1 BEFORE INSERT ON system_config \
             WHEN NEW.key = 'license_client.scheduler' BEGIN SELECT RAISE(IGNORE); END; \
             CREATE TRIGGER s2 BEFORE UPDATE ON system_config \
             WHEN NEW.key = 'license_client.scheduler' BEGIN SELECT RAISE(IGNORE); END"
        }
        Engine::Postgres => {
            "CREATE FUNCTION s() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
             IF NEW.key = 'license_client.scheduler' THEN RETURN NULL; END IF; RETURN NEW; END$$; \
             CREATE TRIGGER s BEFORE INSERT OR UPDATE ON system_config \
             FOR EACH ROW EXECUTE FUNCTION s()"
        }
    };
    site.database.execute(trigger).await;
    site.restart().await;
    run_overdue(&site, &vendor, "SELECT 1").await;
    // It is over when the lease can be kept again.
    let drop_it = match engine {
        Engine::Sqlite => "DROP TRIGGER s1; DROP TRIGGER s2",
        Engine::Postgres => "DROP TRIGGER s ON system_config",
    };
    site.database.execute(drop_it).await;
    site.until("it keeps the schedule", async || {
        site.get("/readyz").await.1["schedule"] == "ok"
    })
    .await;
    site.end().await;
}

async fn a_holder_of_the_schedule_that_never_calls_is_noticed(engine: Engine) {
    let (mut site, vendor, _key) = standard(engine).await;
    let random = match engine {
        Engine::Sqlite => "abs(random())",
        Engine::Postgres => "(random() * 1000000000)::bigint",
    };
    let held = format!(
        "UPDATE system_config SET value = '{{\"holder\": \"somebody\", \"fence\": 9, \
         \"renewedAt\": \"2026-01-01T00:00:00Z\", \"renewals\": ' || {random} || '}}' \
         WHERE key = 'license_client.scheduler'"
    );
    let row = "INSERT INTO system_config (key, value) VALUES ('license_client.scheduler', 'x') \
               ON CONFLICT (key) DO NOTHING";
    site.database.execute(&format!("{row}; {held}")).await;
    site.restart().await;
    run_overdue(&site, &vendor, &held).await;
    site.end().await;
}
