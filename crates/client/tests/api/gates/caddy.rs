//! Caddy, with `forward_auth`.

use std::process::Command;

use tempfile::TempDir;

use super::dns::NamedMachine;
use super::process::{Process, free_port};
use super::{Licensed, get, raw, shipped};

/// Not for production: nothing is fetched, and nothing is listened on but the
/// port of the test.
const CONFINED: &str = "auto_https off\n\tdefault_bind 127.0.0.1\n\torder";

pub(super) async fn caddy(licensed: &Licensed, config: &str) -> (Process, TempDir) {
    caddy_before(&licensed.site.url.replace("http://", ""), config).await
}

async fn caddy_before(license_client: &str, config: &str) -> (Process, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("Caddyfile");
    let port = free_port();
    let config = config.replace(":8080 {", &format!("http://:{port} {{"));
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("caddy");
    command.arg("run").arg("--config").arg(&file);
    command.args(["--adapter", "caddyfile"]);
    command.env("LICENSE_CLIENT", license_client);
    for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(home, directory.path());
    }
    command.stderr(std::fs::File::create(directory.path().join("log")).unwrap());
    (Process::start(&mut command, port).await, directory)
}

/// The Caddyfile that we ship, for other addresses.
pub(super) fn by_path(licensed: &Licensed) -> String {
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
    licensed.keeps_tunnels_and_claims_out(&caddy.url).await;
    licensed
        .removes_visitor_headers(&caddy.url, &["/map/1", "/live/1"])
        .await;
    licensed.refuses_long_paths(&caddy.url, 414).await;
    licensed.is_gated_by_method(&caddy.url).await;
    licensed.is_not_led_astray(&caddy.url).await;
    licensed
        .is_not_talked_into_anything_by_visitors(&caddy.url)
        .await;
    licensed.leaves_queries_alone(&caddy.url, "/files/1").await;
    licensed.says_what_cannot_be_read(&caddy.url).await;
    licensed.reads_raw_names(&caddy.url).await;
    for path in ["/%61larms/1", "/api/cameras/1/export"] {
        let answer = get(&caddy.url, path, &[]).await;
        assert_eq!(answer.status(), 403, "{path}");
    }
    for path in ["//health/map/1", "/%2Fhealth/map/1", "/%252fhealth/map/1"] {
        assert_eq!(raw(&caddy.url, path).await, "400", "{path}");
    }
    for path in ["//alarms/1", "/alarms;x/1", "/map/%2e%2e/alarms/1"] {
        assert_eq!(raw(&caddy.url, path).await, "400", "{path}");
    }
    // A service that takes underscores for dashes believes none of a visitor's.
    let claims = [
        ("x_camera_id", "7"),
        ("x_license_tier", "enterprise"),
        ("x-license_tier", "enterprise"),
        ("X_License-Reason", "licensed"),
    ];
    for path in ["/map/1", "/live/1"] {
        let through = get(&caddy.url, path, &claims).await;
        let seen: serde_json::Value = through.json().await.unwrap();
        let headers = seen["headers"].as_object().unwrap();
        assert_eq!(headers["x_camera_id"], "7", "{path}");
        let is_odd = |name: &&String| name.contains("license") && name.contains('_');
        assert_eq!(headers.keys().find(is_odd), None, "{path}");
    }
    licensed.is_shut_without_it(&caddy.url, 503).await;
    licensed.is_shut_while_it_hangs(&caddy.url).await;
    licensed.end().await;
}

/// A site that answers its own errors, after our rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_handlers_of_a_site_open_or_close_a_gate() {
    let mut licensed = Licensed::by_path().await;
    let service = licensed.backend.address;
    for handlers in [
        "handle_errors {\n\t\trespond page 200\n\t}".to_owned(),
        format!("handle_errors {{\n\t\treverse_proxy {service}\n\t}}"),
        format!("handle_errors {{\n\t\trewrite * /live/1\n\t\treverse_proxy {service}\n\t}}"),
        "header Cache-Control max-age=3600\n\tencode gzip".to_owned(),
    ] {
        let ours = "import license_errors\n";
        let config = by_path(&licensed).replace(ours, &format!("{ours}\t{handlers}\n"));
        let (caddy, _directory) = caddy(&licensed, &config).await;
        licensed.is_gated_by(&caddy.url).await;
        licensed.is_shut_without_it(&caddy.url, 503).await;
        licensed.is_shut_while_it_hangs(&caddy.url).await;
    }
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
    licensed.keeps_tunnels_and_claims_out(&caddy.url).await;
    licensed
        .removes_visitor_headers(&caddy.url, &["/map/1", "/live/1"])
        .await;
    licensed.refuses_escaped_dots(&caddy.url).await;
    let slash = get(&caddy.url, "/map/a%2Fb.jpg", &[]).await;
    assert_eq!(slash.status(), 200);
    licensed
        .is_not_talked_into_anything_by_visitors(&caddy.url)
        .await;
    // Without a table, questions by path are refused.
    let answer = get(&caddy.url, "/elsewhere?feature=module.live_view", &[]).await;
    assert_eq!(answer.headers()["x-license-reason"], "no_table");
    licensed.is_shut_without_it(&caddy.url, 503).await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_the_license_client_and_finds_it() {
    let licensed = Licensed::by_path().await;
    let mut machine = NamedMachine::absent(&licensed.site.url).await;
    let open = format!(
        "handle /open {{\n\t\treverse_proxy {}\n\t}}\n\t@map path",
        licensed.backend.address
    );
    let rules = shipped::file("deploy/caddy/license.caddy");
    let text = std::fs::read_to_string(&rules).unwrap();
    assert!(text.contains("transport http {"));
    let resolver = format!(
        "transport http {{\n\t\t\tresolvers udp/{}",
        machine.nameserver
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("license.caddy");
    std::fs::write(&file, text.replace("transport http {", &resolver)).unwrap();
    let config = by_path(&licensed)
        .replace("@map path", &open)
        .replace(&rules.display().to_string(), &file.display().to_string());
    let address = format!("license-client.test:{}", machine.port);
    let (caddy, _directory) = caddy_before(&address, &config).await;
    licensed
        .is_not_taken_down_by(&mut machine, &caddy.url, "/open")
        .await;
    licensed.end().await;
}
