//! FastAPI with OpenFeature's Python SDK, which decides in the process.

use std::process::Command;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::process::{Process, free_port};
use super::{Licensed, get, raw, shipped};

/// The versions of `examples/fastapi/requirements.txt`.
pub(super) const CURRENT: &str = "fastapi";
/// FastAPI 0.92 and what goes with it, of Debian.
const DEBIAN: &str = "python";

/// Python with the example, and packages that are installed below `target/gateways`.
pub(super) fn python(packages: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    let example = shipped::file("examples/fastapi");
    let path = [shipped::installed(packages), example.clone()];
    command.env("PYTHONPATH", std::env::join_paths(path).unwrap());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.current_dir(example);
    command
}

/// The example by its own `main`.
async fn gateway_of(packages: &str, url: &str) -> Process {
    let port = free_port();
    let mut command = python(packages);
    command.args(["gateway.py", &port.to_string(), url]);
    Process::start(&mut command, port).await
}

/// The example as a server of ASGI starts it, which knows nothing of `main`.
async fn served_by(arguments: &[&str], url: &str) -> Process {
    let port = free_port();
    let mut command = python(CURRENT);
    command.arg("-m");
    for argument in arguments {
        command.arg(argument.replace("PORT", &port.to_string()));
    }
    command.arg("gateway:app");
    command.env("LICENSE_CLIENT_URL", url);
    Process::start(&mut command, port).await
}

async fn status(gateway: &Process, path: &str) -> StatusCode {
    get(&gateway.url, path, &[]).await.status()
}

async fn switch_map(licensed: &Licensed, is_on: bool) {
    let path = "/api/license/features/module.map_view";
    let switch = json!({"systemEnabled": is_on});
    licensed.site.put(path, switch).await;
}

async fn until_map_is(licensed: &Licensed, gateway: &Process, expected: u16) {
    let is_so = || async { status(gateway, "/map/1").await == expected };
    licensed.site.until("the map changes", is_so).await;
}

/// The beginning of a WebSocket: the connection, and the head of the answer.
async fn websocket(gateway: &Process, path: &str) -> (tokio::net::TcpStream, String) {
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap())
}

/// Reads until the other side closes, which it has to.
async fn rest_of(stream: &mut (impl tokio::io::AsyncRead + Unpin), what: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    let reading = async {
        while !rest.windows(what.len()).any(|it| it == what) {
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                read => rest.extend_from_slice(&piece[..read]),
            }
        }
    };
    let reading = tokio::time::timeout(Duration::from_secs(10), reading).await;
    reading.expect("the gateway ends the stream");
    rest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_gateway_decides_in_the_process() {
    let mut licensed = Licensed::by_feature().await;
    let gateway = gateway_of(DEBIAN, &licensed.site.url).await;
    until_map_is(&licensed, &gateway, 200).await;
    licensed.is_gated_by(&gateway.url).await;

    // The route that runs is gated, and other spellings of its path reach none.
    assert_eq!(raw(&gateway.url, "/%61larms/1").await, "403");
    for path in ["//alarms/1", "/ALARMS/1", "/alarms;x/1", "/live/..;/alarms"] {
        let answer = super::raw_answer(&gateway.url, path).await;
        let is_live = answer.contains(r#"{"page":"..;/alarms"}"#);
        assert!(
            is_live || answer.get(9..12) == Some("404"),
            "{path}: {answer}"
        );
    }

    // A change arrives, and an end needs no message.
    switch_map(&licensed, false).await;
    until_map_is(&licensed, &gateway, 403).await;
    switch_map(&licensed, true).await;
    until_map_is(&licensed, &gateway, 200).await;

    // Without the License Client what it has said holds, until the end.
    licensed.site.stop().await;
    assert_eq!(status(&gateway, "/map/1").await, 200);
    assert_eq!(status(&gateway, "/alarms/1").await, 403);
    licensed
        .site
        .advance(TimeDelta::hours(96) - TimeDelta::seconds(3));
    licensed.vendor.go_away().await;
    licensed.site.restart().await;
    let in_grace = || async { licensed.site.standing().await == "grace" };
    licensed.site.until("grace", in_grace).await;
    let events = async |site: &crate::harness::Site| site.get("/api/license/status").await;
    assert_eq!(events(&licensed.site).await.0, 200);
    until_map_is(&licensed, &gateway, 403).await;
    assert_eq!(
        licensed.site.standing().await,
        "grace",
        "its clock stands still"
    );
    assert_eq!(status(&gateway, "/live/1").await, 200);
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_features_never_wait() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let gateway = gateway_of(CURRENT, &nobody).await;
    assert_eq!(status(&gateway, "/live/1").await, 200);
    let answer = get(&gateway.url, "/map/1", &[]).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "5");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["reason"], "no_contact");
}

