//! The database is away, slow, read-only or full of others: checks and status
//! are answered from memory, and what could not be written is written later.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use chrono::TimeDelta;
use license_service::database::Timeouts;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::database_gate::{Gate, Way};
use crate::harness::{HARDWARE_ID, INSTALLATION_ID, KEY, Site};
use crate::pgbouncer::PgBouncer;
use crate::program::Program;
use crate::scripted_cloud::{Scripted, ScriptedCloud};

/// A fifth of the real ones.
fn short() -> Timeouts {
    let real = Timeouts::default();
    Timeouts {
        wait: real.wait / 5,
        ping: real.ping / 5,
        statement: real.statement / 5,
        transaction: real.transaction / 5,
        check: real.check / 4,
        starved: real.starved / 5,
        ..real
    }
}

async fn site_behind_gate(cloud: &ScriptedCloud, flags: &[&str]) -> (Site, Gate, TestDatabase) {
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let site = Site::start_on(through, &cloud.url, flags).await;
    (site, gate, direct)
}

/// Checks and status are answered immediately.
async fn answers_from_memory(site: &Site) {
    let start = Instant::now();
    for _ in 0..10 {
        assert!(site.is_available("module.map_view").await);
        assert_eq!(site.get("/livez").await.0, StatusCode::OK);
        assert_eq!(site.status().await["hasLicense"], true);
    }
    let each = start.elapsed() / 30;
    assert!(each < Duration::from_millis(100), "{each:?}");
}

async fn ready(site: &Site) -> bool {
    site.get("/readyz").await.0 == StatusCode::OK
}

async fn until_ready(site: &Site) {
    site.until("the service is ready", async || ready(site).await)
        .await;
}

async fn rows(database: &TestDatabase, sql: &str) -> Vec<String> {
    database.texts(sql).await.into_iter().flatten().collect()
}

