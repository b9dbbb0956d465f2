//! What holds for the shipped configurations of all gateways alike, in the real programs.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::fastapi;
use super::process::{Process, free_port};
use super::recorder::Recorder;
use super::requests::raw_answer;
use super::{
    Licensed, apache, caddy, envoy, envoy_grpc, get, haproxy, nginx, odd_hosts, odd_targets,
    shipped,
};
use crate::nginx::Nginx;

/// A gateway before the site and its service.
struct Gateway {
    name: &'static str,
    process: Process,
    _directory: TempDir,
}

/// Each of them, gated by path.
async fn every_gateway(licensed: &Licensed) -> Vec<Gateway> {
    let caddyfile = caddy::by_path(licensed);
    [
        ("nginx", nginx::by_path(licensed).await.into_process()),
        ("Caddy", caddy::caddy(licensed, &caddyfile).await),
        ("Envoy", envoy::before_its_address(licensed).await),
        ("HAProxy", haproxy::before(licensed).await),
        ("Apache", apache::before(licensed).await),
    ]
    .map(|(name, (process, directory))| Gateway {
        name,
        process,
        _directory: directory,
    })
    .into()
}

/// The sockets on which a program listens: TCP by address and port in hexadecimal, Unix by path.
fn listening_sockets(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    let own: Vec<_> = links
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?;
            Some(link.strip_suffix(']')?.to_owned())
        })
        .collect();
    assert_ne!(own, [""; 0], "the program has no socket");
    // The columns of the state, of the inode and of the address.
    let tables = [
        ("tcp", "0A", [3, 9, 1]),
        ("tcp6", "0A", [3, 9, 1]),
        ("unix", "00010000", [3, 6, 7]),
    ];
    let mut listening = Vec::new();
    for (table, state, columns) in tables {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [line_state, inode, address] = columns.map(|it| *fields.get(it).unwrap_or(&""));
            if line_state == state && own.iter().any(|it| it == inode) {
                listening.push(format!("{table} {address}"));
            }
        }
    }
    listening
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_configuration_opens_an_interface_for_administration() {
    let licensed = Licensed::by_path().await;
    let mut gateways = every_gateway(&licensed).await;
    let (process, _directory) = envoy_grpc::envoy(&licensed, free_port()).await;
    gateways.push(Gateway {
        name: "Envoy over gRPC",
        process,
        _directory,
    });
    for gateway in gateways {
        let name = gateway.name;
        let listening = listening_sockets(gateway.process.id());
        // HAProxy also listens for its own authorization calls.
        let expected = if name == "HAProxy" { 2 } else { 1 };
        assert_eq!(listening.len(), expected, "{name}: {listening:?}");
        for socket in listening {
            assert!(socket.starts_with("tcp 0100007F:"), "{name}: {socket}");
        }
    }
    licensed.end().await;
}

