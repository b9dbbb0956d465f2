//! Callers without a token cannot fill the disk with log lines.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use license_core::license_key::LicenseKey;
use license_core::restored::number_at;
use license_service::clock::{Clock as _, SystemClock};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::gates::process::{Process, free_port};
use crate::harness::ADMIN_TOKEN;
use crate::refused_calls::{events, send};

/// The real program in a directory, and its log.
async fn serve(directory: &Path, options: &[&str]) -> (Process, PathBuf) {
    let log = directory.join("log");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command
        .args(["serve", "--port", &port.to_string()])
        .args(options)
        .env("STATE_DIR", directory.join("state"))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    (Process::start(&mut command, port).await, log)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_refused_calls_are_a_handful_of_lines_and_a_right_count() {
    let directory = tempfile::tempdir().unwrap();
    let (server, log) = serve(directory.path(), &["--log-format", "json"]).await;
    let before = std::fs::metadata(&log).unwrap().len();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("{}{path}", server.url);
    let sign_in = url("/console/sign-in");
    send(3000, StatusCode::UNAUTHORIZED, |number| {
        http.post(&sign_in)
            .body(format!("token=wrong-{number}"))
            .header("content-type", "application/x-www-form-urlencoded")
    })
    .await;
    let licenses = url("/api/admin/licenses");
    send(3000, StatusCode::UNAUTHORIZED, |number| {
        http.get(&licenses).bearer_auth(format!("wrong-{number}"))
    })
    .await;
    send(2000, StatusCode::MISDIRECTED_REQUEST, |number| {
        http.get(url("/"))
            .header("host", format!("h{number}.example"))
    })
    .await;
    let activate = url("/api/licenses/activate");
    send(2000, StatusCode::BAD_REQUEST, |_| {
        http.post(&activate).body("{")
    })
    .await;
    // Its end writes what is left to count.
    drop(server);
    let log = std::fs::read_to_string(&log).unwrap();
    for (message, times) in [
        ("sign-in failed", 3000),
        ("wrong administrator token", 3000),
    ] {
        let (written, counted) = events(&log, message);
        assert_eq!(counted, times, "{message}: {log}");
        assert!(written <= 10, "{log}");
    }
    let bytes = log.len() as u64 - before;
    assert!(bytes < 8 * 1024, "{bytes} bytes: {log}");
}

/// As long as a caller's text may be, with nine characters of log for each of its characters.
fn long_id() -> String {
    "\u{e0001}".repeat(255)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_of_callers_are_short_in_the_log_and_invented_numbers_reach_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let (server, log) = serve(directory.path(), &[]).await;
    let before = std::fs::metadata(&log).unwrap().len();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ahead = chrono::TimeDelta::minutes(5);
    let ahead = number_at(SystemClock.now() + ahead).to_string();
    let ask = async |call: &str, key: &str, hardware_id: &str, header: (&str, &str)| {
        let body = json!({
            "licenseKey": key, "hardwareId": hardware_id, "installationId": "i",
            "installationName": "", "installationVersion": "",
        });
        let asked = http
            .post(format!("{}/api/licenses/{call}", server.url))
            .header(header.0, header.1)
            .json(&body);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<Value>().await.unwrap()
    };
    let unknown = LicenseKey::from_random(&[7; 64]).unwrap();
    let unknown = unknown.as_str();
    for _ in 0..20 {
        let answer = ask("validate", unknown, &long_id(), ("x-license-seq", &ahead)).await;
        assert_eq!(answer["data"]["reason"], "unknown_license", "{answer}");
    }
    assert_eq!(std::fs::metadata(&log).unwrap().len(), before);

    let issued = http
        .post(format!("{}/api/admin/licenses", server.url))
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({"tier": "standard"}));
    let issued: Value = issued.send().await.unwrap().json().await.unwrap();
    let key = issued["licenseKey"].as_str().unwrap();
    let id = format!("{}{}", "\u{1f600}".repeat(101), &long_id()[..4 * 154]);
    ask("activate", key, &id, ("x-installation-id", "i")).await;
    let answer = ask("validate", key, &id, ("x-license-drift", "root_disk")).await;
    assert_eq!(answer["data"]["isValid"], true, "{answer}");
    drop(server);
    let log = std::fs::read_to_string(&log).unwrap();
    let mut lines = log.lines().filter(|line| line.contains("suspicious site"));
    let line = lines.next().unwrap();
    assert_eq!(line.matches('\u{1f600}').count(), 100, "{line}");
    assert!(
        !line.contains("e0001") && line.len() < 600,
        "{}: {line}",
        line.len()
    );
}

/// The log, and the lines of this request, as soon as there are any: they are written by another
/// thread than the one that answers.
async fn lines_of(log: &Path, id: &str) -> (String, Vec<Value>) {
    for _ in 0..250 {
        let text = std::fs::read_to_string(log).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines: Vec<Value> = lines
            .filter(|line: &Value| line["span"]["id"] == id)
            .collect();
        if !lines.is_empty() {
            return (text, lines);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no line names the request {id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_and_the_log_name_the_same_request() {
    let directory = tempfile::tempdir().unwrap();
    let (server, log) = serve(directory.path(), &["--log-format", "json"]).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let key = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
    let url = format!("{}/api/admin/licenses/{key}", server.url);
    let get = |id: &str| {
        http.get(&url)
            .bearer_auth("a-wrong-token")
            .header("x-request-id", id)
            .send()
    };
    for (sent, is_kept) in [("proxy-7f.3_A", true), ("a b", false)] {
        let response = get(sent).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let id = response.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(id == sent, is_kept, "{id}");
        let id = id.to_owned();
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["requestId"], id.as_str());
        let (log, lines) = lines_of(&log, &id).await;
        assert_eq!(lines.len(), 1, "{log}");
        // The path holds a license key; the route does not.
        let route = "/api/admin/licenses/{license}";
        assert_eq!(lines[0]["span"]["route"], route, "{log}");
        assert_eq!(lines[0]["span"]["method"], "GET", "{log}");
        assert!(!log.contains(key), "{log}");
    }
}
