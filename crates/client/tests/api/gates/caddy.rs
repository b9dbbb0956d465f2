//! Caddy, with `forward_auth`.

use std::process::Command;

use tempfile::TempDir;

use super::process::{Process, free_port};
use super::{Licensed, get, shipped};

/// Not for production: nothing is fetched, and nothing is listened on but the
/// port of the test.
const CONFINED: &str = "admin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n\torder";

async fn caddy(licensed: &Licensed, config: &str) -> (Process, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Caddyfile");
    let port = free_port();
    let config = config.replace(":8080 {", &format!("http://127.0.0.1:{port} {{"));
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("caddy");
    command.arg("run").arg("--config").arg(&file);
    command.args(["--adapter", "caddyfile"]);
    command.env("LICENSE_CLIENT", licensed.site.url.replace("http://", ""));
    for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(home, directory.path());
    }
    command.stderr(std::fs::File::create(directory.path().join("log")).unwrap());
    (Process::start(&mut command, port).await, directory)
}

/// The Caddyfile that we ship, for other addresses.
fn by_path(licensed: &Licensed) -> String {
    let import = shipped::file("deploy/caddy/license.caddy");
    shipped::with(
        "deploy/caddy/Caddyfile",
        &[
            (
                "import license.caddy",
                &format!("import {}", import.display()),
            ),
            ("vms:8000", &licensed.backend.address.to_string()),
            ("order request", &format!("{CONFINED} request")),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_caddyfile_gates_by_path() {
    let mut licensed = Licensed::by_path().await;
    let (caddy, _directory) = caddy(&licensed, &by_path(&licensed)).await;
    licensed.is_gated_by(&caddy.url).await;
    licensed.is_gated_by_method(&caddy.url).await;
    licensed.is_not_led_astray(&caddy.url).await;
    licensed
        .is_not_talked_into_anything_by_visitors(&caddy.url)
        .await;
    for path in [
        "//alarms/1",
        "/map/%2e%2e/alarms/1",
        "/%61larms/1",
        "/alarms;x/1",
        "/api/cameras/1/export",
        "/api/cameras/1%23/export",
        "/api/cameras/1/expor%F4",
    ] {
        let answer = get(&caddy.url, path, &[]).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
    licensed.is_shut_without_it(&caddy.url, 503).await;
    licensed.is_shut_while_it_hangs(&caddy.url).await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_gates_by_feature() {
    let mut licensed = Licensed::by_feature().await;
    let mut handles = String::new();
    for (name, feature) in [
        ("alarms", "module.alarm_advanced"),
        ("live", "module.live_view"),
        ("nope", "module.nope"),
    ] {
        handles.push_str(&format!(
            "@{name} path /{name} /{name}/*\n\thandle @{name} {{\n\t\timport license {feature}\n\t\t\
             reverse_proxy {}\n\t}}\n\t",
            licensed.backend.address
        ));
    }
    let config = by_path(&licensed).replace("@map path", &format!("{handles}@map path"));
    let (caddy, _directory) = caddy(&licensed, &config).await;
    licensed.is_gated_by(&caddy.url).await;
    licensed.is_not_led_astray(&caddy.url).await;
    licensed.refuses_escaped_dots(&caddy.url).await;
    let slash = get(&caddy.url, "/map/a%2Fb.jpg", &[]).await;
    assert_eq!(slash.status(), 200);
    licensed
        .is_not_talked_into_anything_by_visitors(&caddy.url)
        .await;
    // Who has no table, and is asked by path all the same, refuses.
    let answer = get(&caddy.url, "/elsewhere?feature=module.live_view", &[]).await;
    assert_eq!(answer.headers()["x-license-reason"], "no_table");
    licensed.is_shut_without_it(&caddy.url, 503).await;
    licensed.end().await;
}
