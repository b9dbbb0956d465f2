//! `HAProxy`, with a script that asks.

use std::process::Command;

use tempfile::TempDir;

use super::dns::NamedMachine;
use super::process::{Process, free_port};
use super::{Licensed, get, raw, recorder, shipped};

/// What we ship, before `license_client` and `service`, both as `host:port`.
pub async fn haproxy(license_client: &str, service: &str) -> (Process, TempDir) {
    let server = (
        "license-client:8010 resolvers license-names resolve-prefer ipv4 init-addr none",
        license_client,
    );
    haproxy_with(&[server], service).await
}

/// The same with other replacements of what names the License Client.
async fn haproxy_with(replacements: &[(&str, &str)], service: &str) -> (Process, TempDir) {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    // Another port: tests run at the same time.
    let listener = format!("127.0.0.1:{}", free_port());
    let script = shipped::with(
        "deploy/haproxy/license.lua",
        &[("127.0.0.1:983", &listener)],
    );
    std::fs::write(directory.path().join("license.lua"), script).unwrap();
    let plain_path = shipped::file("deploy/lua/plain_path.lua");
    std::fs::copy(plain_path, directory.path().join("plain_path.lua")).unwrap();
    let mut config = shipped::with(
        "deploy/haproxy/haproxy.cfg",
        &[
            (
                "/etc/haproxy/license",
                &directory.path().display().to_string(),
            ),
            ("bind :8080", &format!("bind 127.0.0.1:{port}")),
            ("bind 127.0.0.1:983", &format!("bind {listener}")),
            ("vms:8000", service),
        ],
    );
    for (from, to) in replacements {
        assert!(config.contains(from), "{from}");
        config = config.replace(from, to);
    }
    let file = directory.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file).stderr(log);
    (Process::start(&mut command, port).await, directory)
}

pub(super) async fn before(licensed: &Licensed) -> (Process, TempDir) {
    let license_client = licensed.site.url.replace("http://", "");
    haproxy(&license_client, &licensed.backend.address.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_gates_by_feature_and_by_path() {
    let licensed = Licensed::by_path().await;
    let (haproxy, _directory) = before(&licensed).await;
    licensed.guard_holds_in_every_way(&haproxy.url).await;
}

/// A site's own configuration before ours. Each of these would open gates or answer in their place
/// if our sections inherited it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_defaults_of_a_site_open_or_close_a_gate() {
    let mut licensed = Licensed::by_path().await;
    let pages = tempfile::tempdir().unwrap();
    let page = pages.path().join("page.http");
    let answer = "HTTP/1.0 200 OK\r\nX-License-Reason: licensed\r\n\r\npage";
    std::fs::write(&page, answer).unwrap();
    let error_files: String = [400, 403, 404, 408, 500, 502, 503, 504]
        .iter()
        .map(|status| format!("    errorfile {status} {}\n", page.display()))
        .collect();
    let directives = [
        error_files.as_str(),
        "    mode tcp\n",
        "    http-response set-status 200\n",
        "    http-request allow\n",
        "    retry-on all-retryable-errors\n    retries 5\n    option redispatch\n",
        "    timeout server 1h\n    timeout connect 1h\n    timeout queue 1h\n",
        "    option http-server-close\n    http-reuse never\n    option httpchk\n",
    ];
    let mut gateways = Vec::new();
    for directives in directives {
        let mode = if directives.contains("mode") {
            ""
        } else {
            "    mode http\n"
        };
        let site = format!("defaults site\n{mode}    timeout client 1h\n{directives}\n");
        let license_client = licensed.site.url.replace("http://", "");
        let place = [
            (
                "license-client:8010 resolvers license-names resolve-prefer ipv4 init-addr none",
                license_client.as_str(),
            ),
            ("defaults vms\n", &format!("{site}defaults vms\n")),
        ];
        let service = licensed.backend.address.to_string();
        gateways.push(haproxy_with(&place, &service).await);
    }
    for (haproxy, _) in &gateways {
        licensed.is_gated_by(&haproxy.url).await;
    }
    for (haproxy, _) in &gateways {
        licensed.is_shut_without_it(&haproxy.url, 503).await;
        licensed.is_shut_while_it_hangs(&haproxy.url).await;
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_leads_around_a_place_that_is_gated_by_its_feature() {
    let licensed = Licensed::by_a_table("default = \"allow\"\n").await;
    let (haproxy, _directory) = before(&licensed).await;
    licensed
        .is_gated_by_feature_however_it_is_spelt(&haproxy.url)
        .await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_only_what_it_needs() {
    let (license_client, service) = (recorder::license_client().await, recorder::service().await);
    let addresses = (license_client.address, service.address);
    let (haproxy, _directory) = haproxy(&addresses.0.to_string(), &addresses.1.to_string()).await;
    recorder::asks_only_what_it_needs(&haproxy.url, &license_client, &service).await;
}

/// `HAProxy` continues with a request when a script fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_fails_lets_nothing_pass() {
    let service = recorder::service().await;
    let (haproxy, directory) = haproxy("127.0.0.1:1", &service.address.to_string()).await;
    drop(haproxy);
    let file = directory.path().join("license.lua");
    let script = std::fs::read_to_string(&file).unwrap();
    let asks = "    txn:set_var(\"txn.license\", \"unanswered\")\n";
    assert!(script.contains(asks));
    std::fs::write(&file, script.replace(asks, "    error(\"no\")\n")).unwrap();
    let config = directory.path().join("haproxy.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    let old = text
        .split("bind 127.0.0.1:")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let port: u16 = old.parse().unwrap();
    let mut command = Command::new("haproxy");
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    command.arg("-db").arg("-f").arg(&config).stderr(log);
    let haproxy = Process::start(&mut command, port).await;
    for path in ["/map/1", "/live/1"] {
        assert_eq!(raw(&haproxy.url, path).await, "503", "{path}");
    }
    assert_eq!(service.take(), [""; 0]);
    assert_eq!(get(&haproxy.url, "/health", &[]).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_the_license_client_and_finds_it() {
    let licensed = Licensed::by_path().await;
    let mut machine = NamedMachine::absent(&licensed.site.url).await;
    let name = format!("license-client.test:{}", machine.port);
    let nameserver = format!("nameserver test {}", machine.nameserver);
    let place = [
        ("license-client:8010", name.as_str()),
        ("parse-resolv-conf", nameserver.as_str()),
    ];
    let service = licensed.backend.address.to_string();
    let (haproxy, _directory) = haproxy_with(&place, &service).await;
    licensed
        .is_not_taken_down_by(&mut machine, &haproxy.url, "/health/1")
        .await;
    licensed.end().await;
}
