//! Apache httpd, with a script that asks.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::dns::{Ipv6, NamedMachine};
use super::process::{Process, free_port};
use super::{Licensed, get, recorder, shipped};

/// What `a2enmod` enables of Debian's modules, and what is always there.
const MODULES: [&str; 8] = [
    "mpm_event",
    "authz_core",
    "authz_host",
    "headers",
    "lua",
    "proxy",
    "proxy_http",
    "setenvif",
];

/// What we ship, before `license_client` and `service`, both as `host:port`.
pub async fn apache(license_client: &str, service: &str) -> (Process, TempDir) {
    apache_of_site(license_client, service, "", "").await
}

/// The same with directives of a site: of its server, and of its virtual host before ours.
async fn apache_of_site(
    license_client: &str,
    service: &str,
    server: &str,
    host: &str,
) -> (Process, TempDir) {
    assert!(
        Path::new("/usr/share/lua/5.3/socket.lua").exists(),
        "lua-socket is missing; 'cargo xtask test' installs it"
    );
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().display().to_string();
    // Its children are another user's.
    let anyone = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), anyone).unwrap();
    for script in ["deploy/apache/license.lua", "deploy/lua/plain_path.lua"] {
        let from = shipped::file(script);
        let to = directory.path().join(from.file_name().unwrap());
        std::fs::copy(&from, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let rules = shipped::with(
        "deploy/apache/license.conf",
        &[
            ("/etc/apache2/license", &root),
            ("license-client:8010", license_client),
            ("vms:8000", service),
        ],
    );
    let modules = MODULES
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let modules = modules.concat();
    let user = if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        "User www-data\nGroup www-data\n"
    } else {
        ""
    };
    let config = format!(
        "ServerRoot {root}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {root}/pid\n\
         DefaultRuntimeDir {root}\nErrorLog {root}/log\n{user}{modules}\
         {server}\n<VirtualHost *:{port}>\n{host}\n{rules}\n</VirtualHost>\n"
    );
    let file = directory.path().join("apache2.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(&file);
    (Process::start(&mut command, port).await, directory)
}

pub(super) async fn before(licensed: &Licensed) -> (Process, TempDir) {
    let license_client = licensed.site.url.replace("http://", "");
    apache(&license_client, &licensed.backend.address.to_string()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shipped_configuration_gates_by_feature_and_by_path() {
    let licensed = Licensed::by_path().await;
    let (apache, _directory) = before(&licensed).await;
    licensed.guard_holds_in_every_way(&apache.url).await;
}

/// A site's own directives, in the server and in the virtual host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_directives_of_a_site_open_or_close_a_gate() {
    let mut licensed = Licensed::by_path().await;
    let pages: String = [400, 401, 403, 404, 500, 502, 503, 504]
        .iter()
        .map(|status| format!("ErrorDocument {status} /health/page\n"))
        .collect();
    let directives = [
        pages.as_str(),
        "ErrorDocument 403 page\nErrorDocument 503 page\nErrorDocument 500 page\n",
        "ProxyErrorOverride On\nProxyTimeout 3600\nTimeout 3600\n",
        "<Location />\nErrorDocument 403 page\n<RequireAny>\nRequire all granted\n\
         Require ip 127.0.0.1\n</RequireAny>\n</Location>\n",
        "Header always set Cache-Control max-age=3600\nHeader always set Content-Type text/plain\n\
         Header unset X-License-Reason\nKeepAlive Off\n",
    ];
    let (license_client, service) = (
        licensed.site.url.replace("http://", ""),
        licensed.backend.address.to_string(),
    );
    let mut gateways = Vec::new();
    for directives in directives {
        for (server, host) in [(directives, ""), ("", directives)] {
            gateways.push(apache_of_site(&license_client, &service, server, host).await);
        }
    }
    for (apache, _) in &gateways {
        licensed.is_gated_by(&apache.url).await;
    }
    for (apache, _) in &gateways {
        licensed.is_shut_without_it(&apache.url, 503).await;
        licensed.is_shut_while_it_hangs(&apache.url).await;
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_leads_around_a_place_that_is_gated_by_its_feature() {
    let licensed = Licensed::by_a_table("default = \"allow\"\n").await;
    let (apache, _directory) = before(&licensed).await;
    licensed
        .is_gated_by_feature_however_it_is_spelt(&apache.url)
        .await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_asks_only_what_it_needs() {
    let (license_client, service) = (recorder::license_client().await, recorder::service().await);
    let addresses = (license_client.address, service.address);
    let (apache, _directory) = apache(&addresses.0.to_string(), &addresses.1.to_string()).await;
    recorder::asks_only_what_it_needs(&apache.url, &license_client, &service).await;
}

/// Names are looked up by the system, which a test cannot give another nameserver; so the
/// License Client comes to an address at which there was none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_the_license_client_and_finds_it() {
    let licensed = Licensed::by_path().await;
    let mut machine = NamedMachine::absent(&licensed.site.url).await;
    let license_client = format!("127.0.0.2:{}", machine.port);
    let service = licensed.backend.address.to_string();
    let (apache, directory) = apache(&license_client, &service).await;
    assert_eq!(get(&apache.url, "/health/1", &[]).await.status(), 200);
    let shut = get(&apache.url, "/map/1", &[]).await;
    assert_eq!(shut.status(), 503);
    assert_eq!(shut.headers()["retry-after"], "5");
    machine.moves_to([127, 0, 0, 2], Ipv6::Unused).await;
    licensed.is_passed_again_by(&apache.url).await;
    assert_eq!(get(&apache.url, "/alarms/1", &[]).await.status(), 403);
    // A script that is gone lets nothing pass.
    drop(apache);
    std::fs::remove_file(directory.path().join("plain_path.lua")).unwrap();
    let config = directory.path().join("apache2.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    let listen = text.split("Listen 127.0.0.1:").nth(1).unwrap();
    let port: u16 = listen.lines().next().unwrap().parse().unwrap();
    let mut command = Command::new("apache2");
    command.arg("-DFOREGROUND").arg("-f").arg(&config);
    let apache = Process::start(&mut command, port).await;
    assert_eq!(get(&apache.url, "/map/1", &[]).await.status(), 500);
    licensed.end().await;
}
