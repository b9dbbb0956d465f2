//! A user of the database removes rows and puts them back with other texts in them: the license
//! stays the one that its document names, and no text grows without a bound.

use std::sync::Arc;

use chrono::TimeDelta;
use license_client::app::App;
use license_client::licensing::validate::validate;
use license_client::metrics::Readings;
use license_core::standing::Standing;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::vendor::Vendor;

on_both_engines! {
    a_row_that_is_put_back_with_another_key_keeps_that_of_its_document;
    another_key_beside_the_license_is_replaced;
    another_key_in_the_local_copy_is_replaced;
    a_license_of_another_machine_is_asked_about_with_its_own_key;
    a_memo_that_is_put_back_says_nothing;
    a_failure_in_the_memo_is_bounded;
    a_long_key_of_an_unsigned_license_is_normalised;
    changes_of_others_do_not_make_the_log_of_attempts_be_read_again;
}

const OTHER_KEY: &str = "FXSGHT-AQYX-GBGJ-3R39-FGHE";
const NEW_REVISION: &str =
    "UPDATE system_config SET value = 'x' WHERE key = 'license_client.revision'";
const VALID_KEYS: &str = "SELECT license_key FROM local_license_cache WHERE is_valid";

/// A site with a license, without its jobs: what happens is what the test does.
struct Edited {
    site: Site,
    vendor: Vendor,
    key: String,
    app: Arc<App>,
}

impl Edited {
    async fn new(engine: Engine, is_signed: bool) -> Self {
        let vendor = Vendor::start().await;
        let keys = vendor.trusted_keys();
        let flags = ["--license-trusted-keys", keys.as_str()];
        let flags = if is_signed { &flags[..] } else { &[] };
        let mut site = Site::start(engine, &vendor.url, flags).await;
        let key = vendor.issue_professional().await;
        site.activate(&key).await;
        site.stop().await;
        // An owner of the tables changes the type of a column.
        if engine == Engine::Postgres {
            let widen = "ALTER TABLE local_license_cache ALTER license_key TYPE text";
            site.database.execute(widen).await;
        }
        let app = open(&site).await;
        Self {
            site,
            vendor,
            key,
            app,
        }
    }

    async fn edit(&self, sql: &str) {
        let sql = format!("{sql}; {NEW_REVISION}");
        self.site.database.execute(&sql).await;
        self.app.knowledge.reload(None).await.unwrap();
    }

    /// Removes the row and the memo, lets the service see that, and puts them back after `change`.
    async fn put_back(&self, change: &str) {
        let tables = "CREATE TABLE copied AS SELECT * FROM local_license_cache WHERE is_valid; \
                      CREATE TABLE copied_memo AS SELECT * FROM system_config \
                      WHERE key = 'license_client.evidence'; \
                      DELETE FROM local_license_cache; \
                      DELETE FROM system_config WHERE key = 'license_client.evidence'";
        self.edit(tables).await;
        assert_eq!(self.standing(), Standing::Unlicensed);
        let put_back = "INSERT INTO local_license_cache SELECT * FROM copied; \
                        INSERT INTO system_config SELECT * FROM copied_memo; \
                        DROP TABLE copied; DROP TABLE copied_memo";
        self.edit(&format!("{change}; {put_back}")).await;
    }

    /// Two statements that give the row and the memo in these tables another key.
    fn other_key(&self, key: &str, row: &str, memo: &str) -> String {
        let old = &self.key;
        format!(
            "UPDATE {row} SET license_key = '{key}'; UPDATE {memo} SET value = \
             replace(value, '{old}', '{key}') WHERE key = 'license_client.evidence'"
        )
    }

    fn standing(&self) -> Standing {
        self.app.snapshot().standing(self.app.clock.now())
    }

    fn events(&self) -> u64 {
        let text = self.app.metrics.text(&Readings::new()).unwrap();
        let name = "foxsight_license_security_events_total ";
        let count = text.lines().find_map(|line| line.strip_prefix(name));
        count.unwrap().parse().unwrap()
    }

    /// The license is active, with its key in the row, and the License Server confirms it.
    async fn assert_confirmed(&self, case: &str) {
        assert_eq!(self.standing(), Standing::Active, "{case}");
        let keys = self.site.database.texts(VALID_KEYS).await;
        assert_eq!(keys, [Some(self.key.clone())], "{case}");
        self.site.advance(TimeDelta::minutes(2));
        self.vendor.advance(TimeDelta::minutes(2));
        validate(&self.app).await;
        assert_eq!(self.standing(), Standing::Active, "{case}");
        let evidence = &self.app.snapshot().evidence;
        assert_eq!(evidence.last_failure, None, "{case}");
        assert_eq!(evidence.confirmed_at, Some(self.app.clock.now()), "{case}");
    }

