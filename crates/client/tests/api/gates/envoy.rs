//! Envoy, with `ext_authz` over HTTP.

use std::process::Command;

use super::process::{Process, free_port};
use super::{Licensed, get, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_gates_by_feature_and_by_path() {
    let mut licensed = Licensed::by_path().await;
    let port = free_port();
    let at = |port: u16| format!("address: 127.0.0.1, port_value: {port}");
    let license_client: u16 = licensed
        .site
        .url
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let config = shipped::with(
        "deploy/envoy/envoy.yaml",
        &[
            ("address: 0.0.0.0, port_value: 8080", &at(port)),
            (
                "address: license-client, port_value: 8010",
                &at(license_client),
            ),
            (
                "address: vms, port_value: 8000",
                &at(licensed.backend.address.port()),
            ),
            ("STRICT_DNS", "STATIC"),
        ],
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("envoy.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(shipped::installed("envoy/envoy/_bin/envoy"));
    command.arg("-c").arg(&file);
    command.args([
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "-l",
        "warning",
    ]);
    command.arg("--log-path").arg(directory.path().join("log"));
    let envoy = Process::start(&mut command, port).await;

    licensed.is_gated_by(&envoy.url).await;
    licensed.is_gated_by_method(&envoy.url).await;
    licensed.is_not_led_astray(&envoy.url).await;
    licensed.refuses_escaped_dots(&envoy.url).await;
    licensed
        .is_not_talked_into_anything_by_visitors(&envoy.url)
        .await;
    for (path, status) in [
        ("//alarms/1", 403),
        ("/map/../alarms/1", 403),
        ("/map/%2e%2e/alarms/1", 403),
        ("/%61larms/1", 403),
        ("/api/cameras/1/export", 403),
        ("/api/cameras/1%23/export", 403),
        ("/api/cameras/1/expor%F4", 403),
        // Envoy itself wants none of these.
        ("/map%2f..%2falarms/1", 400),
        // A path that is not gated is nobody's question.
        ("/health/1", 200),
    ] {
        let answer = get(&envoy.url, path, &[]).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    let through = get(&envoy.url, "/map/1", &[]).await;
    let seen: serde_json::Value = through.json().await.unwrap();
    assert_eq!(seen["headers"]["x-license-reason"], "licensed");
    licensed.is_shut_without_it(&envoy.url, 503).await;
    licensed.is_shut_while_it_hangs(&envoy.url).await;
    licensed.end().await;
}
