//! The command line, as people and scripts use it.

mod help;
mod settings;

use std::process::{Command, Output};

use serde_json::{Value, json};

use self::settings::client;
use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{ScriptedCloud, usual_license};
use crate::supervised::{
    a_program_survives_signals_that_it_does_not_use, a_program_tells_its_supervisor,
};
use crate::vendor::Vendor;

async fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command.args(arguments).args(["--url", &site.url]);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_supervisor_is_told_of_the_start_signs_of_life_reloads_and_the_end() {
    a_program_tells_its_supervisor(crate::PROGRAM, true);
}

#[test]
fn signals_that_are_not_used_are_logged() {
    a_program_survives_signals_that_it_does_not_use(crate::PROGRAM);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_managed_from_the_command_line() {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;

    let status = run(&site, &["status"]).await;
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status).contains("No license is activated"));
    let check = run(&site, &["check", "module.live_view", "module.map_view"]).await;
    assert_eq!(check.status.code(), Some(3));
    assert!(text(&check).contains("yes  module.live_view  (core)"));
    assert!(text(&check).contains("no   module.map_view  (no_license)"));

    let wrong = run(&site, &["activate", "FXSGHT-AAAA-BBBB-CCCC-DDDD"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("typing error"), "{}", text(&wrong));

    let key = vendor.issue_professional().await;
    let sloppy = key.to_lowercase().replace('-', " ");
    let activate = run(&site, &["activate", &sloppy]).await;
    assert_eq!(activate.status.code(), Some(0), "{}", text(&activate));
    assert!(text(&activate).contains("professional"));

    let status = run(&site, &["status", "--json"]).await;
    assert_eq!(status.status.code(), Some(0));
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["licenseKey"], key.as_str());

    for command in ["validate", "heartbeat", "health"] {
        let done = run(&site, &[command]).await;
        assert_eq!(done.status.code(), Some(0), "{command}: {}", text(&done));
    }
    let check = run(&site, &["check", "module.map_view", "--json"]).await;
    let answers: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(answers[0]["available"], true);

    vendor.go_away().await;
    let deactivate = run(&site, &["deactivate"]).await;
    assert_eq!(deactivate.status.code(), Some(1));
    assert!(text(&deactivate).contains("force"));
    let deactivate = run(&site, &["deactivate", "--force"]).await;
    assert_eq!(deactivate.status.code(), Some(0));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_there_is_named_with_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["health", "--url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("license-client serve"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_without_certificate_authorities_is_no_reason_not_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
        command
            .args(arguments)
            .args(["--port", &port])
            .env("SSL_CERT_DIR", directory.path())
            .env("SSL_CERT_FILE", directory.path().join("none"));
        command
    };
    let state_dir = directory.path().join("state").display().to_string();
    let serve = ["serve", "--state-dir", &state_dir];
    let mut service = bare(&serve)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut healthy = false;
    for _ in 0..250 {
        healthy = bare(&["health"]).output().unwrap().status.success();
        if healthy {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(healthy);
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let output = client(
        &["doctor", "--json", "--port", "1"],
        &[
            ("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d"),
            ("LICENSE_API_URL", "http://127.0.0.1:1/api"),
        ],
    );
    assert_eq!(output.status.code(), Some(3));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let find = |what: &str| {
        let findings = findings.as_array().unwrap();
        let found = findings.iter().find(|finding| finding["what"] == what);
        found.unwrap_or_else(|| panic!("{what}")).clone()
    };
    for broken in ["database", "License Server"] {
        assert_eq!(find(broken)["health"], "error");
        assert!(find(broken)["found"].as_str().unwrap().contains("refused"));
        assert!(find(broken)["advice"].is_string());
    }
    assert_eq!(find("STATE_DIR")["health"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_say_what_is_over_and_what_would_fit() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &[]).await;
    let key = vendor.issue_professional().await;
    site.activate(&key).await;
    let report = |cameras: u64| serde_json::json!({"source": "s", "cameras": cameras});
    for (cameras, arguments, code, expected) in [
        (
            63,
            &["limits"][..],
            0,
            "ok   cameras: 63 of 64 in use  (within_limit)",
        ),
        (
            64,
            &["limits"],
            0,
            "ok   cameras: 64 of 64 in use  (within_limit)",
        ),
        (
            70,
            &["limits"],
            3,
            "over cameras: 70 of 64 in use (6 over)  (over_limit)",
        ),
        (70, &["limits", "cameras", "0"], 3, "over cameras: 70 of 64"),
        (
            70,
            &["limits", "cameras"],
            3,
            "no   cameras: 70 of 64 in use (6 over)  (limit_reached)",
        ),
        (
            63,
            &["limits", "cameras"],
            0,
            "yes  cameras: 63 of 64 in use  (within_limit)",
        ),
    ] {
        site.put("/api/license/usage", report(cameras)).await;
        let output = run(&site, arguments).await;
        assert!(
            text(&output).contains(expected),
            "{arguments:?}: {}",
            text(&output)
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_counted_and_what_changes_next_is_shown() {
    let cloud = ScriptedCloud::start().await;
    let mut license = usual_license(KEY);
    license["entitlements"] = json!([
        {"key": "module.map_view", "until": "2026-12-20T00:00:00Z"},
        {"key": "module.alarm_advanced", "from": "2026-12-24T00:00:00Z"},
        {"key": "anpr_lanes", "quantity": 8},
        {"key": "anpr_lanes", "quantity": 4, "from": "2026-12-01T00:00:00Z"},
        {"key": "channels", "quantity": "unlimited"},
    ]);
    cloud.license(license);
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let report = json!({"source": "s", "counts": {"anpr_lanes": 9, "channels": 3}});
    site.put("/api/license/usage", report).await;
    for (arguments, code, lines) in [
        (
            &["limits"][..],
            3,
            &[
                "over anpr_lanes: 9 of 8 in use (1 over)  (over_limit)",
                "ok   No limit applies to channels  (unlimited)",
                "cameras",
            ][..],
        ),
        (&["limits", "anpr_lanes"], 3, &["(limit_reached)"]),
        (
            &["limits", "doors"],
            3,
            &["no   The license does not include doors  (not_in_license)"],
        ),
        (&["limits", "channels", "9"], 0, &["yes "]),
        (
            &["status"],
            0,
            &[
                "anpr_lanes       8",
                "channels         unlimited",
                "Over the limit   anpr_lanes",
                "Next change      2026-12-01T00:00:00.000000: The limit for anpr_lanes changes \
                 from 8 to 12",
                "Ends soon        2026-12-20T00:00:00.000000: module.map_view ends",
            ],
        ),
        (
            &["features"],
            0,
            &[
                "module.map_view  (licensed, until 2026-12-20T00:00:00.000000)",
                "module.alarm_advanced  (starts_later, starts on 2026-12-24T00:00:00.000000)",
            ],
        ),
    ] {
        let output = run(&site, arguments).await;
        let shown = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        for line in lines {
            assert!(shown.contains(line), "{line}: {shown}");
        }
    }
    let output = run(&site, &["limits", "--json"]).await;
    let limits: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(limits.as_array().unwrap().len(), 5, "{limits}");
    assert_eq!(limits[3]["resource"], "anpr_lanes", "{limits}");
    site.end().await;
}

/// Only `serve` makes anything; commands ask the service.
#[test]
fn no_command_makes_a_database_or_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    for arguments in [
        &["status"][..],
        &["activate", "FXSGHT-2222-2222-2222-2222"],
        &["validate"],
        &["heartbeat"],
        &["check", "module.map_view"],
        &["features"],
        &["limits"],
        &["check-upgrade", "3.2.0", "--released", "2027-01-15"],
        &["attempts"],
        &["hardware"],
        &["deactivate", "--force"],
        &["offline", "request"],
        &["health"],
        &["config"],
        &["doctor"],
    ] {
        Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(arguments)
            .env("PORT", "1")
            .env("STATE_DIR", &state)
            .env("LICENSE_API_URL", "http://127.0.0.1:1/api")
            .current_dir(directory.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_not_there_is_a_page_for_a_browser_and_json_for_programs() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &[]).await;
    for (path, accept, is_page) in [
        ("/nothing", "text/html,*/*;q=0.8", true),
        ("/console/nothing", "text/html", true),
        ("/nothing", "*/*", false),
        ("/api/license/nothing", "text/html", false),
    ] {
        let request = site
            .http
            .get(format!("{}{path}", site.url))
            .header("accept", accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let text = answer.text().await.unwrap();
        assert_eq!(text.contains("Page not found"), is_page, "{path}: {text}");
        assert_eq!(
            text.starts_with(r#"{"detail":"Not Found","requestId":""#),
            !is_page,
            "{path}: {text}"
        );
    }
    site.end().await;
}
