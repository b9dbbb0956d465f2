//! Texts, logs and columns of any size and type.

use chrono::TimeDelta;
use license_client::licensing::usage::report;
use license_client::store::local_license_validation_attempts::{self, LoggedAttempt};
use license_client::store::{Store, local_license_cache, system_config};
use license_core::standing::Standing;
use license_core::usage::{Gauge, MAX_SOURCES, Usage};
use license_service::database::Timeouts;
use serde_json::{Map, Value, json};

use super::{NEW_REVISION, open, standard, standing};
use crate::database::{Engine, on_both_engines};

on_both_engines! {
    texts_of_any_length_change_nothing_and_are_cut;
    a_log_of_long_messages_is_read_within_its_bounds;
    lines_are_removed_without_being_read;
    reports_in_the_database_do_not_displace_those_received_here;
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
    // The site may have validated in the meantime.
    let filled = |log: &[LoggedAttempt]| {
        let is_long = |text: &String| text.starts_with('😀');
        let line = log
            .iter()
            .find(|it| it.error_message.as_ref().is_some_and(is_long));
        line.unwrap().clone()
    };
    let message = filled(&log).error_message;
    assert_eq!(message.as_deref(), Some(&*"😀".repeat(1_000)));
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
    let line = filled(&log);
    assert_eq!(line.result.len(), 255);
    assert_eq!(line.hardware_id.unwrap().len(), 255);
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
