//! Tables that do not fit the program, as after a bulk migration, or a restore in which indexes
//! failed: everything can be read, and no change succeeds.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    a_license_that_cannot_be_read_is_not_reported_as_missing;
    what_works_is_used_and_what_does_not_is_named;
}

const CONFIG_INDEX: &str = "CREATE UNIQUE INDEX system_config_key ON system_config (key)";
const FLAGS_INDEX: &str =
    "CREATE UNIQUE INDEX local_feature_flags_feature_key ON local_feature_flags (feature_key)";

/// What `/readyz` says about the database.
async fn readiness(site: &Site) -> String {
    let (_, readiness) = site.get("/readyz").await;
    readiness["database"].as_str().unwrap().to_owned()
}

async fn diagnosis(site: &Site) -> String {
    let (_, diagnosis) = site.post("/api/license/diagnostics", None).await;
    diagnosis.to_string()
}

async fn page(site: &Site) -> String {
    let page = site.http.get(format!("{}/", site.url)).send().await;
    page.unwrap().text().await.unwrap()
}

/// What a command prints.
fn command(site: &Site, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(arguments)
        .args(["--url", &site.url])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

async fn a_license_that_cannot_be_read_is_not_reported_as_missing(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    assert_eq!(site.status().await["message"], "No license activated");
    assert!(page(&site).await.contains("No license is activated"));
    site.activate(KEY).await;
    site.database
        .execute("DROP INDEX ix_system_config_key")
        .await;

    // With the local copy it keeps answering.
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    assert!(site.is_available("module.map_view").await);
    assert!(readiness(&site).await.contains(CONFIG_INDEX));

    site.stop().await;
    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    site.restart().await;
    let status = site.status().await;
    assert_eq!(status["standing"], "unlicensed");
    assert_eq!(status["status"], "no_license");
    let said = status["message"].as_str().unwrap();
    assert!(
        said.starts_with("The license could not be read: "),
        "{said}"
    );
    assert!(said.contains(CONFIG_INDEX), "{said}");
    let validated = site.validate().await;
    assert_eq!(validated["message"], said);
    assert_eq!(validated["reason"], "no_license");
    let page = page(&site).await;
    assert!(page.contains("The license could not be read: "), "{page}");
    assert!(!page.contains("No license is activated"), "{page}");
    let status = command(&site, &["status"]);
    assert!(
        status.starts_with("Unknown: the license could not be read."),
        "{status}"
    );
    assert!(status.contains(CONFIG_INDEX), "{status}");
    let check = command(&site, &["check", "module.map_view"]);
    assert!(check.contains("The license could not be read: "), "{check}");
    let (code, answer) = site.activate(KEY).await;
    assert_eq!(code, 503, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains(CONFIG_INDEX), "{detail}");
    assert!(!detail.contains("has not been reached"), "{detail}");
    let diagnosis = diagnosis(&site).await;
    assert!(diagnosis.contains(CONFIG_INDEX), "{diagnosis}");
    assert!(diagnosis.contains("restore the database"), "{diagnosis}");

    site.database.execute(CONFIG_INDEX).await;
    site.until("the license is read", async || {
        site.standing().await == "active" && readiness(&site).await == "ok"
    })
    .await;
    site.end().await;
}

async fn what_works_is_used_and_what_does_not_is_named(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let drop = "DROP INDEX ix_local_feature_flags_feature_key";
    site.database.execute(drop).await;
    site.stop().await;
    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    site.restart().await;
    assert_eq!(site.standing().await, "active");
    assert!(readiness(&site).await.contains(FLAGS_INDEX));
    let path = "/api/license/features/module.map_view";
    let off = json!({"systemEnabled": false});
    let (status, answer) = site.put(path, off.clone()).await;
    assert_eq!(status, 503, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains(FLAGS_INDEX), "{detail}");
    let diagnosis = diagnosis(&site).await;
    assert!(diagnosis.contains(FLAGS_INDEX), "{diagnosis}");

    site.database.execute(FLAGS_INDEX).await;
    site.until("it is ready", async || readiness(&site).await == "ok")
        .await;
    assert_eq!(site.put(path, off).await.0, 200);
    site.end().await;
}

#[test]
fn a_state_directory_that_was_never_there_is_not_to_be_restored() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    std::fs::create_dir(&gone).unwrap();
    let start = format!(
        "rmdir ../gone; exec {} serve",
        env!("CARGO_BIN_EXE_license-client")
    );
    let mut service = Command::new("sh")
        .args(["-c", &start])
        .envs([("STATE_DIR", "relative"), ("PORT", "0")])
        .current_dir(&gone)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(service.stderr.take().unwrap());
    let mut said = String::new();
    for line in log.lines() {
        said += &format!("{}\n", line.unwrap());
        if said.contains("serving from memory and retrying") {
            break;
        }
    }
    service.kill().unwrap();
    service.wait().unwrap();
    let errors = said.lines().filter(|line| line.contains("ERROR"));
    let reason = "'relative' cannot be created, because the working directory was deleted";
    assert_eq!(errors.clone().count(), 1, "{said}");
    assert!(errors.clone().all(|line| line.contains(reason)), "{said}");
    assert!(
        !said.contains("restore the file") && !said.contains("write permission"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_types_and_additional_columns_fit() {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(Engine::Postgres, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let change = "ALTER TABLE system_config ALTER updated_at TYPE timestamptz; \
                  ALTER TABLE system_config ALTER id TYPE bigint; \
                  ALTER TABLE system_config ADD COLUMN note text; \
                  ALTER TABLE system_config ADD COLUMN tenant int NOT NULL DEFAULT 7; \
                  ALTER TABLE local_license_cache ALTER license_data TYPE jsonb \
                      USING license_data::jsonb; \
                  ALTER TABLE local_license_validation_attempts ALTER id TYPE bigint";
    site.database.execute(change).await;
    site.restart().await;
    assert_eq!(readiness(&site).await, "ok");
    assert_eq!(site.standing().await, "active");
    let unfilled = "ALTER TABLE system_config ALTER tenant DROP DEFAULT";
    site.database.execute(unfilled).await;
    site.restart().await;
    let said = readiness(&site).await;
    assert!(
        said.contains("does not fill: system_config.tenant;"),
        "{said}"
    );
    site.end().await;
}
