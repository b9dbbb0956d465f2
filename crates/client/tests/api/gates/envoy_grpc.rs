//! Envoy, with `ext_authz` over gRPC.

use std::process::Command;

use tempfile::TempDir;

use super::envoy::withstands_visitors;
use super::process::{Process, free_port};
use super::{Licensed, PIECES, get, raw, raw_answer, shipped};

/// A site with a port for gRPC, and the table of `routes`.
async fn licensed(routes: &str) -> (Licensed, u16, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    std::fs::write(&file, routes).unwrap();
    let port = free_port();
    let flags = [
        "--gate-routes",
        &file.display().to_string(),
        "--ext-authz-port",
        &port.to_string(),
    ];
    (Licensed::with(&flags).await, port, directory)
}

/// What we ship, at other addresses.
pub(super) async fn envoy(licensed: &Licensed, license_client: u16) -> (Process, TempDir) {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log").display().to_string();
    let at = |port: u16| format!("address: 127.0.0.1, port_value: {port}");
    let config = shipped::with(
        "deploy/envoy/envoy-grpc.yaml",
        &[
            ("address: 0.0.0.0, port_value: 8080", &at(port)),
            (
                "address: vms, port_value: 8000",
                &at(licensed.backend.address.port()),
            ),
            (
                "address: license-client, port_value: 8011",
                &at(license_client),
            ),
            ("type: STRICT_DNS", "type: STATIC"),
            ("path: /dev/stdout", &format!("path: {log}")),
        ],
    );
    let file = directory.path().join("envoy.yaml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(shipped::installed("envoy/envoy/_bin/envoy"));
    command.arg("-c").arg(&file);
    command.args(["--disable-hot-restart", "--concurrency", "1"]);
    command.args(["-l", "warning", "--file-flush-interval-msec", "100"]);
    command.arg("--log-path").arg(directory.path().join("log"));
    (Process::start(&mut command, port).await, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_gates_by_feature_and_by_path() {
    let (mut licensed, port, _routes) = licensed(super::ROUTES).await;
    let (envoy, directory) = envoy(&licensed, port).await;
    withstands_visitors(&licensed, &envoy.url).await;
    licensed.is_gated_in_http_1_0_by("Envoy", &envoy.url).await;
    for (path, status) in [
        ("//alarms/1", 403),
        ("/map/../alarms/1", 403),
        ("/%61larms/1", 403),
        ("/api/cameras/1/export", 403),
        ("/map%2f..%2falarms/1", 400),
        ("/health/1", 200),
        // A feature is not chosen by a path.
        ("/feature/module.nope/x", 200),
        ("/feature/module.live_view/../../alarms/1", 403),
    ] {
        let answer = get(&envoy.url, path, &[]).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    // The raw path is asked about, so an honest '!' passes.
    for (path, status) in [
        (&b"/alarms!/1"[..], "200"),
        (b"/al\xe1rms/1", "400"),
        (b"/alarms\xff/1", "400"),
    ] {
        let answer = raw_answer(&envoy.url, path).await;
        assert_eq!(answer.get(9..12), Some(status), "{path:?}: {answer}");
    }
    let through = get(&envoy.url, "/map/1", &[("x-license-tier", "enterprise")]).await;
    let seen: serde_json::Value = through.json().await.unwrap();
    assert_eq!(seen["headers"]["x-license-reason"], "licensed");
    assert_eq!(seen["headers"]["x-license-tier"], "professional");
    let refused = get(&envoy.url, "/alarms/1", &[]).await;
    assert_eq!(refused.headers()["content-type"], "application/json");
    assert_eq!(refused.headers()["x-license-reason"], "not_in_license");

    // A gRPC visitor gets a gRPC status.
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let refused = get(&envoy.url, "/alarms/1", &grpc).await;
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-status"], "7");
    let shown = refused.headers()["grpc-message"].to_str().unwrap();
    assert!(shown.contains("not_in_license"), "{shown}");

    licensed.is_shut_without_it(&envoy.url, 503).await;
    is_logged(&licensed, &directory).await;
    licensed.end().await;
}

/// Envoy's access log says what was decided, and why.
async fn is_logged(licensed: &Licensed, directory: &TempDir) {
    let file = directory.path().join("access.log");
    let is_there = |path: &str, expected: [(&str, serde_json::Value); 3]| {
        let log = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = log.lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            (line["path"] == path).then_some(line)
        });
        lines
            .into_iter()
            .any(|line| expected.iter().all(|(name, value)| line[*name] == *value))
    };
    let site = &licensed.site;
    let (yes, no) = (true.into(), false.into());
    let logged = |path, allowed: &serde_json::Value, feature: &str, reason: &str| {
        let expected = [
            ("license_allowed", allowed.clone()),
            ("license_feature", feature.into()),
            ("license_reason", reason.into()),
        ];
        is_there(path, expected)
    };
    let all = || async {
        logged("/map/1", &yes, "module.map_view", "licensed")
            && logged("/live/1", &yes, "module.live_view", "core")
            && logged("/alarms/1", &no, "module.alarm_advanced", "not_in_license")
    };
    site.until("the access log names the decisions", all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_of_the_configuration_has_to_be_available() {
    let (mut licensed, port, _routes) = licensed("default = \"allow\"\n").await;
    let (envoy, _directory) = envoy(&licensed, port).await;
    let off = serde_json::json!({"systemEnabled": false});
    let switch = "/api/license/features/module.map_view";
    assert_eq!(licensed.site.put(switch, off).await.0, 200);
    assert_eq!(raw(&envoy.url, "/elsewhere").await, "200");
    for path in ["/map", "/map/1", "/map%2f1", "/%2Fmap/1", "//map", "/m%61p"] {
        let answer = get(&envoy.url, path, &[]).await;
        assert_eq!(answer.status(), 403, "{path}");
        let reason = &answer.headers()["x-license-reason"];
        assert_eq!(reason, "switched_off", "{path}");
    }
    // Without the License Client everything gated is closed, and the rest is open.
    licensed.site.stop().await;
    assert_eq!(get(&envoy.url, "/elsewhere", &[]).await.status(), 503);
    assert_eq!(get(&envoy.url, "/health/1", &[]).await.status(), 200);
    licensed.site.restart().await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_flow_for_as_long_as_they_last() {
    let (licensed, port, _routes) = licensed(super::ROUTES).await;
    let (envoy, _directory) = envoy(&licensed, port).await;
    let streams = ["/map/stream", "/live/stream"].map(async |path| {
        let answer = get(&envoy.url, path, &[]).await;
        assert_eq!(answer.status(), 200, "{path}");
        let frames = answer.text().await.map(|text| text.len());
        assert_eq!(frames.ok(), Some("frame ".len() * PIECES), "{path}");
    });
    futures_util::future::join_all(streams).await;
    licensed.end().await;
}

/// Both configurations refuse the same paths and remove the same headers.
#[test]
fn what_is_refused_does_not_depend_on_how_the_gate_is_asked() {
    let rules = |path: &str| {
        let text = std::fs::read_to_string(shipped::file(path)).unwrap();
        let lines = text.lines().map(str::trim);
        let rules = lines.filter(|line| {
            [
                "- remove_on_match:",
                "- match:",
                "direct_response:",
                "route:",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        });
        rules.map(str::to_owned).collect::<Vec<_>>()
    };
    let over_http = rules("deploy/envoy/envoy.yaml");
    assert!(over_http.len() > 20);
    assert_eq!(over_http, rules("deploy/envoy/envoy-grpc.yaml"));
}