/// A `root_path` and mounts move routes, and their gates go with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_root_path_leads_around_a_gate() {
    let licensed = Licensed::by_feature().await;
    for root in ["/vms", "/live"] {
        let uvicorn = [
            "uvicorn",
            "--port=PORT",
            "--log-level=warning",
            "--root-path",
            root,
        ];
        let gateway = served_by(&uvicorn, &licensed.site.url).await;
        until_map_is(&licensed, &gateway, 200).await;
        licensed.is_gated_by(&gateway.url).await;
        // As a proxy sends it that cuts off the prefix, and as one that does not.
        for path in ["/analytics/1", "/alarms/1", "/alarms/alarms/1"] {
            for path in [path.to_owned(), format!("{root}{path}")] {
                let answer = get(&gateway.url, &path, &[]).await;
                match answer.status().as_u16() {
                    403 | 404 => {}
                    // Live view, which has seen all that follows its own prefix.
                    200 => {
                        let page: Value = answer.json().await.unwrap();
                        let rest = path.strip_prefix("/live/");
                        assert_eq!(page["page"].as_str(), rest, "{root} {path}");
                    }
                    other => panic!("{root} {path}: {other}"),
                }
            }
        }
    }
    licensed.end().await;
}

/// A sub-application is gated as a whole.
async fn the_mounted_application_is_gated(gateway: &Process) {
    for path in ["/analytics/1", "/analytics/live/1", "/analytics//live/1"] {
        let answer = get(&gateway.url, path, &[]).await;
        assert_eq!(answer.status(), 403, "{path}");
        assert_eq!(answer.headers()["x-license-reason"], "not_in_license");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["reason"], "not_in_license", "{path}");
        assert_eq!(body["feature"], "module.alarm_advanced");
    }
}

/// Each worker follows for itself, whichever server has made it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_server_of_asgi_starts_the_example() {
    let licensed = Licensed::by_feature().await;
    let gunicorn = [
        "gunicorn",
        "--bind=127.0.0.1:PORT",
        "--workers=2",
        "--worker-class=uvicorn_worker.UvicornWorker",
        "--log-level=warning",
        "--preload",
    ];
    let uvicorn = ["uvicorn", "--port=PORT", "--log-level=warning"];
    let without_lifespan = [&uvicorn[..], &["--lifespan=off"]].concat();
    let workers = [&uvicorn[..], &["--workers=2"]].concat();
    let servers = [&uvicorn[..], &without_lifespan, &workers, &gunicorn];
    let url = &licensed.site.url;
    let gateways = servers.map(|server| served_by(server, url));
    let gateways = futures_util::future::join_all(gateways).await;
    for gateway in &gateways {
        assert_eq!(status(gateway, "/live/1").await, 200);
    }
    for (is_on, expected) in [(true, 200), (false, 403), (true, 200)] {
        switch_map(&licensed, is_on).await;
        for gateway in &gateways {
            // Several workers answer.
            let all_are_so = || async {
                for _ in 0..20 {
                    if status(gateway, "/map/1").await != expected {
                        return false;
                    }
                }
                true
            };
            licensed.site.until("all workers agree", all_are_so).await;
        }
    }
    for gateway in &gateways {
        licensed.is_gated_by(&gateway.url).await;
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_are_gated_and_streams_end_with_the_license() {
    let licensed = Licensed::by_feature().await;
    for packages in [DEBIAN, CURRENT] {
        let gateway = gateway_of(packages, &licensed.site.url).await;
        until_map_is(&licensed, &gateway, 200).await;
        the_mounted_application_is_gated(&gateway).await;
        let mut stream = get(&gateway.url, "/map-stream", &[]).await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.chunk().await.unwrap().unwrap(), "position\n");
        let (mut feed, head) = websocket(&gateway, "/map-feed").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        rest_of(&mut feed, b"position").await;

        switch_map(&licensed, false).await;
        let ends = async { while stream.chunk().await.unwrap().is_some() {} };
        let ends = tokio::time::timeout(Duration::from_secs(10), ends).await;
        ends.expect("the stream ends");
        // The close frame: 1008, and the reason.
        let closed = rest_of(&mut feed, b"\x03\xf0switched_off").await;
        let closed = String::from_utf8_lossy(&closed).into_owned();
        assert!(closed.contains("switched_off"), "{closed}");

        let (_, head) = websocket(&gateway, "/map-feed").await;
        assert!(head.starts_with("HTTP/1.1 403"), "{head}");
        let answer = get(&gateway.url, "/map-stream", &[]).await;
        assert_eq!(answer.status(), 403);
        switch_map(&licensed, true).await;
        until_map_is(&licensed, &gateway, 200).await;
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_ofrep_provider_for_python_understands_us() {
    let licensed = Licensed::by_feature().await;
    let output = python(DEBIAN)
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

#[test]
fn a_service_is_tested_without_a_license_client() {
    let script = shipped::file("crates/client/tests/python/fixed_gate.py");
    // `-P`: beside the script there is another `gateway.py`.
    let output = python(DEBIAN).arg("-P").arg(script).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"passed\n");
}
