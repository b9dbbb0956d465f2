//! The real program while nothing more can be written.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};
use serde_json::json;

use crate::gates::process::{Process, free_port};
use crate::harness::ADMIN_TOKEN;
use crate::killed::check_whole;

/// Lets no file of a process grow beyond so many bytes.
fn let_grow(process: &Process, limit: &str) {
    let pid = process.id().to_string();
    let limit = format!("--fsize={limit}:unlimited");
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(set.unwrap().success());
}

async fn licenses_in(file: &Path) -> i64 {
    let url = format!("sqlite:{}", file.display());
    let db = Database::connect(url).await.unwrap();
    let count = "SELECT COUNT(*) AS n FROM licenses";
    let count = Statement::from_string(DbBackend::Sqlite, count);
    let row = db.query_one_raw(count).await.unwrap().unwrap();
    db.close().await.unwrap();
    row.try_get("", "n").unwrap()
}

/// The program on a new database. The signal of the limit is ignored, so that a write fails as on a
/// full disk.
async fn started(directory: &Path) -> Process {
    let port = free_port();
    let start = "trap '' XFSZ; exec \"$0\" serve --port \"$1\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", start, env!("CARGO_BIN_EXE_license-server")])
        .arg(port.to_string())
        .env("STATE_DIR", directory.join("state"))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::start(&mut command, port).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_amendment_on_a_full_disk_is_whole_or_absent() {
    let directory = tempfile::tempdir().unwrap();
    let server = started(directory.path()).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, body: &serde_json::Value| {
        let request = http.post(format!("{}/api/admin{path}", server.url));
        let answer = request.bearer_auth(ADMIN_TOKEN).json(body).send().await;
        let answer = answer.unwrap();
        (
            answer.status(),
            answer.json::<serde_json::Value>().await.unwrap(),
        )
    };
    let (_, issued) = post("/licenses", &json!({"plan": "standard"})).await;
    let key = issued["licenseKey"].as_str().unwrap().to_owned();
    let camera = json!({"add": [{"key": "cameras", "quantity": 1}], "note": "x".repeat(900)});
    let mut keys = Vec::new();
    for _ in 0..30 {
        keys.push(post("/addons", &camera).await.1["addOnKey"].take());
    }
    let log = directory.path().join("state/license-server.sqlite-wal");
    let size = std::fs::metadata(&log).unwrap().len();
    let_grow(&server, &(size + 40_000).to_string());
    let (amend, redeem) = (
        format!("/licenses/{key}/amendments"),
        format!("/licenses/{key}/redeem"),
    );
    let (mut acknowledged, mut refused) = (std::collections::BTreeSet::from([1]), 0);
    for add_on in keys {
        let one = json!({"add": camera["add"], "reason": "x".repeat(900)});
        for (status, answer) in [
            post(&amend, &one).await,
            post(&redeem, &json!({"addOnKey": add_on})).await,
        ] {
            let number = answer["amendment"].as_u64();
            match number.or_else(|| answer["amendment"]["number"].as_u64()) {
                Some(number) => assert!(acknowledged.insert(number), "{answer}"),
                None => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
                    refused += 1;
                }
            }
        }
    }
    assert!(
        refused > 5 && acknowledged.len() > 1,
        "{refused}, {acknowledged:?}"
    );
    let_grow(&server, "unlimited");
    let (status, answer) = post(&amend, &camera_alone(&camera)).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    acknowledged.insert(answer["amendment"]["number"].as_u64().unwrap());
    drop(server);
    let file = directory.path().join("state/license-server.sqlite");
    let found = check_whole(&format!("sqlite:{}", file.display()), &key).await;
    assert_eq!(found, acknowledged);
}

fn camera_alone(body: &serde_json::Value) -> serde_json::Value {
    json!({"add": body["add"]})
}

/// SQLite ends a transaction itself when its file cannot grow. Later statements were then treated
/// as part of it: acknowledged, but never written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_after_a_full_disk_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let server = started(directory.path()).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let issue = async |number: usize| {
        let wanted = json!({"tier": "standard", "customer": format!("{number:0>200}")});
        let request = http.post(format!("{}/api/admin/licenses", server.url));
        let request = request.bearer_auth(ADMIN_TOKEN).json(&wanted);
        request.send().await.unwrap().status()
    };
    let file = directory.path().join("state/license-server.sqlite");
    let log = directory.path().join("state/license-server.sqlite-wal");
    let mut acknowledged = 0;
    let size = std::fs::metadata(&log).unwrap().len();
    let_grow(&server, &(size + 40_000).to_string());
    let mut refused = 0;
    for number in 0..80 {
        match issue(number).await {
            StatusCode::CREATED => acknowledged += 1,
            status => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
                refused += 1;
            }
        }
    }
    assert!(refused > 5, "nothing more could be written: {refused}");
    // Not even where a write that failed has lengthened the file.
    let_grow(&server, "1");
    let ask = || http.get(format!("{}/readyz", server.url)).send();
    let mut readiness = ask().await.unwrap();
    // A check from before counts for a second.
    for number in 200..220 {
        if readiness.status() != StatusCode::OK {
            break;
        }
        assert_eq!(issue(number).await, StatusCode::SERVICE_UNAVAILABLE);
        tokio::time::sleep(Duration::from_millis(100)).await;
        readiness = ask().await.unwrap();
    }
    assert_eq!(readiness.status(), StatusCode::SERVICE_UNAVAILABLE);
    let readiness: serde_json::Value = readiness.json().await.unwrap();
    assert_eq!(readiness["database"], "does not accept changes");
    let_grow(&server, "unlimited");
    for number in 80..110 {
        assert_eq!(issue(number).await, StatusCode::CREATED, "it works again");
        acknowledged += 1;
    }
    assert_eq!(licenses_in(&file).await, acknowledged);
    drop(server);
    assert_eq!(licenses_in(&file).await, acknowledged, "also after a stop");
}
