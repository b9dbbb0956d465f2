//! The machine's identity, and its drift.

use std::path::Path;
use std::process::Command;

use license_client::host::version_1;
use serde_json::Value;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

on_both_engines! {
    another_machine_is_noticed_reported_and_accepted_by_an_activation;
    a_setting_prescribes_the_hardware_id;
}

const AGAIN: [&str; 4] = ["--installation-id", "", "--license-hardware-id", ""];

/// Makes the stored fingerprints those of another machine.
pub async fn move_to_another_machine(site: &Site) -> bool {
    let stored = "SELECT value FROM system_config WHERE key = 'license_client.fingerprints'";
    let stored = site.database.texts(stored).await;
    let Some(Some(stored)) = stored.first() else {
        return false;
    };
    let mut machines: Value = serde_json::from_str(stored).unwrap();
    let machine = machines[0].as_object_mut().unwrap();
    if machine.len() < 2 {
        return false;
    }
    for hashes in machine.values_mut() {
        *hashes = serde_json::json!(["0".repeat(64)]);
    }
    let sql = format!(
        "UPDATE system_config SET value = '{machines}' WHERE key = 'license_client.fingerprints'"
    );
    site.database.execute(&sql).await;
    true
}

async fn another_machine_is_noticed_reported_and_accepted_by_an_activation(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &AGAIN).await;
    site.activate(KEY).await;
    let (_, health) = site.get("/health").await;
    assert_ne!(site.status().await["hardwareDrift"], "drifted");
    if !move_to_another_machine(&site).await {
        println!("this machine has fewer than two components that can be read");
        assert_eq!(site.status().await["hardwareDrift"], "unknown");
        return site.end().await;
    }
    let calls = cloud.arrived().len();
    site.restart().await;
    let status = site.status().await;
    assert_eq!(status["hardwareDrift"], "drifted");
    assert!(
        status["hardwareChanged"].as_array().unwrap().len() >= 2,
        "{status}"
    );
    // It denies nothing, and keeps the id; the License Server is asked and told.
    assert_eq!(site.standing().await, "active");
    assert_eq!(
        site.get("/health").await.1["hardwareId"],
        health["hardwareId"]
    );
    site.until("a validation", async || cloud.arrived().len() > calls)
        .await;
    site.post("/api/license/heartbeat", None).await;
    for told in &cloud.arrived()[calls..] {
        let names = told.headers["x-license-drift"].to_str().unwrap();
        assert!(names.split(',').count() >= 2, "{names}");
    }
    let (_, metrics) = site.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("foxsight_license_hardware_drift 1"),
        "{metrics}"
    );
    assert!(metrics.contains("foxsight_license_hardware_component_changed{component="));

    site.activate(KEY).await;
    assert_eq!(site.status().await["hardwareDrift"], "none");
    site.restart().await;
    assert_eq!(site.status().await["hardwareDrift"], "none");
    let last = cloud.arrived().pop().unwrap();
    site.validate().await;
    let validation = cloud.arrived().pop().unwrap();
    assert!(
        last.headers.contains_key("x-license-drift"),
        "the activation itself tells"
    );
    assert!(!validation.headers.contains_key("x-license-drift"));
    site.end().await;
}

async fn a_setting_prescribes_the_hardware_id(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let flags = ["--license-hardware-id", "rack-7"];
    let site = Site::start(engine, &cloud.url, &flags).await;
    site.activate(KEY).await;
    let body: Value = serde_json::from_str(&cloud.arrived()[0].body).unwrap();
    assert_eq!(body["hardwareId"], "rack-7");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_installations_have_ids_of_their_own_and_no_value_leaves_unhashed() {
    let cloud = ScriptedCloud::start().await;
    let one = Site::start(Engine::Sqlite, &cloud.url, &AGAIN).await;
    let two = Site::start(Engine::Sqlite, &cloud.url, &AGAIN).await;
    let (_, first) = one.get("/health").await;
    let (_, second) = two.get("/health").await;
    assert_ne!(first["hardwareId"], second["hardwareId"]);
    assert_eq!(first["hardwareId"].as_str().unwrap().len(), 64);
    let all = "SELECT value FROM system_config";
    let stored = format!("{:?}", one.database.texts(all).await);
    let values = license_client::host::components::read(Path::new("/"));
    for value in values.values().flatten() {
        assert!(
            !stored.contains(value.as_str()),
            "a component is stored in plain text"
        );
    }
    one.end().await;
    two.end().await;
}

/// The formula's input, against the interpreter that version 1.0.0 runs on.
#[test]
fn the_node_is_what_cpython_finds() {
    let script = "import uuid; print(uuid.getnode())";
    let answer = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .output();
    let answer = answer.expect("python3 is installed by 'cargo xtask test'");
    let theirs: u64 = String::from_utf8(answer.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    match version_1::node(Path::new("/")) {
        Some(ours) => assert_eq!(ours, theirs),
        // A random one has the multicast bit set (RFC 9562, section 6.10).
        None => assert_eq!(theirs >> 40 & 1, 1, "{theirs:012x}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_without_a_success_row_computes_the_id_of_version_1() {
    let cloud = ScriptedCloud::start().await;
    let database = TestDatabase::new(Engine::Sqlite).await;
    let mut site = Site::start_on(database, &cloud.url, &AGAIN).await;
    site.activate(KEY).await;
    site.stop().await;
    for sql in [
        "DELETE FROM local_license_validation_attempts",
        "DELETE FROM system_config WHERE key LIKE 'license_client.%'",
    ] {
        site.database.execute(sql).await;
    }
    std::fs::remove_file(site.state_file("local-copy.json")).unwrap();
    site.restart().await;
    let id = site.get("/health").await.1["hardwareId"].clone();
    if let Some(expected) = version_1::hardware_id(Path::new("/")) {
        assert_eq!(id, expected);
    }
    site.end().await;
}