    async fn restart(&mut self) {
        self.app.store.close().await;
        self.app = open(&self.site).await;
    }

    async fn end(self) {
        self.app.store.close().await;
        self.site.end().await;
    }
}

async fn open(site: &Site) -> Arc<App> {
    let app = Arc::new(App::new(site.settings(), site.clock.clone()).unwrap());
    app.knowledge.load().await.unwrap();
    app
}

/// The key with so many separators that no License Server accepts it, and another one.
fn other_keys(key: &str) -> [String; 2] {
    [format!("{key}{}", "-".repeat(1_000)), OTHER_KEY.to_owned()]
}

async fn a_row_that_is_put_back_with_another_key_keeps_that_of_its_document(engine: Engine) {
    let mut edited = Edited::new(engine, true).await;
    for other in other_keys(&edited.key) {
        let before = edited.events();
        let change = edited.other_key(&other, "copied", "copied_memo");
        edited.put_back(&change).await;
        assert_eq!(edited.events(), before + 1, "{other}");
        edited.assert_confirmed(&other).await;
        edited.restart().await;
        edited.assert_confirmed(&other).await;
        // Then the rows may be rewritten again.
        edited.site.advance(TimeDelta::minutes(2));
    }
    edited.end().await;
}

async fn another_key_beside_the_license_is_replaced(engine: Engine) {
    let mut edited = Edited::new(engine, true).await;
    for other in other_keys(&edited.key) {
        for is_running in [true, false] {
            let before = edited.events();
            let change = edited.other_key(&other, "local_license_cache", "system_config");
            let change = change.replacen(';', " WHERE is_valid;", 1);
            let remove = format!("DELETE FROM local_license_cache WHERE license_key = '{other}'");
            let change = format!("{remove}; {change}");
            if is_running {
                edited.edit(&change).await;
                assert_eq!(edited.events(), before + 1, "{other}");
            } else {
                // Without the local copy, the rows are all there is.
                edited.site.database.execute(&change).await;
                std::fs::remove_file(edited.site.state_file("local-copy.json")).unwrap();
                edited.restart().await;
                assert_eq!(edited.events(), 1, "{other}");
            }
            edited.assert_confirmed(&other).await;
            edited.site.advance(TimeDelta::minutes(2));
        }
    }
    edited.end().await;
}

async fn another_key_in_the_local_copy_is_replaced(engine: Engine) {
    let mut edited = Edited::new(engine, true).await;
    for other in other_keys(&edited.key) {
        let remove = format!("DELETE FROM local_license_cache WHERE license_key = '{other}'");
        let change = edited.other_key(&other, "local_license_cache", "system_config");
        let change = change.replacen(';', " WHERE is_valid;", 1);
        let database = &edited.site.database;
        database.execute(&format!("{remove}; {change}")).await;
        let file = edited.site.state_file("local-copy.json");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut copy: Value = serde_json::from_str(&text).unwrap();
        let mut rows: Value = serde_json::from_str(copy["rows"].as_str().unwrap()).unwrap();
        for place in ["cached", "memo"] {
            assert_eq!(rows[place]["licenseKey"], json!(edited.key));
            rows[place]["licenseKey"] = json!(other);
        }
        copy["rows"] = rows.to_string().into();
        std::fs::write(&file, copy.to_string()).unwrap();
        edited.restart().await;
        assert!(edited.events() > 0, "{other}");
        edited.assert_confirmed(&other).await;
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&other), "{other}");
    }
    edited.end().await;
}

async fn a_license_of_another_machine_is_asked_about_with_its_own_key(engine: Engine) {
    let mut edited = Edited::new(engine, true).await;
    let padded = &other_keys(&edited.key)[0];
    let change = edited.other_key(padded, "local_license_cache", "system_config");
    edited.site.database.execute(&change).await;
    edited.app.store.close().await;
    for name in ["local-copy.json", "time.json"] {
        std::fs::remove_file(edited.site.state_file(name)).unwrap();
    }
    let mut settings = edited.site.settings().clone();
    settings.license_hardware_id = Some("another-machine".to_owned());
    edited.app = Arc::new(App::new(&settings, edited.site.clock.clone()).unwrap());
    edited.app.knowledge.load().await.unwrap();
    assert!(matches!(edited.standing(), Standing::Lapsed(_)));
    assert_eq!(edited.events(), 1);
    let keys = edited.site.database.texts(VALID_KEYS).await;
    assert_eq!(keys, [Some(edited.key.clone())]);
    edited.end().await;
}

fn many(engine: Engine, text: &str, times: usize) -> String {
    match engine {
        Engine::Sqlite => format!("replace(hex(zeroblob({times})), '00', '{text}')"),
        Engine::Postgres => format!("repeat('{text}', {times})"),
    }
}