/// Default health checks, old devices and nginx's default `proxy_pass` speak HTTP/1.0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_http_1_0_are_gated_like_others() {
    let licensed = Licensed::by_path().await;
    for gateway in every_gateway(&licensed).await {
        licensed
            .is_gated_in_http_1_0_by(gateway.name, &gateway.process.url)
            .await;
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_host_is_read_as_part_of_the_path() {
    let licensed = Licensed::by_path().await;
    for gateway in every_gateway(&licensed).await {
        odd_hosts::are_refused(gateway.name, &gateway.process.url).await;
    }
    // Those that speak HTTP/2 as shipped, with TLS (Caddy), or if it is turned on (nginx).
    let caddyfile =
        caddy::by_path(&licensed).replace("servers {", "servers {\n\t\tprotocols h1 h2c");
    let port = free_port();
    let nginx = nginx::by_path_with(&licensed, &format!("listen 127.0.0.1:{port} http2;")).await;
    let speakers = [
        ("Envoy", envoy::before_its_address(&licensed).await),
        (
            "Envoy over gRPC",
            envoy_grpc::envoy(&licensed, free_port()).await,
        ),
        ("HAProxy", haproxy::before(&licensed).await),
        ("Caddy", caddy::caddy(&licensed, &caddyfile).await),
    ];
    let (_, (envoy_grpc, _)) = &speakers[1];
    odd_hosts::are_refused("Envoy over gRPC", &envoy_grpc.url).await;
    for (name, (process, _directory)) in &speakers {
        odd_hosts::are_refused_over_http_2(name, &process.url).await;
    }
    odd_hosts::are_refused_over_http_2("nginx", &format!("http://127.0.0.1:{port}")).await;
    drop(nginx);
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_target_is_read_as_another_path() {
    let licensed = Licensed::by_path().await;
    for gateway in every_gateway(&licensed).await {
        odd_targets::are_refused(gateway.name, &gateway.process.url).await;
    }
    let (envoy, _directory) = envoy_grpc::envoy(&licensed, free_port()).await;
    odd_targets::are_refused("Envoy over gRPC", &envoy.url).await;
    // Everything but /map is open.
    let open = "import license_visitor_headers\n";
    let caddyfile = caddy::by_path(&licensed).replace("import license_by_path\n", open);
    let (caddy, _directory) = caddy::caddy(&licensed, &caddyfile).await;
    assert!(
        raw_answer(&caddy.url, "/alarms/1")
            .await
            .contains("\"path\":")
    );
    odd_targets::are_refused("Caddy, open", &caddy.url).await;
    let open = format!(
        "location / {{ proxy_set_header Host $http_host; proxy_pass http://{}; }}",
        licensed.backend.address
    );
    let nginx = Nginx::gate(&licensed.site.url, &open).await;
    assert!(
        raw_answer(&nginx.url, "/alarms/1")
            .await
            .contains("\"path\":")
    );
    odd_targets::are_refused("nginx, open", &nginx.url).await;
    licensed.end().await;
}

/// Another program may listen at the address of the License Client. nginx cannot look at the headers of
/// an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_reason_is_no_verdict() {
    let mut licensed = Licensed::by_path().await;
    let others = [
        Recorder::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await,
        Recorder::start(|_| {
            "HTTP/1.1 200 OK\r\nX-License-Reason: \r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        })
        .await,
    ];
    for other in others {
        let other = format!("http://{}", other.address);
        let license_client = std::mem::replace(&mut licensed.site.url, other);
        let gateways = every_gateway(&licensed).await;
        licensed.site.url = license_client;
        for gateway in gateways.iter().filter(|it| it.name != "nginx") {
            for path in ["/map/1", "/live/1", "/elsewhere"] {
                let answer = raw_answer(&gateway.process.url, path).await;
                let what = format!("{}, {path}: {answer}", gateway.name);
                assert!(!answer.contains("\"path\":"), "{what}");
                assert!(!answer.starts_with("HTTP/1.1 2"), "{what}");
            }
        }
    }
    licensed.end().await;
}

/// A service of `tests/python/prefix.py` in a Python server, which removes the prefix that
/// `header` names from the path.
async fn strips_no_prefix_for_visitors(
    packages: &str,
    arguments: &[&str],
    header: &str,
    stripped: &str,
) {
    let port = free_port();
    let mut command = fastapi::python(packages);
    command.current_dir(shipped::file("crates/client/tests/python"));
    command.arg("-m");
    for argument in arguments {
        command.arg(argument.replace("PORT", &port.to_string()));
    }
    let service = Process::start(&mut command, port).await;
    let mut licensed = Licensed::by_path().await;
    licensed.backend.address = SocketAddr::from(([127, 0, 0, 1], port));

    let claim = [(header, "/health")];
    let direct = get(&service.url, "/health/alarms/1", &claim).await;
    assert_eq!(direct.text().await.unwrap(), stripped);
    for gateway in every_gateway(&licensed).await {
        let answer = get(&gateway.process.url, "/health/alarms/1", &claim).await;
        let name = gateway.name;
        assert_eq!(answer.status(), 200, "{name}");
        assert_eq!(answer.text().await.unwrap(), " /health/alarms/1", "{name}");
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_names_no_prefix_for_daphne() {
    let arguments = ["daphne", "-b", "127.0.0.1", "-p", "PORT", "prefix:asgi"];
    let stripped = "/health /health/alarms/1";
    strips_no_prefix_for_visitors("daphne", &arguments, "daphne-root-path", stripped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_names_no_prefix_for_gunicorn() {
    let arguments = ["gunicorn", "-b", "127.0.0.1:PORT", "prefix:wsgi"];
    let stripped = "/health /alarms/1";
    strips_no_prefix_for_visitors(fastapi::CURRENT, &arguments, "script_name", stripped).await;
}
