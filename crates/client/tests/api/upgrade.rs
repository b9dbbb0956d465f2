//! Databases that the Python service has left: nothing is lost, and it can go
//! on with them.

use std::collections::BTreeSet;
use std::process::Command;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use license_client::store::left_behind;
use serde_json::{Value, json};

use crate::database::{Engine, TestDatabase};
use crate::harness::{KEY, START, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

/// Databases in a default run; `UPGRADE_DATABASES` changes it.
const USUAL: usize = 60;
const NO_IDS: [&str; 4] = ["--installation-id", "", "--license-hardware-id", ""];

fn recorded_schema() -> String {
    include_str!("../fixtures/contract/schema.sql")
        .lines()
        .filter(|line| !line.contains(" OWNER TO ") && !line.contains("search_path"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn now() -> DateTime<Utc> {
    START.parse().unwrap()
}

fn sql(at: Option<DateTime<Utc>>) -> String {
    at.map_or("NULL".into(), |at| format!("'{}'", at.naive_utc()))
}

/// What one generated database holds, and what has to come of it.
#[derive(Debug)]
struct Left {
    number: usize,
    grace: Grace,
    licenses: usize,
    newest_success: Option<&'static str>,
    installation: bool,
    switched_off: Option<bool>,
    data: Value,
    valid_flag: &'static str,
    log_rows: usize,
    others_tables: bool,
    without_create: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grace {
    None,
    Running,
    Over,
    /// Marked as running, without a start.
    Odd,
}

impl Left {
    /// The numbers count through the variations, each at its own pace, so that
    /// they meet in ever new combinations.
    fn number(number: usize) -> Self {
        let pick = |pace: usize, of: usize| (number / pace + number) % of;
        let features = json!(["module.map_view", "module.analytics_advanced"]);
        let data = match pick(7, 8) {
            0 => {
                json!({"licenseKey": KEY, "enabledFeatures": features, "maxCameras": 64.5, "maxUsers": -1})
            }
            1 => json!({"enabledFeatures": features, "expiresAt": null}),
            2 => {
                json!({"licenseKey": null, "tier": 7, "enabledFeatures": features, "expiresAt": "soon"})
            }
            3 => {
                json!({"enabledFeatures": ["module.map_view", "module.map_view", 7, null, "x".repeat(101), "module.analytics_advanced"]})
            }
            4 => {
                json!({"tier": "professional", "enabledFeatures": features, "nested": {"é": [1, 2.50, 1e30]}})
            }
            _ => crate::scripted_cloud::usual_license(KEY),
        };
        Self {
            number,
            grace: [Grace::None, Grace::Running, Grace::Over, Grace::Odd][pick(1, 4)],
            licenses: [1, 1, 2, 3][pick(3, 4)],
            newest_success: [Some("hw-of-this-machine"), None, Some("42aac9ae7f559498")]
                [pick(5, 3)],
            installation: pick(11, 5) != 0,
            switched_off: [None, Some(true), Some(false)][pick(2, 3)],
            data,
            valid_flag: ["true", "true", "NULL"][pick(13, 3)],
            log_rows: if number % 20 == 7 { 12_000 } else { number % 5 },
            others_tables: pick(17, 2) == 0,
            without_create: pick(19, 3) == 0,
        }
    }

    fn grace_start(&self) -> Option<DateTime<Utc>> {
        match self.grace {
            Grace::None | Grace::Odd => None,
            Grace::Running => Some(now() - TimeDelta::hours(10 + (self.number % 50) as i64)),
            Grace::Over => Some(now() - TimeDelta::hours(100)),
        }
    }

    fn statements(&self) -> String {
        let mut all = String::new();
        let mut add = |statement: String| {
            all.push_str(&statement);
            all.push_str(";\n");
        };
        for older in 1..self.licenses {
            // Difference 10: the last one activated counts.
            add(format!(
                "INSERT INTO local_license_cache (license_key, license_data, cached_at, valid_until, is_valid, license_signature) \
                 VALUES ('OLD-{older}', '{{\"enabledFeatures\": []}}', {}, {}, true, 'x')",
                sql((older == 1).then(|| now() - TimeDelta::days(400))),
                sql(Some(now() + TimeDelta::days(20))),
            ));
        }
        let start = self.grace_start();
        add(format!(
            "INSERT INTO local_license_cache (license_key, license_data, cached_at, valid_until, last_validated_at, is_valid, \
             in_grace_period, grace_period_started_at, grace_period_expires_at, license_signature) \
             VALUES ('{KEY}', '{}', {}, {}, {}, {}, {}, {}, {}, 'x')",
            self.data.to_string().replace('\'', "''"),
            sql(Some(now() - TimeDelta::days(3))),
            sql(Some(
                now() + TimeDelta::days((self.number % 40) as i64 - 10)
            )),
            sql(self
                .number
                .is_multiple_of(2)
                .then(|| now() - TimeDelta::hours(5))),
            self.valid_flag,
            self.grace != Grace::None,
            sql(start),
            sql(start.map(|start| start + TimeDelta::hours(72))),
        ));
        if self.installation {
            add(format!(
                "INSERT INTO system_config (key, value) VALUES ('installation_id', 'site-{}')",
                self.number
            ));
        }
        add(format!(
            "INSERT INTO local_license_validation_attempts (license_key, result, hardware_id, attempted_at) \
             SELECT 'OLD-1', 'success', 'another-machine', TIMESTAMP '2026-01-01' FROM generate_series(1, {})",
            self.log_rows
        ));
        if let Some(id) = self.newest_success {
            let attempt = "INSERT INTO local_license_validation_attempts (license_key, result, hardware_id, attempted_at) VALUES";
            add(format!(
                "{attempt} ('{KEY}', 'success', 'replaced-since', NULL)"
            ));
            add(format!(
                "{attempt} ('{KEY}', 'success', '{id}', '2026-11-20')"
            ));
            add(format!(
                "{attempt} ('{KEY}', 'success', NULL, '2026-11-21')"
            ));
            add(format!(
                "{attempt} ('{KEY}', 'failed', 'elsewhere', '2026-11-22')"
            ));
        }
        for (key, switch) in [
            ("module.map_view", self.switched_off),
            ("module.live_view", Some(true)),
            ("module.analytics_advanced", None),
        ] {
            let switch = switch.map_or("NULL", |off| if off { "false" } else { "true" });
            add(format!(
                "INSERT INTO local_feature_flags (feature_key, enabled, licensed, system_enabled) VALUES ('{key}', true, true, {switch})"
            ));
        }
        if self.others_tables {
            add("CREATE SCHEMA vms; CREATE TABLE vms.system_config (key int); CREATE TABLE cameras (id int); INSERT INTO cameras VALUES (1), (2)".into());
        }
        all
    }

    /// What is wrong with how the site stands, if anything.
    fn complaint(
        &self,
        status: &Value,
        health: &Value,
        map_view: bool,
        analytics: bool,
    ) -> Option<String> {
        let (standing, ends) = match self.grace_start() {
            Some(start) if start + TimeDelta::hours(72) < now() => ("lapsed", None),
            start => ("grace", Some(start.unwrap_or(now()) + TimeDelta::hours(72))),
        };
        let expect =
            |what: &str, holds: bool| (!holds).then(|| format!("{what}: {status} {health}"));
        let shown = status["gracePeriodExpires"].as_str();
        let shown = shown.map(|text| text.parse::<NaiveDateTime>().unwrap().and_utc());
        let installation = health["installationId"].as_str().unwrap();
        let hardware = health["hardwareId"].as_str().unwrap();
        let on = standing == "grace";
        expect("standing", status["standing"] == standing)
            .or_else(|| expect("grace", shown == ends))
            .or_else(|| expect("license", status["licenseKey"] == KEY))
            .or_else(|| {
                expect(
                    "installation",
                    !self.installation || installation == format!("site-{}", self.number),
                )
            })
            .or_else(|| {
                expect(
                    "hardware",
                    self.newest_success
                        .map_or(hardware.len() == 64, |id| id == hardware),
                )
            })
            .or_else(|| {
                expect(
                    "override",
                    map_view == (on && self.switched_off != Some(true)),
                )
            })
            .or_else(|| expect("feature", analytics == on))
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn databases() -> usize {
    let number = std::env::var("UPGRADE_DATABASES").ok();
    number.map_or(USUAL, |number| number.parse().unwrap())
}

const TABLES: &str = "SELECT concat_ws(' ', table_schema, table_name, column_name, data_type, character_maximum_length, \
     is_nullable, column_default) FROM information_schema.columns WHERE table_schema IN ('public', 'vms') \
     UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'vms')";

async fn tables(database: &TestDatabase) -> BTreeSet<String> {
    database.texts(TABLES).await.into_iter().flatten().collect()
}

/// A user who may use the tables, and make none.
fn grant(role: &str) -> String {
    format!(
        "CREATE ROLE {role} LOGIN; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_data_of_the_python_service_is_taken_over() {
    let cloud = ScriptedCloud::start().await;
    cloud.always(Some(Scripted::new(503, "")));
    let mut complaints = Vec::new();
    for number in 0..databases() {
        let left = Left::number(number);
        let database = TestDatabase::new(Engine::Postgres).await;
        database.execute(&recorded_schema()).await;
        database.execute(&left.statements()).await;
        let before = tables(&database).await;
        let mut used = TestDatabase::same_as(&database);
        let role = format!(
            "upgrade_{number}_{}",
            database.url.rsplit('_').next().unwrap()
        );
        if left.without_create {
            database.execute(&grant(&role)).await;
            used.url = used.url.replace("postgres@", &format!("{role}@"));
        }
        let mut site = Site::start_on(used, &cloud.url, &NO_IDS).await;
        let known = async |site: &Site| {
            let (map_view, analytics) = (
                site.is_available("module.map_view").await,
                site.is_available("module.analytics_advanced").await,
            );
            assert!(site.is_available("module.live_view").await);
            (
                site.status().await,
                site.get("/health").await.1,
                map_view,
                analytics,
            )
        };
        // Immediately, and after a restart, when it has been recorded.
        let (status, health, map_view, analytics) = known(&site).await;
        let first = left.complaint(&status, &health, map_view, analytics);
        site.restart().await;
        let (status, again, map_view, analytics) = known(&site).await;
        let second = left.complaint(&status, &again, map_view, analytics);
        site.stop().await;
        let ids = (health == again)
            .then_some(())
            .map_or(Some(format!("ids: {health} {again}")), |()| None);
        let altered = (before != tables(&database).await).then(|| "a table was altered".to_owned());
        if let Some(complaint) = first.or(second).or(ids).or(altered) {
            complaints.push(format!("{left:?}\n  {complaint}"));
        }
        if left.without_create {
            database
                .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
                .await;
        }
        database.drop_database().await;
    }
    assert!(
        complaints.is_empty(),
        "{} wrong, the first: {}",
        complaints.len(),
        complaints[0]
    );
    println!(
        "{} databases of the Python service were taken over",
        databases()
    );
}

fn version_1(database: &TestDatabase, arguments: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/version_1.py");
    let output = Command::new("/usr/bin/python3")
        .args([script, &database.url])
        .args(arguments)
        .output()
        .expect("python3 is installed by 'cargo xtask test'");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_service_can_take_over_and_give_it_back() {
    let cloud = ScriptedCloud::start().await;
    let database = TestDatabase::new(Engine::Postgres).await;
    // Before: made by SQLAlchemy, activated, gone offline.
    version_1(&database, &["activate", "KEY-OF-PYTHON"].map(|a| a));
    database
        .execute("INSERT INTO system_config (key, value) VALUES ('installation_id', 'site-py')")
        .await;
    version_1(&database, &["offline"]);
    let before = tables(&database).await;

    let used = TestDatabase::same_as(&database);
    let mut site = Site::start_on(used, &cloud.url, &NO_IDS).await;
    site.until("it is confirmed", async || {
        site.standing().await == "active"
    })
    .await;
    let (_, health) = site.get("/health").await;
    assert_eq!(
        (&health["installationId"], &health["hardwareId"]),
        (&json!("site-py"), &json!("of-version-1"))
    );
    site.activate(KEY).await;
    site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    )
    .await;
    site.stop().await;

    // Rolled back: it finds the license, the features and the switch.
    let read = version_1(&database, &["read"]);
    assert_eq!(read["licenseKey"], KEY);
    assert_eq!(read["installationId"], "site-py");
    assert_eq!(read["license"], crate::scripted_cloud::usual_license(KEY));
    assert_eq!(read["flags"]["module.map_view"], json!([true, false]));
    assert_eq!(
        version_1(&database, &["check", "module.analytics_advanced"]),
        true
    );
    assert_eq!(version_1(&database, &["check", "module.map_view"]), false);
    for step in [
        &["validate"][..],
        &["heartbeat"],
        &["offline"],
        &["activate", "SECOND-OF-PYTHON"],
    ] {
        version_1(&database, step);
    }

    // And forward again: the license that it has activated is the one.
    site.restart().await;
    site.until("it is confirmed", async || {
        site.standing().await == "active"
    })
    .await;
    assert_eq!(site.status().await["licenseKey"], "SECOND-OF-PYTHON");
    assert_eq!(site.get("/health").await.1["hardwareId"], "of-version-1");
    assert!(!site.is_available("module.map_view").await);

    // In turn, while we run: neither disturbs the other.
    for step in [
        &["heartbeat"][..],
        &["validate"],
        &["check", "module.map_view"],
        &["read"],
    ] {
        version_1(&database, step);
        assert_eq!(site.validate().await["valid"], true);
    }
    site.stop().await;
    assert_eq!(
        version_1(&database, &["read"])["licenseKey"],
        "SECOND-OF-PYTHON"
    );
    assert_eq!(tables(&database).await, before);
    database.drop_database().await;
}

/// Without `DATABASE_URL` the service looks whether one was left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_left_behind_is_found() {
    let database = TestDatabase::new(Engine::Postgres).await;
    assert_eq!(left_behind::licenses(&database.url).await, None);
    database.execute(&recorded_schema()).await;
    assert_eq!(left_behind::licenses(&database.url).await, Some(0));
    database.execute(&Left::number(0).statements()).await;
    assert_eq!(left_behind::licenses(&database.url).await, Some(1));
    let nobody = "postgresql://u:p@127.0.0.1:1/d";
    assert_eq!(left_behind::licenses(nobody).await, None);
    database.drop_database().await;
}