const RESULTS: &str = "SELECT result FROM local_license_validation_attempts ORDER BY id";
const GRACE: &str = "SELECT grace_period_started_at::text FROM local_license_cache";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_memory_answers_and_the_rest_is_written_later() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    assert!(ready(&site).await);

    gate.set(Way::Cut);
    cloud.always(Some(Scripted::new(503, "")));
    let answer = site.validate().await;
    assert_eq!(answer["inGracePeriod"], true);
    answers_from_memory(&site).await;
    let (status, readiness) = site.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(readiness["unwritten"], true);
    let (_, metrics) = site.get("/metrics").await;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("foxsight_license_unwritten_changes 1")
    );
    let ends = site.status().await["gracePeriodExpires"].clone();

    // Neither is it forgotten by a restart without the database.
    site.advance(TimeDelta::hours(1));
    site.restart().await;
    answers_from_memory(&site).await;
    assert_eq!(site.status().await["gracePeriodExpires"], ends);
    let (_, health) = site.get("/health").await;
    assert_eq!(health["installationId"], INSTALLATION_ID);
    assert_eq!(health["hardwareId"], HARDWARE_ID);
    assert_eq!(rows(&direct, RESULTS).await, ["success"]);

    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(site.status().await["gracePeriodExpires"], ends);
    let results = rows(&direct, RESULTS).await;
    assert!(
        results.len() >= 2 && results[1..].iter().all(|it| it == "offline"),
        "{results:?}"
    );
    assert_eq!(rows(&direct, GRACE).await.len(), 1);

    cloud.always(None);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(site.standing().await, "active");
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_without_the_database_waits_until_it_is_available() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Cut).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    assert!(site.is_available("module.live_view").await);
    assert!(!site.is_available("module.map_view").await);
    assert_eq!(site.get("/health").await.1["installationId"], Value::Null);
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(
        cloud.arrived().is_empty(),
        "no seat is taken that could not be stored"
    );
    let (_, readiness) = site.get("/readyz").await;
    assert!(!readiness["database"].as_str().unwrap().is_empty());

    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    assert_eq!(
        site.get("/health").await.1["installationId"],
        INSTALLATION_ID
    );
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_delays_callers_only_briefly() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    gate.set(Way::Silent);
    let start = Instant::now();
    let (activation, ()) = tokio::join!(site.activate("another"), answers_from_memory(&site));
    assert_eq!(
        activation.0,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        activation.1
    );
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(site.status().await["licenseKey"], KEY);
    assert!(!ready(&site).await);
    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(site.activate("another").await.0, StatusCode::OK);
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_restarted_is_used_again() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    for _ in 0..3 {
        gate.set(Way::Cut);
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.set(Way::Open);
        assert_eq!(site.validate().await["valid"], true);
        let (status, answer) = site.activate(KEY).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    until_ready(&site).await;
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_reported_and_caught_up_with() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    let name = direct.url.rsplit('/').next().unwrap().to_owned();
    let set =
        |value: &str| format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    direct.execute(&set("on")).await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    site.until("it is not ready", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("read-only"))
    })
    .await;
    cloud.always(Some(Scripted::new(503, "")));
    assert_eq!(site.validate().await["inGracePeriod"], true);
    let body = json!({"source": "s", "cameras": 7});
    assert_eq!(site.put("/api/license/usage", body).await.1["cameras"], 7);
    answers_from_memory(&site).await;
    let switch = site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    );
    assert_eq!(switch.await.0, StatusCode::SERVICE_UNAVAILABLE);

    let back = format!("BEGIN READ WRITE; {}; COMMIT", set("off"));
    direct.execute(&back).await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    until_ready(&site).await;
    assert_eq!(rows(&direct, GRACE).await.len(), 1);
    let usage = "SELECT value FROM system_config WHERE key = 'license_client.usage'";
    assert!(rows(&direct, usage).await[0].contains("\"cameras\":7"));
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_that_take_all_connections_only_delay_what_is_written() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let name = direct.url.rsplit('/').next().unwrap().to_owned();
    let role = format!("user_{name}");
    direct
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}"
        ))
        .await;
    let mut limited = TestDatabase::same_as(&direct);
    limited.url = limited.url.replace("postgres@", &format!("{role}@"));
    let gate = Gate::before(&limited, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    site.activate(KEY).await;

    direct
        .execute(&format!("ALTER ROLE {role} CONNECTION LIMIT 0"))
        .await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    assert_eq!(site.validate().await["valid"], true);
    answers_from_memory(&site).await;
    site.until("it says why", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("too many connections"))
    })
    .await;
    direct
        .execute(&format!("ALTER ROLE {role} CONNECTION LIMIT -1"))
        .await;
    until_ready(&site).await;
    assert_eq!(rows(&direct, RESULTS).await, ["success", "success"]);
    site.stop().await;
    direct
        .execute(&format!(
            "REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}"
        ))
        .await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_server_that_takes_no_changes_are_left() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    let name = direct.url.rsplit('/').next().unwrap().to_owned();
    let set = |value: &str| {
        format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {value}; COMMIT"
        )
    };
    direct.execute(&set("on")).await;
    gate.set(Way::Cut);
    gate.set(Way::Open);
    site.until("it is not ready", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("read-only"))
    })
    .await;
    // Sessions created in between are not ended.
    direct.execute(&set("off")).await;
    let (status, answer) = site.activate("another").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    until_ready(&site).await;
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_host_vanishes_is_used_again_when_there_is_another() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_with_timeouts(through, &cloud.url, short()).await;
    site.activate(KEY).await;
    gate.set(Way::Vanished);
    let start = Instant::now();
    let changes = (0..4).map(|_| {
        site.put(
            "/api/license/features/module.map_view",
            json!({"systemEnabled": false}),
        )
    });
    let (changes, ()) = tokio::join!(
        futures_util::future::join_all(changes),
        answers_from_memory(&site)
    );
    for (status, body) in changes {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    }
    assert!(!ready(&site).await);
    let away = start.elapsed();
    gate.set(Way::Open);
    until_ready(&site).await;
    let back = start.elapsed() - away;
    println!("away for {away:?}, back after {back:?}");
    let (status, body) = site
        .put(
            "/api/license/features/module.map_view",
            json!({"systemEnabled": true}),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_database_answers_immediately() {
    let cloud = ScriptedCloud::start().await;
    let (mut site, gate, direct) = site_behind_gate(&cloud, &[]).await;
    site.activate(KEY).await;
    site.stop().await;
    for way in [Way::Silent, Way::Cut, Way::Vanished] {
        gate.set(way);
        let took = site.start_again().await;
        assert!(took < Duration::from_secs(2), "{way:?}: {took:?}");
        answers_from_memory(&site).await;
        assert!(!ready(&site).await);
        site.stop().await;
        gate.set(Way::Open);
    }
    site.start_again().await;
    until_ready(&site).await;
    assert_eq!(site.status().await["licenseKey"], KEY);
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_reported_and_one_in_session_mode_works() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let pooler = PgBouncer::before(&direct, "transaction").await;
    let mut through = TestDatabase::same_as(&direct);
    through.url.clone_from(&pooler.url);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    site.until("it says what to set", async || {
        let (status, readiness) = site.get("/readyz").await;
        let database = readiness["database"].as_str().unwrap();
        status == StatusCode::SERVICE_UNAVAILABLE
            && database.contains("set pool_mode = session")
            && database.lines().count() == 1
    })
    .await;
    site.stop().await;
    drop(pooler);

    let pooler = PgBouncer::before(&direct, "session").await;
    let mut through = TestDatabase::same_as(&direct);
    through.url.clone_from(&pooler.url);
    let mut site = Site::start_on(through, &cloud.url, &[]).await;
    until_ready(&site).await;
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(rows(&direct, RESULTS).await, ["success", "success"]);
    site.stop().await;
    direct.drop_database().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_into_a_file_that_was_moved() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let file = site.database.url.strip_prefix("sqlite:").unwrap();
    let (file, aside) = (Path::new(file), format!("{file}.aside"));
    std::fs::rename(file, &aside).unwrap();
    let (status, body) = site.activate("another").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let switch = site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    );
    assert_eq!(switch.await.0, StatusCode::SERVICE_UNAVAILABLE);
    site.until("it says why", async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"]
            .as_str()
            .is_some_and(|it| it.contains("was moved, deleted or replaced"))
    })
    .await;
    answers_from_memory(&site).await;
    assert!(!file.exists(), "none is made in its place");
    std::fs::rename(&aside, file).unwrap();
    until_ready(&site).await;
    assert_eq!(site.activate("another").await.0, StatusCode::OK);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_acknowledged_while_the_database_is_away_survives_kill_9() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state").display().to_string();
    let flags = [
        "--database-url",
        &gate.database.url,
        "--license-api-url",
        &cloud.url,
        "--state-dir",
        &state,
    ];
    let cameras = async |program: &Program| {
        let body = json!({"resource": "cameras"});
        let check = program.send(Method::POST, "/api/license/limits/check", &body);
        let check: Value = serde_json::from_str(&check.await.1).unwrap();
        check["inUse"].clone()
    };
    let report = |source: &str, cameras: u64| json!({"source": source, "cameras": cameras, "expiresInSeconds": 3600});
    let mut program = Program::start(&flags).await;
    let known = report("before", 1);
    assert_eq!(
        program
            .send(Method::PUT, "/api/license/usage", &known)
            .await
            .0,
        200
    );
    gate.set(Way::Cut);
    for (source, number) in [("first", 20), ("second", 300)] {
        let report = report(source, number);
        let answer = program.send(Method::PUT, "/api/license/usage", &report);
        assert_eq!(answer.await.0, 200, "{source}");
    }
    program.kill();

    // The database is still away: what was acknowledged is known.
    let mut program = Program::start(&flags).await;
    assert_eq!(cameras(&program).await, 321);
    // Where it cannot be kept, it is not acknowledged.
    std::fs::rename(&state, directory.path().join("kept")).unwrap();
    std::fs::write(&state, "in the way").unwrap();
    let answer = program
        .send(Method::PUT, "/api/license/usage", &report("third", 4000))
        .await;
    assert_eq!(answer.0, 503, "{}", answer.1);
    assert!(answer.1.contains("was not accepted"), "{}", answer.1);
    program.kill();
    std::fs::remove_file(&state).unwrap();
    std::fs::rename(directory.path().join("kept"), &state).unwrap();

    // It is written when the database is back.
    gate.set(Way::Open);
    let mut program = Program::start(&flags).await;
    let start = Instant::now();
    let stored = "SELECT value FROM system_config WHERE key = 'license_client.usage'";
    loop {
        let stored = rows(&direct, stored).await.concat();
        if ["before", "first", "second"]
            .iter()
            .all(|it| stored.contains(it))
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{stored}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cameras(&program).await, 321);
    program.kill();
    direct.drop_database().await;
}

