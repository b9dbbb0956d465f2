//! nginx as sites configure it: no directive around our rules opens a gate, closes one, or changes
//! what the License Client is asked.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Licensed;
use super::recorder::Recorder;
use crate::nginx::Nginx;

/// A user name and a password, for sites that ask for them.
const CREDENTIALS: (&str, &str) = ("operator", "password");

/// Directives of a site.
struct Surroundings {
    /// Before our rules in the server block, against our advice.
    before: &'static str,
    /// Of the http block or the server block: locations inherit them.
    inherited: &'static str,
    /// Of the server block: rules for URLs, and locations of the site.
    server: &'static str,
}

const NOTHING: Surroundings = Surroundings {
    before: "",
    inherited: "",
    server: "",
};

const fn inherited(inherited: &'static str, server: &'static str) -> Surroundings {
    Surroundings {
        before: "",
        inherited,
        server,
    }
}

const fn in_server(server: &'static str) -> Surroundings {
    inherited("", server)
}

/// SERVICE is the address of the site's service, and DIRECTORY the one of nginx.
const SURROUNDINGS: [Surroundings; 29] = [
    NOTHING,
    // Pages instead of errors.
    inherited(
        "proxy_intercept_errors on; error_page 403 = /403.html; \
         error_page 500 502 503 504 = /50x.html;",
        "location = /403.html { return 200 forbidden; } location = /50x.html { return 200 down; }",
    ),
    inherited(
        "error_page 502 503 504 = @maintenance;",
        "location @maintenance { return 200 maintenance; }",
    ),
    inherited(
        "error_page 400 401 403 404 405 413 429 500 502 503 504 =200 @service; \
         recursive_error_pages on; proxy_intercept_errors on;",
        "location @service { auth_request off; proxy_pass http://SERVICE; }",
    ),
    // Other rules for access.
    inherited("satisfy any; allow 127.0.0.1; deny all;", ""),
    inherited(
        "satisfy any; auth_basic site; auth_basic_user_file DIRECTORY/passwords;",
        "",
    ),
    inherited(
        "auth_basic site; auth_basic_user_file DIRECTORY/passwords;",
        "",
    ),
    inherited(
        "auth_request /sign_in; auth_request_set $user $upstream_http_x_user;",
        "location = /sign_in { internal; return 204; }",
    ),
    inherited(
        "limit_req zone=requests burst=50 nodelay; limit_conn connections 1;",
        "",
    ),
    // Other requests to the service.
    inherited("proxy_method POST;", ""),
    inherited("proxy_set_body $request_body;", ""),
    inherited("proxy_set_body 'feature=module.live_view';", ""),
    inherited("proxy_pass_request_headers off;", ""),
    inherited(
        "proxy_set_header X-License-Feature module.live_view; \
         proxy_set_header X-Original-URI /live/1; proxy_set_header X-Original-Method GET; \
         proxy_set_header Transfer-Encoding chunked;",
        "",
    ),
    inherited("proxy_http_version 1.0; proxy_bind 127.0.0.1;", ""),
    inherited(
        "proxy_next_upstream error timeout invalid_header http_403 http_404 http_500 http_502 \
         http_503 http_504 non_idempotent;",
        "",
    ),
    inherited("proxy_next_upstream off;", ""),
    inherited(
        "proxy_connect_timeout 60s; proxy_send_timeout 1h; proxy_read_timeout 1h;",
        "resolver_timeout 1h;",
    ),
    inherited(
        "proxy_buffering off; proxy_request_buffering off; proxy_ignore_client_abort on; \
         chunked_transfer_encoding off; proxy_socket_keepalive on;",
        "",
    ),
    // Other answers.
    inherited(
        "proxy_hide_header X-License-Reason; proxy_ignore_headers X-Accel-Redirect; \
         proxy_redirect off;",
        "",
    ),
    inherited("proxy_store on; root DIRECTORY/stored;", ""),
    inherited(
        "proxy_cache site; proxy_cache_valid any 1h; proxy_ignore_headers Cache-Control; \
         proxy_cache_key $request_uri; proxy_cache_use_stale error timeout http_403 http_500;",
        "",
    ),
    inherited(
        "add_header Cache-Control 'public, max-age=3600' always; expires max; ssi on; gzip on; \
         gzip_types *; sub_filter X Y; mirror /mirrored; default_type text/plain; log_subrequest on;",
        "location = /mirrored { internal; auth_request off; return 200; }",
    ),
    // Rules for URLs.
    in_server("rewrite ^/_(.*)$ /page last; location = /page { return 200 page; }"),
    in_server("if ($uri !~ ^/(map|alarms|live|api|nope)/) { return 200 page; }"),
    in_server("if ($request_method != POST) { rewrite ^/_license /page; } try_files $uri /page;"),
    in_server("set $license_feature module.live_view; set $license_reason licensed;"),
    Surroundings {
        before: "set $license_feature module.live_view;",
        ..NOTHING
    },
    inherited("merge_slashes off;", ""),
];

