//! Traefik, with `forwardAuth`. Its program is in none of the registries that
//! tests may use: a script plays what its documentation says of version 3.

use std::process::Command;

use super::process::{Process, free_port};
use super::requests::exchange;
use super::{Licensed, get, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_gates_by_feature_and_by_path() {
    let mut licensed = Licensed::by_path().await;
    let config = shipped::with(
        "deploy/traefik/license.yaml",
        &[
            ("http://license-client:8010", &licensed.site.url),
            (
                "http://vms:8000",
                &format!("http://{}", licensed.backend.address),
            ),
        ],
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("license.yaml");
    std::fs::write(&file, config).unwrap();
    let port = free_port();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(shipped::file("crates/client/tests/python/traefik.py"));
    command.arg(port.to_string()).arg(&file);
    let traefik = Process::start(&mut command, port).await;
    licensed.is_gated_by(&traefik.url).await;
    licensed.keeps_tunnels_and_claims_out(&traefik.url).await;
    licensed
        .removes_names_of_the_table(&traefik.url, &["script_name", "path_info"])
        .await;
    licensed.is_gated_by_method(&traefik.url).await;
    licensed
        .is_not_talked_into_anything_by_visitors(&traefik.url)
        .await;
    for (host, status) in [
        ("", "403"),
        (":80", "403"),
        (".", "403"),
        (r"x\map\1?", "403"),
        ("vms.example:8443", "200"),
        ("[::1]:8443", "200"),
        ("[::1]", "200"),
    ] {
        let request = format!("GET /map/1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = exchange(&traefik.url, request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status), "{host}: {answer}");
    }
    let refused = get(&traefik.url, "/alarms/1", &[]).await;
    assert_eq!(refused.headers()["x-license-reason"], "not_in_license");
    let unreadable = get(&traefik.url, "/api/cameras/1%23/export", &[]).await;
    assert_eq!(unreadable.status(), 400);
    let body: serde_json::Value = unreadable.json().await.unwrap();
    assert_eq!(
        body["detail"],
        "The path or feature of the request is invalid"
    );
    licensed.is_shut_without_it(&traefik.url, 500).await;
    licensed.end().await;
}
