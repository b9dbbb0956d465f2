//! Node with OpenFeature's server SDK and its OFREP provider.

use std::process::Command;

use serde_json::{Value, json};

use super::process::{Process, free_port};
use super::{Licensed, get, raw, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_gateway_asks_through_openfeature() {
    let mut licensed = Licensed::by_feature().await;
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(shipped::installed("node/gateway.mjs"));
    command.args([&port.to_string(), &licensed.site.url]);
    let gateway = Process::start(&mut command, port).await;
    licensed.is_gated_by(&gateway.url).await;
    let limits = get(&gateway.url, "/limits", &[]).await;
    assert_eq!(
        limits.json::<Value>().await.unwrap(),
        json!({"cameras": 64})
    );
    for path in [
        "//",
        "//alarms/1",
        "/%61larms/1",
        "/ALARMS/1",
        "/alarms%2f1",
        "/live/../alarms/1",
    ] {
        let status = raw(&gateway.url, path).await;
        assert!(
            ["400", "403"].contains(&status.as_str()),
            "{path}: {status}"
        );
    }
    licensed.site.stop().await;
    assert_eq!(get(&gateway.url, "/map/1", &[]).await.status(), 503);
    licensed.site.restart().await;
    licensed.is_gated_by(&gateway.url).await;
    licensed.end().await;
}