/// Zones that directives of sites need, and types by the ends of names.
const HTTP: &str = "limit_req_zone $binary_remote_addr zone=requests:1m rate=1000r/s; \
    limit_conn_zone $binary_remote_addr zone=connections:1m; \
    proxy_cache_path DIRECTORY/cache keys_zone=site:1m; \
    types { image/jpeg jpg; application/json json; }";

impl Surroundings {
    /// The map and the alarms are gated by feature, everything else by path.
    async fn in_server_block(&self, license_client: &str, service: &str, http: &str) -> Nginx {
        let locations: String = [
            ("map", "module.map_view"),
            ("alarms", "module.alarm_advanced"),
        ]
        .iter()
        .map(|(name, feature)| {
            format!(
                "location ^~ /{name}/ {{ set $license_feature {feature}; \
                 include gated_by_feature.conf; proxy_pass http://{service}; }}\n"
            )
        })
        .collect();
        let server = format!(
            "{}\n{}\n{locations} location / {{ include gated_by_path.conf; \
             proxy_pass http://{service}; }}",
            self.inherited, self.server
        );
        self.start(license_client, service, http, &server).await
    }

    /// The whole server is gated by path.
    async fn in_http_block(&self, license_client: &str, service: &str) -> Nginx {
        let server = format!(
            "include gated_by_path.conf; {}\n location / {{ proxy_pass http://{service}; }}",
            self.server
        );
        self.start(license_client, service, self.inherited, &server)
            .await
    }

    async fn start(&self, license_client: &str, service: &str, http: &str, server: &str) -> Nginx {
        let [http, before, server] = [&format!("{HTTP}\n{http}"), self.before, server]
            .map(|it| it.replace("SERVICE", service));
        Nginx::gate_of_site(license_client, &http, &before, &server).await
    }
}

async fn get(nginx: &Nginx, path: &str) -> Response {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http.get(format!("{}{path}", nginx.url));
    let (user, password) = CREDENTIALS;
    let answer = request.basic_auth(user, Some(password)).send().await;
    answer.unwrap()
}

/// A site with its nginx, and what it is about.
struct Case {
    directives: String,
    nginx: Nginx,
}