/// A statement that puts a failure with long texts into the memo in this table.
fn long_failure(engine: Engine, memo: &str) -> String {
    let long = many(engine, "😀", 200_000);
    format!(
        "UPDATE {memo} SET value = replace(value, '\"lastFailure\":null', '\"lastFailure\":\
         {{\"at\":\"2026-11-23T21:00:00Z\",\"reason\":\"' || {long} || '\",\"denied\":false,\
         \"message\":\"' || {long} || '\"}}') WHERE key = 'license_client.evidence'"
    )
}

async fn a_memo_that_is_put_back_says_nothing(engine: Engine) {
    let mut edited = Edited::new(engine, true).await;
    let columns = "UPDATE copied SET in_grace_period = true, \
                   grace_period_started_at = '2026-11-23 20:58:11', \
                   last_validated_at = '2026-11-23 22:50:00', validation_error = 'x'";
    let change = format!("{columns}; {}", long_failure(engine, "copied_memo"));
    edited.site.advance(TimeDelta::hours(1));
    edited.vendor.advance(TimeDelta::hours(1));
    edited.put_back(&change).await;
    for _ in 0..2 {
        let evidence = edited.app.snapshot().evidence.clone();
        assert_eq!(edited.standing(), Standing::Active);
        assert_eq!(evidence.last_failure, None);
        assert_eq!(evidence.confirmed_at, evidence.newest_signed_at());
        assert_eq!(evidence.activated_at, evidence.newest_signed_at());
        assert!(!evidence.server_in_grace);
        let file = edited.site.state_file("local-copy.json");
        assert!(std::fs::metadata(file).unwrap().len() < 20_000);
        edited.restart().await;
    }
    edited.assert_confirmed("after the validation").await;
    edited.end().await;
}

async fn a_failure_in_the_memo_is_bounded(engine: Engine) {
    let mut edited = Edited::new(engine, false).await;
    edited.edit(&long_failure(engine, "system_config")).await;
    for _ in 0..2 {
        let failure = edited.app.snapshot().evidence.last_failure.clone();
        let shown = format!("{:?}", failure.unwrap());
        assert_eq!(shown.matches('😀').count(), 1_100);
        edited.restart().await;
    }
    edited.end().await;
}

async fn a_long_key_of_an_unsigned_license_is_normalised(engine: Engine) {
    let mut edited = Edited::new(engine, false).await;
    let padded = &other_keys(&edited.key)[0];
    for is_running in [true, false] {
        let before = edited.events();
        let remove = format!("DELETE FROM local_license_cache WHERE license_key = '{padded}'");
        let change = edited.other_key(padded, "local_license_cache", "system_config");
        let change = format!("{remove}; {change}");
        if is_running {
            edited.edit(&change).await;
            assert_eq!(edited.events(), before + 1);
        } else {
            edited.site.database.execute(&change).await;
            edited.restart().await;
            assert_eq!(edited.events(), 1);
        }
        edited.assert_confirmed(padded).await;
        edited.site.advance(TimeDelta::minutes(2));
    }
    edited.end().await;
}

async fn changes_of_others_do_not_make_the_log_of_attempts_be_read_again(engine: Engine) {
    let edited = Edited::new(engine, true).await;
    let lines = async || edited.app.attempts.newest().await.unwrap().len();
    assert_eq!(lines().await, 1);
    let add = "INSERT INTO local_license_validation_attempts (license_key, result, attempted_at) \
               VALUES ('x', 'success', '2026-11-23 20:58:11')";
    for _ in 0..3 {
        edited.edit(add).await;
        assert_eq!(lines().await, 1, "read again before it was due");
    }
    // Lines of this process are in it immediately.
    validate(&edited.app).await;
    assert_eq!(lines().await, 5);
    edited.end().await;
}

/// PostgreSQL alone has messages that a trigger composes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_of_a_trigger_is_cut_wherever_it_is_shown() {
    let mut edited = Edited::new(Engine::Postgres, true).await;
    edited.app.store.close().await;
    let trigger = "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN RAISE EXCEPTION USING MESSAGE = E'\\u001b' || repeat('A', 1000000); END$$; \
         CREATE TRIGGER boom BEFORE UPDATE ON system_config \
         FOR EACH ROW EXECUTE FUNCTION boom()";
    edited.site.database.execute(trigger).await;
    edited.site.restart().await;
    let (_, readiness) = edited.site.get("/readyz").await;
    let said = readiness["database"].as_str().unwrap();
    assert!(said.contains("AAAA"), "{said}");
    for path in ["/readyz", "/metrics", "/api/license/status"] {
        let (_, body) = edited.site.get(path).await;
        let body = body.to_string();
        assert!(body.matches('A').count() < 3_000, "{path}: {}", body.len());
        assert!(
            !body.contains('\u{1b}') && !body.contains("u001b"),
            "{path}"
        );
    }
    edited.site.end().await;
}
