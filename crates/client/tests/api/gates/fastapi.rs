//! FastAPI with OpenFeature's Python SDK, which decides in the process.

use std::process::Command;

use chrono::TimeDelta;

use super::process::{Process, free_port};
use super::{Licensed, get, raw, shipped};

fn python() -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.env("PYTHONPATH", shipped::installed("python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_gateway_decides_in_the_process() {
    let mut licensed = Licensed::by_feature().await;
    let port = free_port();
    let mut command = python();
    command.arg(shipped::file("examples/fastapi/gateway.py"));
    command.args([&port.to_string(), &licensed.site.url]);
    let gateway = Process::start(&mut command, port).await;
    let is_told = || async { get(&gateway.url, "/map/1", &[]).await.status() == 200 };
    licensed.site.until("the first event", is_told).await;
    licensed.is_gated_by(&gateway.url).await;

    for path in ["//alarms/1", "/ALARMS/1", "/alarms;x/1", "/%61larms/1"] {
        assert_eq!(raw(&gateway.url, path).await, "403", "{path}");
    }

    // A change arrives, and an end needs no message.
    let status = |path: &'static str| {
        let url = gateway.url.clone();
        async move { get(&url, path, &[]).await.status().as_u16() }
    };
    let off = serde_json::json!({"systemEnabled": false});
    let path = "/api/license/features/module.map_view";
    licensed.site.put(path, off).await;
    let is_off = || async { status("/map/1").await == 403 };
    licensed.site.until("the map is off", is_off).await;
    let on = serde_json::json!({"systemEnabled": true});
    licensed.site.put(path, on).await;
    let is_on = || async { status("/map/1").await == 200 };
    licensed.site.until("the map is on", is_on).await;

    // Without the License Client what it has said holds, until the end.
    licensed.site.stop().await;
    assert_eq!(status("/map/1").await, 200);
    assert_eq!(status("/alarms/1").await, 403);
    licensed
        .site
        .advance(TimeDelta::hours(96) - TimeDelta::seconds(3));
    licensed.vendor.go_away().await;
    licensed.site.restart().await;
    let in_grace = || async { licensed.site.standing().await == "grace" };
    licensed.site.until("grace", in_grace).await;
    let events = async |site: &crate::harness::Site| site.get("/api/license/status").await;
    assert_eq!(events(&licensed.site).await.0, 200);
    let has_ended = || async { status("/map/1").await == 403 };
    licensed.site.until("the end of grace", has_ended).await;
    assert_eq!(
        licensed.site.standing().await,
        "grace",
        "its clock stands still"
    );
    assert_eq!(status("/live/1").await, 200);
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_features_wait_for_nobody() {
    let (port, nobody) = (free_port(), free_port());
    let mut command = python();
    command.arg(shipped::file("examples/fastapi/gateway.py"));
    command.args([&port.to_string(), &format!("http://127.0.0.1:{nobody}")]);
    let gateway = Process::start(&mut command, port).await;
    assert_eq!(get(&gateway.url, "/live/1", &[]).await.status(), 200);
    assert_eq!(get(&gateway.url, "/map/1", &[]).await.status(), 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_ofrep_provider_for_python_understands_us() {
    let licensed = Licensed::by_feature().await;
    let output = python()
        .arg(shipped::file("crates/client/tests/python/ofrep.py"))
        .arg(&licensed.site.url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "module.map_view True STATIC on licensed None",
            "module.alarm_advanced False STATIC off not_in_license None",
            "module.live_view True STATIC on core None",
            "module.nope False ERROR None None FLAG_NOT_FOUND",
            "limit.cameras 64",
        ]
    );
    licensed.end().await;
}
