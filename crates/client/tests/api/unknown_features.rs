//! A gate asks about an unknown feature: it is refused like an unlicensed one, and the site's
//! operator is informed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::Site;
use crate::program::Program;
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::Vendor;

const ROUTES: &str = "[[route]]\npath = \"/maps/**\"\nfeature = \"typo.in_table\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_ask_is_logged_one_time_and_counted_and_shown() {
    let directory = tempfile::tempdir().unwrap();
    let routes = directory.path().join("routes.toml");
    std::fs::write(&routes, ROUTES).unwrap();
    let routes = routes.display().to_string();
    let flags = ["--gate-routes", &routes, "--log-format", "json"];
    let program = Program::start(&flags).await;
    let asked = [
        "typo.in_check",
        "typo.in_checks",
        "typo.in_query",
        "typo.in_header",
        "typo.in_table",
        "typo.in_ofrep",
    ];
    for _ in 0..3 {
        ask_in_every_way(&program).await;
    }
    let listed = program.json("/api/license/features").await;
    let unknown = listed["unknown"].as_array().unwrap();
    let mut keys: Vec<&str> = unknown
        .iter()
        .map(|it| it["featureKey"].as_str().unwrap())
        .collect();
    keys.sort_unstable();
    let mut expected = asked.to_vec();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(unknown.iter().all(|it| it["checks"] == 3), "{listed}");
    let metrics = program.text("/metrics").await;
    assert!(
        metrics.contains("foxsight_license_unknown_feature_checks_total 18\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("typo"), "{metrics}");
    let log = program.log();
    let lines: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let about = |key: &str| {
        let quoted = format!("\"{key}\"");
        let says = |line: &&Value| {
            line["fields"]["feature"] == quoted.as_str() || line["feature"] == quoted.as_str()
        };
        lines.iter().filter(says).count()
    };
    // At most five lines of one statement are written within a minute.
    for key in &asked[..1] {
        assert_eq!(about(key), 1, "{key}: {log}");
    }
    let in_all: usize = asked.iter().map(|key| about(key)).sum();
    assert_eq!(in_all, 5, "{log}");

    let page = program.text("/").await;
    let notice = page.split("id=\"unknown-features\"").nth(1).unwrap();
    for key in asked {
        assert!(
            notice.contains(&format!("<code>{key}</code> (3 checks)")),
            "{key}: {notice}"
        );
    }
    commands_name_unknown_features(&program);
}

async fn ask_in_every_way(program: &Program) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({"featureKey": "typo.in_check"});
    let checked = program.send(Method::POST, "/api/license/feature/check", &body);
    assert!(checked.await.1.contains("no_license"));
    let body = json!({"featureKeys": ["module.map_view", "typo.in_checks", "module.live_view"]});
    let checked = program.send(Method::POST, "/api/license/features/check", &body);
    assert_eq!(checked.await.0, 200);
    let body = json!({"context": {}});
    let path = "/ofrep/v1/evaluate/flags/typo.in_ofrep";
    assert_eq!(program.send(Method::POST, path, &body).await.0, 404);
    let authorize = program.url("/api/license/authorize");
    for request in [
        http.get(format!("{authorize}?feature=typo.in_query")),
        http.get(&authorize)
            .header("x-license-feature", "typo.in_header"),
        http.get(&authorize).header("x-original-uri", "/maps/1"),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 403);
    }
}

fn commands_name_unknown_features(program: &Program) {
    let doctor = std::process::Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["doctor", "--json", "--port", &program.port.to_string()])
        .args(["--state-dir", &program.file("state").display().to_string()])
        .output()
        .unwrap();
    let findings: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let findings = findings.as_array().unwrap();
    let gates = findings.iter().find(|it| it["what"] == "gates").unwrap();
    assert_eq!(gates["health"], "warning");
    let found = gates["found"].as_str().unwrap();
    assert!(
        found.contains("'typo.in_check'") && found.contains("and 1 more"),
        "{found}"
    );
    let features = std::process::Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["features", "--port", &program.port.to_string()])
        .output()
        .unwrap();
    let features = String::from_utf8_lossy(&features.stdout).into_owned();
    assert!(
        features.contains("?    typo.in_ofrep  (unknown"),
        "{features}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_of_the_product_or_the_license_is_not_unknown() {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    for key in [
        "module.live_view",
        "module.map_view",
        "module.alarm_advanced",
    ] {
        site.is_available(key).await;
    }
    let unknown = async || site.get("/api/license/features").await.1["unknown"].clone();
    assert_eq!(unknown().await, json!([]));
    // At most 32 keys are remembered, and a frequent one is among them.
    for _ in 0..2 {
        site.is_available("module.typo").await;
    }
    let made_up: Vec<String> = (0..900).map(|number| format!("made.up.{number}")).collect();
    site.post(
        "/api/license/features/check",
        Some(json!({"featureKeys": made_up})),
    )
    .await;
    let listed = unknown().await;
    assert_eq!(listed.as_array().unwrap().len(), 32);
    assert_eq!(listed[0]["featureKey"], "module.typo");
    // A license key in place of a feature is not shown.
    let key = vendor.issue_professional().await;
    assert_eq!(site.activate(&key).await.0, 200);
    for _ in 0..3 {
        site.is_available(&key).await;
    }
    let listed = unknown().await;
    assert!(!listed.to_string().contains(&key), "{listed}");
    assert_eq!(listed[0]["checks"], 3, "{listed}");
    site.end().await;
}

/// What a later license lists was no mistake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_that_a_license_brings_is_no_longer_shown() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    assert!(!site.is_available("module.new_in_the_license").await);
    let unknown = async || site.get("/api/license/features").await.1["unknown"].clone();
    assert_eq!(
        unknown().await[0]["featureKey"],
        "module.new_in_the_license"
    );
    let mut license = crate::scripted_cloud::usual_license(crate::harness::KEY);
    license["enabledFeatures"] = json!(["module.new_in_the_license"]);
    let answer = json!({"success": true, "data": license});
    cloud.always(Some(crate::scripted_cloud::Scripted::new(
        200,
        answer.to_string(),
    )));
    let activated = site.activate(crate::harness::KEY).await;
    assert_eq!(activated.0, 200, "{activated:?}");
    assert!(site.is_available("module.new_in_the_license").await);
    assert_eq!(unknown().await, json!([]));
    site.end().await;
}
