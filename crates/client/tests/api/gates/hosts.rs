//! DNS rebinding through gateways: a website that points its own name at a
//! gateway is refused, because the visitor's `Host` reaches the License Client.
//!
//! nginx has rules for the API of the License Client. The configurations of the
//! other gateways have none: here the License Client stands where they have the
//! VMS, as it does for operators who add such a route.

use std::process::Command;

use reqwest::{Method, Response};
use serde_json::json;
use tempfile::TempDir;

use super::process::{Process, free_port};
use super::{Backend, shipped};
use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::nginx::Nginx;
use crate::scripted_cloud::ScriptedCloud;

const TOKEN: &str = "a-token-of-a-good-length";
const NAME: &str = "vms.example";
/// All paths are open: this is not about features.
const ROUTES: &str = "default = \"allow\"\n";

/// Which page sends a request, as its browser says it.
#[derive(Clone, Copy, Debug)]
enum Origin<'a> {
    /// A page of the address that is called.
    Same,
    /// A page of this origin: browsers say no more where there is no TLS.
    Named(&'a str),
}

/// A licensed site that is called by one name.
struct Named {
    site: Site,
    cloud: ScriptedCloud,
    directory: TempDir,
}

impl Named {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let routes = directory.path().join("routes.toml");
        std::fs::write(&routes, ROUTES).unwrap();
        let routes = routes.display().to_string();
        let flags = [
            "--admin-token",
            TOKEN,
            "--allowed-hosts",
            NAME,
            "--gate-routes",
            &routes,
        ];
        let cloud = ScriptedCloud::start().await;
        let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
        assert_eq!(site.activate(KEY).await.0, 200);
        Self {
            site,
            cloud,
            directory,
        }
    }

    fn port(&self) -> &str {
        self.site.url.rsplit_once(':').unwrap().1
    }

    /// A request as a browser sends it that knows the gateway as `host`. Where
    /// the License Client trusts no visitor of the gateway, it carries a token.
    async fn ask(
        &self,
        gateway: &str,
        (method, path): (Method, &str),
        host: &str,
        origin: Origin<'_>,
        token: bool,
    ) -> Response {
        let mut request = self
            .site
            .http
            .request(method.clone(), format!("{gateway}{path}"))
            .header("host", host);
        request = match origin {
            Origin::Named(origin) if method != Method::GET => request.header("origin", origin),
            Origin::Named(_) => request,
            Origin::Same => request.header("sec-fetch-site", "same-origin"),
        };
        if token {
            request = request.bearer_auth(TOKEN);
        }
        if method == Method::PUT {
            request = request.json(&json!({"systemEnabled": false}));
        }
        request.send().await.unwrap()
    }

    /// A website that calls the gateway by any name reads and changes nothing.
    async fn is_safe_from_rebinding(&self, gateway: &str, token: bool) {
        let port = gateway.rsplit_once(':').unwrap().1;
        let calls = self.cloud.arrived().len();
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            "EVIL.example.".to_owned(),
            format!("{NAME}.evil.example"),
            "127.0.0.1.nip.io".to_owned(),
        ] {
            let named = format!("http://{host}");
            for origin in [Origin::Same, Origin::Named(&named)] {
                for request in [
                    (Method::GET, "/api/license/status"),
                    (Method::GET, "/api/license/attempts"),
                    (Method::POST, "/api/license/validate"),
                    (Method::POST, "/api/license/heartbeat"),
                    (Method::POST, "/api/license/deactivate"),
                    (Method::PUT, "/api/license/features/module.map_view"),
                ] {
                    let what = format!("{request:?} as {host}, {origin:?}");
                    let answer = self.ask(gateway, request, &host, origin, token).await;
                    assert_eq!(answer.status(), 421, "{what}");
                    let body = answer.text().await.unwrap();
                    assert!(!body.contains("FXSGHT"), "{what}: {body}");
                }
            }
        }
        assert_eq!(self.cloud.arrived().len(), calls);
        assert_eq!(self.site.standing().await, "active");
        assert!(self.site.is_available("module.map_view").await);
    }

    /// The operator's name works on any port, for pages of the same origin alone.
    async fn works_by_its_name(&self, gateway: &str, token: bool) {
        let validate = (Method::POST, "/api/license/validate");
        let status = (Method::GET, "/api/license/status");
        for host in [NAME.to_owned(), format!("{NAME}:8443")] {
            let named = format!("http://{host}");
            for origin in [Origin::Same, Origin::Named(&named)] {
                for request in [status.clone(), validate.clone()] {
                    let what = format!("{request:?} as {host}, {origin:?}");
                    let answer = self.ask(gateway, request, &host, origin, token).await;
                    assert_eq!(answer.status(), 200, "{what}");
                }
            }
            for origin in ["http://evil.example", "http://vms.example:9999", "null"] {
                let named = Origin::Named(origin);
                let answer = self
                    .ask(gateway, validate.clone(), &host, named, token)
                    .await;
                assert_eq!(answer.status(), 403, "{host} {origin}");
            }
        }
    }

    async fn end(self) {
        self.site.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_passes_on_the_name_that_the_visitor_used() {
    let named = Named::start().await;
    let nginx = Nginx::gateway(&named.site.url).await;
    // The visitor is on the gateway's machine, whom api.conf trusts.
    named.is_safe_from_rebinding(&nginx.url, false).await;
    named.works_by_its_name(&nginx.url, false).await;
    named.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_passes_on_the_name_that_the_visitor_used() {
    let named = Named::start().await;
    let address = named.site.url.replace("http://", "");
    let port = free_port();
    let import = shipped::file("deploy/caddy/license.caddy");
    let config = shipped::with(
        "deploy/caddy/Caddyfile",
        &[
            (
                "import license.caddy",
                &format!("import {}", import.display()),
            ),
            ("vms:8000", &address),
            // Any name, on loopback alone.
            (":8080 {", &format!("http://:{port} {{")),
            (
                "order request",
                "auto_https off\n\tdefault_bind 127.0.0.1\n\torder request",
            ),
        ],
    );
    let directory = named.directory.path();
    let file = directory.join("Caddyfile");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("caddy");
    command.arg("run").arg("--config").arg(&file);
    command.args(["--adapter", "caddyfile"]);
    command.env("LICENSE_CLIENT", &address);
    for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(home, directory);
    }
    command.stderr(std::fs::File::create(directory.join("log")).unwrap());
    let caddy = Process::start(&mut command, port).await;
    named.is_safe_from_rebinding(&caddy.url, true).await;
    named.works_by_its_name(&caddy.url, true).await;
    named.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_passes_on_the_name_that_the_visitor_used() {
    let named = Named::start().await;
    let port = free_port();
    let at = |port: &str| format!("address: 127.0.0.1, port_value: {port}");
    let config = shipped::with(
        "deploy/envoy/envoy.yaml",
        &[
            ("address: 0.0.0.0, port_value: 8080", &at(&port.to_string())),
            (
                "address: license-client, port_value: 8010",
                &at(named.port()),
            ),
            ("address: vms, port_value: 8000", &at(named.port())),
            ("STRICT_DNS", "STATIC"),
        ],
    );
    let directory = named.directory.path();
    let file = directory.join("envoy.yaml");
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
    command.arg("--log-path").arg(directory.join("log"));
    let envoy = Process::start(&mut command, port).await;
    named.is_safe_from_rebinding(&envoy.url, true).await;
    named.works_by_its_name(&envoy.url, true).await;
    named.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traefik_passes_on_the_name_that_the_visitor_used() {
    let named = Named::start().await;
    let config = shipped::with(
        "deploy/traefik/license.yaml",
        &[
            ("http://license-client:8010", &named.site.url),
            ("http://vms:8000", &named.site.url),
        ],
    );
    let file = named.directory.path().join("license.yaml");
    std::fs::write(&file, config).unwrap();
    let port = free_port();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(shipped::file("crates/client/tests/python/traefik.py"));
    command.arg(port.to_string()).arg(&file);
    let traefik = Process::start(&mut command, port).await;
    named.is_safe_from_rebinding(&traefik.url, true).await;
    named.works_by_its_name(&traefik.url, true).await;
    named.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_passes_on_the_name_that_the_visitor_used() {
    let named = Named::start().await;
    let address = named.site.url.replace("http://", "");
    let (haproxy, _directory) = super::haproxy::haproxy(&address, &address).await;
    named.is_safe_from_rebinding(&haproxy.url, true).await;
    named.works_by_its_name(&haproxy.url, true).await;
    named.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_passes_on_the_name_that_the_visitor_used() {
    let named = Named::start().await;
    let address = named.site.url.replace("http://", "");
    let (apache, _directory) = super::apache::apache(&address, &address).await;
    named.is_safe_from_rebinding(&apache.url, true).await;
    named.works_by_its_name(&apache.url, true).await;
    named.end().await;
}

/// A gate's question carries the host name that the visitor used, and neither reads nor changes
/// anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_is_asked_by_any_name() {
    let named = Named::start().await;
    let backend = Backend::start().await;
    let locations = format!(
        "location / {{ include gated_by_path.conf; proxy_pass http://{}; }}",
        backend.address
    );
    let nginx = Nginx::gate(&named.site.url, &locations).await;
    let request = (Method::GET, "/map/1");
    let answer = named
        .ask(&nginx.url, request, "cameras.example", Origin::Same, false)
        .await;
    assert_eq!(answer.status(), 200);
    named.end().await;
}