/// A file that root has restored, for example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_another_users_is_changed_as_soon_as_it_is_given_back() {
    // A user that exists on no machine.
    const SERVICE: u32 = 54_321;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("license.db");
    std::fs::write(&file, "").unwrap();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let read_only = |is_read_only: bool| {
        let mode = if is_read_only { 0o444 } else { 0o600 };
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        if is_root {
            let owner = if is_read_only { 0 } else { SERVICE };
            chown(&file, Some(owner), Some(owner)).unwrap();
        }
    };
    read_only(true);
    let url = format!("sqlite:{}", file.display());
    let flags = [
        "--license-api-url",
        "http://127.0.0.1:9/api",
        "--database-url",
        url.as_str(),
    ];
    let program = if is_root {
        let user = Some(SERVICE);
        chown(directory.path(), user, user).unwrap();
        Program::start_as(SERVICE, directory, &flags).await
    } else {
        Program::start(&flags).await
    };
    let readiness = async || program.try_get("/readyz").await.unwrap();
    let answer = readiness().await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let start = Instant::now();
    while !program
        .log()
        .contains("read-only for the user of this service")
    {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{}",
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    read_only(false);
    while readiness().await.status() != StatusCode::OK {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "{}",
            program.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As after a restore of the rows alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_that_is_behind_its_table_is_advanced_and_no_line_is_lost() {
    let cloud = ScriptedCloud::start().await;
    let database = TestDatabase::new(Engine::Postgres).await;
    let site = Site::start_on(database, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let lines = "SELECT count(*)::text FROM local_license_validation_attempts";
    let before: u32 = rows(&site.database, lines).await[0].parse().unwrap();
    let tables = [
        "local_license_validation_attempts",
        "local_license_cache",
        "local_feature_flags",
    ];
    for table in tables {
        let restart = format!("ALTER SEQUENCE {table}_id_seq RESTART");
        site.database.execute(&restart).await;
    }
    for _ in 0..3 {
        site.validate().await;
    }
    site.activate(KEY).await;
    let after: u32 = rows(&site.database, lines).await[0].parse().unwrap();
    assert_eq!(after, before + 4);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_may_have_stored_the_license() {
    let cloud = ScriptedCloud::start().await;
    let direct = TestDatabase::new(Engine::Postgres).await;
    let gate = Gate::before(&direct, Way::Open).await;
    let through = TestDatabase::same_as(&gate.database);
    let mut site = Site::start_with_timeouts(through, &cloud.url, short()).await;
    gate.set(Way::CommitUnanswered);
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], "outcome_unknown", "{answer}");
    assert_eq!(
        answer["detail"],
        "The change may have been stored: the database has not answered within 1.4 s; check \
         whether it was stored before you repeat it"
    );
    gate.set(Way::Open);
    // It is found where it was stored.
    site.until("the stored license counts", async || {
        site.status().await["hasLicense"] == true
    })
    .await;
    gate.set(Way::CommitCut);
    let path = "/api/license/features/module.map_view";
    let (status, answer) = site.put(path, json!({"systemEnabled": true})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], "outcome_unknown", "{answer}");
    // Before a commit, nothing is stored.
    gate.set(Way::Cut);
    let (status, answer) = site.put(path, json!({"systemEnabled": false})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert_eq!(answer["code"], Value::Null, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("The feature was not switched, because"),
        "{detail}"
    );
    gate.set(Way::Open);
    site.stop().await;
    direct.drop_database().await;
}

const GONE: &str = "the tables are gone: restore the database, or restart the service to create \
    them";

async fn missing_tables_say_what_to_do_and_a_restart_makes_them(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    for table in [
        "local_license_cache",
        "local_license_validation_attempts",
        "local_feature_flags",
        "system_config",
    ] {
        site.database.execute(&format!("DROP TABLE {table}")).await;
    }
    let found = async || {
        let (_, readiness) = site.get("/readyz").await;
        readiness["database"].as_str().unwrap().to_owned()
    };
    site.until("readiness says what to do", async || {
        found().await.ends_with(GONE)
    })
    .await;
    let (_, diagnostics) = site.post("/api/license/diagnostics", None).await;
    let findings = diagnostics["findings"].as_array().unwrap();
    let database = findings.iter().find(|it| it["what"] == "database").unwrap();
    assert_eq!(database["health"], "error", "{database}");
    assert_eq!(database["advice"], GONE, "{database}");
    let found = database["found"].as_str().unwrap();
    assert!(
        found.contains("system_config") && !found.contains(GONE),
        "{found}"
    );
    site.restart().await;
    until_ready(&site).await;
    site.end().await;
}

on_both_engines! {
    missing_tables_say_what_to_do_and_a_restart_makes_them;
}

/// The log, readiness and the doctor name what is wrong, and nothing is said to be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_no_missing_table() {
    let other = TestDatabase::new(Engine::Sqlite).await;
    other
        .execute("CREATE TABLE system_config (id INTEGER)")
        .await;
    let file = other.url.strip_prefix("sqlite:").unwrap();
    let mut damaged = std::fs::read(file).unwrap();
    damaged[100..].fill(0xff);
    for (content, said) in [
        (&damaged[..], "database disk image is malformed"),
        (&b"something else".repeat(300)[..], "file is not a database"),
    ] {
        std::fs::write(file, content).unwrap();
        let program = Program::start(&["--database-url", &other.url]).await;
        let readiness = program.json("/readyz").await;
        let found = readiness["database"].as_str().unwrap();
        assert!(found.contains(said), "{readiness}");
        assert!(
            found.contains("; restore the database from a backup"),
            "{readiness}"
        );
        assert!(found.contains("activate again"), "{readiness}");
        let log = program.log();
        assert!(log.contains("restore the database from a backup"), "{log}");
        assert!(!log.contains("created a missing table"), "{log}");
        assert!(!log.contains("caused a panic"), "{log}");
        let port = program.port.to_string();
        for port in [&port, "1"] {
            let doctor = Command::new(env!("CARGO_BIN_EXE_license-client"))
                .args(["doctor", "--json", "--port", port])
                .args(["--database-url", &other.url])
                .current_dir(program.file(""))
                .output()
                .unwrap();
            let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
            let findings = findings.as_array().unwrap();
            let database = findings.iter().find(|it| it["what"] == "database").unwrap();
            assert!(
                database["found"].as_str().unwrap().contains(said),
                "{database}"
            );
            let advice = database["advice"].as_str().unwrap();
            assert!(
                advice.starts_with("restore the database"),
                "{port}: {advice}"
            );
        }
    }
}