impl Case {
    async fn gates(&self) {
        let Self { directives, nginx } = self;
        for path in ["/map/1", "/live/1"] {
            let answer = get(nginx, path).await;
            assert_eq!(answer.status(), 200, "{path}: {directives}");
            let seen: Value = answer.json().await.unwrap();
            assert_eq!(seen["path"], path, "{directives}");
        }
        for path in ["/alarms/1.jpg", "/api/cameras/1/export", "/nope/1"] {
            let answer = get(nginx, path).await;
            assert_eq!(answer.status(), 403, "{path}: {directives}");
            let content_type = &answer.headers()["content-type"];
            assert_eq!(content_type, "application/json", "{path}: {directives}");
            let reason = &answer.headers()["x-license-reason"];
            assert_eq!(reason, "not_in_license", "{path}: {directives}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["reason"], "not_in_license", "{path}: {directives}");
        }
        // Locations do not match repeated slashes if nginx does not merge them.
        for path in ["//alarms/1", "/alarms//1"] {
            let status = get(nginx, path).await.status().as_u16();
            assert!([400, 403].contains(&status), "{path}: {directives}");
        }
    }

    async fn is_shut(&self) {
        let Self { directives, nginx } = self;
        for path in ["/map/1.jpg", "/live/1"] {
            let begun = Instant::now();
            let answer = get(nginx, path).await;
            assert_eq!(answer.status(), 503, "{path}: {directives}");
            // All of them wait at the same time, 2 s for each request.
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(20), "{waited:?}: {directives}");
            let headers = answer.headers();
            assert_eq!(headers["retry-after"], "5", "{path}: {directives}");
            assert_eq!(headers["content-type"], "application/json", "{directives}");
            let body: Value = answer.json().await.unwrap();
            let detail = json!({"detail": "The license cannot be checked right now"});
            assert_eq!(body, detail, "{path}: {directives}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_directive_of_a_site_opens_or_closes_a_gate() {
    let mut licensed = Licensed::by_path().await;
    let license_client = licensed.site.url.clone();
    let service = licensed.backend.address.to_string();
    let mut cases = Vec::new();
    for site in &SURROUNDINGS {
        let directives = format!("{} {} {}", site.before, site.inherited, site.server);
        let of_server = site.in_server_block(&license_client, &service, "").await;
        cases.push(Case {
            directives: format!("server: {directives}"),
            nginx: of_server,
        });
        let of_http = site.in_http_block(&license_client, &service).await;
        cases.push(Case {
            directives: format!("http: {directives}"),
            nginx: of_http,
        });
    }
    for case in &cases {
        case.gates().await;
    }
    licensed.site.stop().await;
    for case in &cases {
        case.is_shut().await;
    }
    licensed.site.restart().await;
    let hanging = licensed.hang().await;
    join_all(cases.iter().map(Case::is_shut)).await;
    hanging.abort();
    let _ = hanging.await;
    licensed.site.restart().await;
    for case in &cases {
        case.gates().await;
    }
    licensed.end().await;
}

/// Over a connection that is kept open, so that bytes after a question would be read as the next
/// one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_directive_of_a_site_changes_what_the_license_client_is_asked() {
    let mut expected: Option<Vec<String>> = None;
    for site in &SURROUNDINGS {
        let allows = |_: &str| "HTTP/1.1 204 No Content\r\nX-License-Reason: licensed\r\n\r\n";
        let license_client = Recorder::start(allows).await;
        let service = super::recorder::service().await;
        let group = format!(
            "upstream license-clients {{ server {}; keepalive 4; }}",
            license_client.address
        );
        let service = service.address.to_string();
        let nginx = site
            .in_server_block("http://license-clients", &service, &group)
            .await;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for path in ["/map/1?a=b", "/live/1?a=b", "/alarms/1"] {
            let (user, password) = CREDENTIALS;
            let question = "POST /api/license/deactivate HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let request = http.post(format!("{}{path}", nginx.url));
            let request = request.basic_auth(user, Some(password)).body(question);
            assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
        }
        let asked = license_client.take();
        assert_eq!(asked.len(), 3, "{}: {asked:?}", site.inherited);
        let expected = expected.get_or_insert_with(|| asked.clone());
        assert_eq!(asked, *expected, "{} {}", site.inherited, site.server);
    }
}

/// The rules for the API in `api.conf`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_page_of_a_site_replaces_an_answer_of_the_api() {
    let mut licensed = Licensed::by_path().await;
    let site = "include api.conf; location = /page { return 200 page; } \
        proxy_intercept_errors on; error_page 401 403 404 422 500 502 503 504 =200 /page;";
    let nginx = Nginx::gate_of_site(&licensed.site.url, "", "", site).await;
    let statuses = async || {
        // A visitor, who may read and not change anything.
        let http = reqwest::Client::builder().no_proxy();
        let http = http.local_address(IpAddr::from([127, 0, 0, 2]));
        let http = http.build().unwrap();
        let mut statuses = Vec::new();
        for (method, path) in [
            (Method::GET, "/api/license/status"),
            (Method::GET, "/api/license/settings"),
            (Method::GET, "/api/license/nothing"),
            (Method::POST, "/api/license/deactivate"),
            (Method::POST, "/api/license/feature/check"),
            (Method::DELETE, "/api/license/feature/check"),
        ] {
            let answer = http.request(method, format!("{}{path}", nginx.url)).send();
            statuses.push(answer.await.unwrap().status().as_u16());
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 401, 404, 403, 422, 403]);
    licensed.site.stop().await;
    assert_eq!(statuses().await, [502, 502, 502, 403, 502, 403]);
    licensed.end().await;
}
