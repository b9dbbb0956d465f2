//! Envoy, with `ext_authz` over HTTP.

use std::process::Command;

use tempfile::TempDir;

use super::dns::NamedMachine;
use super::process::{Process, free_port};
use super::{Licensed, PIECES, get, raw, raw_answer, shipped};

/// What we ship, at other addresses; `license_client` says more of the cluster's.
async fn envoy(licensed: &Licensed, license_client: &[(&str, &str)]) -> (Process, TempDir) {
    let port = free_port();
    let at = |port: u16| format!("address: 127.0.0.1, port_value: {port}");
    let mut config = shipped::with(
        "deploy/envoy/envoy.yaml",
        &[
            ("address: 0.0.0.0, port_value: 8080", &at(port)),
            (
                "address: vms, port_value: 8000",
                &at(licensed.backend.address.port()),
            ),
            (
                "- name: vms\n    type: STRICT_DNS",
                "- name: vms\n    type: STATIC",
            ),
        ],
    );
    for (from, to) in license_client {
        assert!(config.contains(from), "{from}");
        config = config.replace(from, to);
    }
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
    (Process::start(&mut command, port).await, directory)
}

/// The same before the License Client at its address.
pub(super) async fn before_its_address(licensed: &Licensed) -> (Process, TempDir) {
    let port = licensed.site.url.rsplit_once(':').unwrap().1;
    let address = format!("address: 127.0.0.1, port_value: {port}");
    let place = [
        (
            "address: license-client, port_value: 8010",
            address.as_str(),
        ),
        ("type: STRICT_DNS", "type: STATIC"),
    ];
    envoy(licensed, &place).await
}

/// What holds for both shipped configurations.
pub async fn withstands_visitors(licensed: &Licensed, envoy: &str) {
    licensed.is_gated_by(envoy).await;
    licensed.keeps_tunnels_and_claims_out(envoy).await;
    licensed
        .removes_visitor_headers(envoy, &["/map/1", "/live/1", "/health/1"])
        .await;
    licensed.is_gated_by_method(envoy).await;
    licensed.is_not_led_astray(envoy).await;
    licensed.refuses_escaped_dots(envoy).await;
    licensed.leaves_queries_alone(envoy, "/health").await;
    licensed.says_what_cannot_be_read(envoy).await;
    licensed
        .is_not_talked_into_anything_by_visitors(envoy)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_gates_by_feature_and_by_path() {
    let mut licensed = Licensed::by_path().await;
    let (envoy, _directory) = before_its_address(&licensed).await;
    withstands_visitors(&licensed, &envoy.url).await;
    for (path, status) in [
        ("//alarms/1", 403),
        ("/map/../alarms/1", 403),
        ("/map/%2e%2e/alarms/1", 403),
        ("/%61larms/1", 403),
        ("/api/cameras/1/export", 403),
        ("/map%2f..%2falarms/1", 400),
        // An ungated path is not checked.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_flow_for_as_long_as_they_last() {
    let licensed = Licensed::by_path().await;
    let (envoy, _directory) = before_its_address(&licensed).await;
    // By feature, by path, and not gated at all.
    let streams = ["/map/stream", "/live/stream", "/health/stream"].map(async |path| {
        let answer = get(&envoy.url, path, &[]).await;
        assert_eq!(answer.status(), 200, "{path}");
        let frames = answer.text().await.map(|text| text.len());
        assert_eq!(frames.ok(), Some("frame ".len() * PIECES), "{path}");
    });
    futures_util::future::join_all(streams).await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escaped_slashes_and_underscores_pass_and_open_nothing() {
    let licensed = Licensed::by_path().await;
    let (envoy, _directory) = before_its_address(&licensed).await;
    for path in [
        "/health/a%2Fb",
        "/files/a%2fb.jpg",
        "/map/a%2Fb",
        "/live/a%2Fb%2Fc",
    ] {
        let answer = raw_answer(&envoy.url, path).await;
        assert_eq!(answer.get(9..12), Some("200"), "{path}: {answer}");
        assert!(answer.contains(path), "{path}: {answer}");
    }
    for path in [
        "/alarms%2f1",
        "/%2falarms/1",
        "/live%2f..%2falarms/1",
        "/api/cameras/1%2Fexport",
        "/health/x%5cy",
        "/health/%2e%2e%2fmap/1",
        "/health/..%2fmap/1",
        "/health/x/%255c..%255c..%255cmap",
    ] {
        assert_eq!(raw(&envoy.url, path).await, "400", "{path}");
    }
    // A service that takes underscores for dashes believes none of a visitor's.
    let claims = [
        ("x_camera_id", "7"),
        ("x_license_reason", "licensed"),
        ("x-license_reason", "licensed"),
        ("x_license-tier", "enterprise"),
        ("X_License_Feature", "module.live_view"),
    ];
    let through = get(&envoy.url, "/live/1", &claims).await;
    assert_eq!(through.status(), 200);
    let seen: serde_json::Value = through.json().await.unwrap();
    assert_eq!(seen["headers"]["x_camera_id"], "7");
    for (name, value) in seen["headers"].as_object().unwrap() {
        let is_ours = name == "x-license-reason" || name == "x-license-tier";
        let claims = name.replace('_', "-").starts_with("x-license");
        assert!(!claims || is_ours, "{name}: {value}");
    }
    assert_eq!(seen["headers"]["x-license-reason"], "core");
    let refused = get(&envoy.url, "/alarms/1", &claims).await;
    assert_eq!(refused.status(), 403);
    licensed.end().await;
}

/// A place that is gated by its feature, with a table that does not know it: the
/// gate is asked however the slashes are written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escaped_slashes_lead_around_no_place_that_is_gated_by_its_feature() {
    let licensed = Licensed::by_a_table("default = \"allow\"\n").await;
    let (envoy, _directory) = before_its_address(&licensed).await;
    let off = serde_json::json!({"systemEnabled": false});
    let switch = "/api/license/features/module.map_view";
    assert_eq!(licensed.site.put(switch, off).await.0, 200);
    assert_eq!(raw(&envoy.url, "/elsewhere").await, "200");
    for path in [
        "/map",
        "/map/1",
        "/map%2f1",
        "/%2Fmap/1",
        "/%2f%2Fmap%2f1",
        "//map",
        "/map%2F",
        "/m%61p%2f1",
        "/%2f%6Dap/1",
    ] {
        let answer = get(&envoy.url, path, &[]).await;
        assert_eq!(answer.status(), 403, "{path}");
        let reason = &answer.headers()["x-license-reason"];
        assert_eq!(reason, "switched_off", "{path}");
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_the_license_client_and_finds_it() {
    let licensed = Licensed::by_path().await;
    let mut machine = NamedMachine::absent(&licensed.site.url).await;
    let resolver = format!(
        "wait_for_warm_on_init: false\n    connect_timeout: 1s\n    typed_dns_resolver_config:\n      \
         name: envoy.network.dns_resolver.cares\n      typed_config:\n        \
         \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig\n        \
         resolvers: [{{socket_address: {{address: 127.0.0.1, port_value: {}}}}}]",
        machine.nameserver.port()
    );
    let port = format!("license-client, port_value: {}", machine.port);
    let place = [
        ("license-client, port_value: 8010", port.as_str()),
        (
            "wait_for_warm_on_init: false\n    connect_timeout: 1s",
            resolver.as_str(),
        ),
    ];
    let (envoy, _directory) = envoy(&licensed, &place).await;
    licensed
        .is_not_taken_down_by(&mut machine, &envoy.url, "/health/1")
        .await;
    licensed.end().await;
}
