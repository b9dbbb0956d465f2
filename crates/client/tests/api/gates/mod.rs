//! Gateways of all kinds: the real programs, with what we ship and the
//! examples, each asked the same before a real License Server.

mod apache;
mod as_in_version_1;
mod axum_gateway;
mod browser;
mod caddy;
mod dns;
mod envoy;
mod envoy_grpc;
mod fastapi;
mod haproxy;
mod hosts;
pub mod nginx;
mod node;
mod openfeature;
pub mod process;
mod python_provider;
mod recorder;
pub mod shipped;
mod traefik;

use std::net::SocketAddr;
use std::time::Duration;

use axum::response::IntoResponse as _;
use chrono::{DateTime, TimeDelta};
use license_service::clock::Clock as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::dns::NamedMachine;
use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

/// Every path that gateways are asked for, and what it needs.
const ROUTES: &str = r#"
[[route]]
path = "/map/**"
feature = "module.map_view"

[[route]]
path = "/alarms/**"
feature = "module.alarm_advanced"

[[route]]
path = "/live/**"
feature = "module.live_view"

[[route]]
path = "/nope/**"
feature = "module.nope"

[[route]]
path = "/api/cameras/*/export"
feature = "module.alarm_advanced"

[[route]]
path = "/form/**"
methods = ["GET"]

[[route]]
path = "/form/**"
feature = "module.alarm_advanced"
"#;

/// A site whose license lists the map and no alarms, behind gateways.
struct Licensed {
    vendor: Vendor,
    site: Site,
    backend: Backend,
    _directory: TempDir,
}

impl Licensed {
    /// Gateways say which feature a path needs.
    async fn by_feature() -> Self {
        Self::with(&[]).await
    }

    /// The License Client knows which feature a path needs.
    async fn by_path() -> Self {
        Self::by_a_table(ROUTES).await
    }

    /// The same with another table.
    async fn by_a_table(routes: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("routes.toml");
        std::fs::write(&file, routes).unwrap();
        let mut licensed = Self::with(&["--gate-routes", &file.display().to_string()]).await;
        licensed._directory = directory;
        licensed
    }

    async fn with(flags: &[&str]) -> Self {
        Self::of(Vendor::start().await, flags).await
    }

    /// A site of today: a gate with keys looks at its own wall clock, too.
    async fn today() -> Self {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        let now = DateTime::UNIX_EPOCH + TimeDelta::from_std(since).unwrap();
        let (day, grace) = (TimeDelta::hours(24), TimeDelta::hours(72));
        Self::of(Vendor::start_at(now, day, grace).await, &[]).await
    }

    async fn of(vendor: Vendor, flags: &[&str]) -> Self {
        let keys = vendor.trusted_keys();
        let flags = [&["--license-trusted-keys", keys.as_str()], flags].concat();
        let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
        site.advance(vendor.clock.now() - site.now());
        let key = vendor.issue_professional().await;
        assert_eq!(site.activate(&key).await.0, 200);
        Self {
            vendor,
            site,
            backend: Backend::start().await,
            _directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Allowed, refused, core, unknown: what every gateway has to say of a
    /// licensed site.
    async fn is_gated_by(&self, gateway: &str) {
        for (path, status) in [
            ("/map/1", 200),
            ("/alarms/1", 403),
            ("/live/1", 200),
            ("/nope/1", 403),
        ] {
            let answer = get(gateway, path, &[]).await;
            assert_eq!(answer.status(), status, "{path}");
            if status == 403 {
                let body: Value = answer.json().await.unwrap();
                assert_eq!(body["reason"], "not_in_license", "{path}: {body}");
                assert!(body["detail"].is_string(), "{path}: {body}");
            }
        }
    }

    /// What a visitor says about licensing opens nothing, and is not passed on.
    async fn is_not_talked_into_anything_by_visitors(&self, gateway: &str) {
        for header in [
            ("x-license-feature", "module.live_view"),
            ("x-forwarded-uri", "/live/1"),
            ("x-original-uri", "/live/1"),
            ("x-original-uri", "/alarms/1"),
            ("x-original-url", "/live/1"),
            ("x-original-url", "https://vms.example/live/1"),
            ("x-forwarded-method", "OPTIONS"),
            ("x-original-method", "OPTIONS"),
            ("x-license-reason", "licensed"),
        ] {
            let answer = get(gateway, "/alarms/1", &[header]).await;
            assert_eq!(answer.status(), 403, "{header:?}");
        }
        let answer = get(gateway, "/alarms/1?feature=module.live_view", &[]).await;
        assert_eq!(answer.status(), 403);
        let answer = get(gateway, "/map/1?feature=module.nope", &[]).await;
        assert_eq!(answer.status(), 200);
        for claim in ["x-original-uri", "x-original-url", "x-forwarded-uri"] {
            let answer = get(gateway, "/map/1", &[(claim, "/alarms/1")]).await;
            assert_eq!(answer.status(), 200, "{claim}");
        }
        let claimed = [("x-license-tier", "enterprise")];
        let answer = get(gateway, "/map/1", &claimed).await;
        assert_eq!(answer.status(), 200);
        let seen: Value = answer.json().await.unwrap();
        assert_ne!(seen["headers"]["x-license-tier"], "enterprise", "{seen}");
    }

    /// Services that honour such headers would serve another path than the one that was
    /// asked about; in a connection that has become HTTP/2, nothing is asked at all.
    async fn keeps_tunnels_and_claims_out(&self, gateway: &str) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for claim in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-original-url",
            "x-original-uri",
            "x-original-method",
            "x-rewrite-url",
            "x-forwarded-path",
            "x-forwarded-prefix",
            "x-license-feature",
        ] {
            let request = http.post(format!("{gateway}/map/1"));
            let answer = request.header(claim, "/alarms/1").send().await.unwrap();
            assert_eq!(answer.status(), 200, "{claim}");
            let seen: Value = answer.json().await.unwrap();
            assert_ne!(seen["headers"][claim], "/alarms/1", "{claim}: {seen}");
        }
        for upgrades in [
            &["h2c"][..],
            &["H2C"],
            &["h2c, websocket"],
            &["h2c", "websocket"],
            &["websocket", "h2c"],
        ] {
            let head: String = upgrades
                .iter()
                .map(|it| format!("Upgrade: {it}\r\n"))
                .collect();
            let settings = "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
            let connection = "Connection: close\r\nConnection: Upgrade, HTTP2-Settings\r\n";
            let answer =
                send_raw(gateway, "/map/1", &format!("{connection}{head}{settings}")).await;
            let answer = answer.to_ascii_lowercase();
            assert!(
                !answer.starts_with("http/1.1 101"),
                "{upgrades:?}: {answer}"
            );
            assert!(!answer.contains("h2c"), "{upgrades:?}: {answer}");
            assert!(!answer.contains("http2-settings"), "{upgrades:?}: {answer}");
        }
    }

    /// What costs the gateway more with each byte is bounded.
    async fn refuses_long_paths(&self, gateway: &str, status: u16) {
        for path in [
            format!("/map/{}", "a".repeat(2_100)),
            format!("/{}", "/".repeat(7_000)),
        ] {
            assert_eq!(
                raw(gateway, &path).await,
                status.to_string(),
                "{}",
                path.len()
            );
        }
        let honest = format!("/map/{}?q={}", "a".repeat(1_900), "b".repeat(3_000));
        assert_eq!(raw(gateway, &honest).await, "200");
    }

    /// A form may be viewed but not submitted, regardless of what a visitor says about the method.
    async fn is_gated_by_method(&self, gateway: &str) {
        let send = |method: Method, headers: Vec<(&'static str, &'static str)>| async move {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut request = http.request(method, format!("{gateway}/form/1"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(send(Method::GET, vec![]).await, 200);
        assert_eq!(send(Method::POST, vec![]).await, 403);
        for names in [
            ["x-original-uri", "x-original-method"],
            ["x-forwarded-uri", "x-forwarded-method"],
        ] {
            let [uri, method] = names;
            for headers in [
                vec![(method, "GET")],
                vec![(method, "GET"), (method, "GET")],
                vec![(uri, "/form/1"), (method, "GET")],
                vec![(uri, "/live/1"), (method, "GET")],
            ] {
                assert_eq!(
                    send(Method::POST, headers.clone()).await,
                    403,
                    "{headers:?}"
                );
            }
        }
    }

    /// No path leads from allowed to refused content, or back, regardless of how the upstream
    /// service reads it.
    async fn is_not_led_astray(&self, gateway: &str) {
        for path in [
            "/alarms/x/../../live/1",
            "/alarms/x/%2e%2e/%2e%2e/live/1",
            "/alarms/x%2f..%2f..%2flive/1",
            "/alarms/x/..;/..;/live/1",
            "/alarms/x\\..\\..\\live",
            "/alarms/x%5c..%5c..%5clive",
            "/live/../alarms/1",
            "/live/%2e%2e/alarms/1",
            "/live/1#/../../alarms/1",
            "/api/cameras/1#/export",
            "/api/cameras/1%5c/export",
        ] {
            let answer = raw_answer(gateway, path).await;
            let status = answer.get(9..12).unwrap_or_default();
            let refused = ["400", "403"].contains(&status);
            // A gateway that follows the dots itself passes on the plain path.
            let is_plain = answer.contains(r#""path":"/live"#);
            assert!(refused || is_plain, "{path}: {answer}");
        }
        self.passes_on_no_urls(gateway).await;
    }

    /// The target of a request may be a whole URL (RFC 9112, section 3.2.2), in which a gateway
    /// and a service may find different paths: services get a path.
    async fn passes_on_no_urls(&self, gateway: &str) {
        let address = gateway.strip_prefix("http://").unwrap();
        let with_host = format!(" HTTP/1.1\r\nHost: {address}\r\n");
        for target in [
            "http:///live/alarms/1".to_owned(),
            "http:///health/alarms/1".to_owned(),
            "http:///health/map/1?x".to_owned(),
            "http:////live/1".to_owned(),
            "http:/live/1".to_owned(),
            "http://localhost?/health".to_owned(),
            "http://localhost#/live/1".to_owned(),
            "http://localhost\\alarms?/health".to_owned(),
            "http://x@localhost/live/1".to_owned(),
            "https:///live/alarms/1".to_owned(),
            "ws:///live/alarms/1".to_owned(),
            format!("http://{address}/live/1"),
            format!("{gateway}/live/1?a=b"),
        ] {
            for host in [
                " HTTP/1.0\r\n",
                " HTTP/1.1\r\nHost: \r\n",
                " HTTP/1.1\r\nHost: live\r\n",
                &with_host,
            ] {
                let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let request = format!("GET {target}{host}Connection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                let reading = stream.read_to_string(&mut answer);
                let reading = tokio::time::timeout(Duration::from_secs(20), reading).await;
                reading.expect("the gateway ends the connection").unwrap();
                let Some((_, passed)) = answer.split_once(r#""path":""#) else {
                    continue;
                };
                let path = passed.trim_start_matches('/');
                let is_checked = path.starts_with("live") || path.starts_with("health");
                let is_path = passed.starts_with('/');
                assert!(is_path && is_checked, "{request}: {answer}");
            }
        }
    }

    /// Nothing leads out of a place that is gated by its feature, and names of
    /// files stay names. What a service may follow is refused.
    async fn refuses_escaped_dots(&self, gateway: &str) {
        for odd in [
            "%252e%252e/alarms",
            "%25252E%25252E/alarms",
            "..%252f..%252falarms",
            "..%255c..%255calarms",
            "..%25252falarms",
            "%25%32%65%25%32%65/alarms",
            "%25%32e./alarms",
            "%252%65%252%45/alarms",
            "%2%35%32e./alarms",
            "%c0%ae%c0%ae/alarms",
            "%C0%AE./alarms",
            "%25c0%25ae%25c0%25ae/alarms",
            "..%c0%afalarms",
            "..%c1%9calarms",
            "%e0%80%ae%e0%80%ae/alarms",
            "..%e0%80%afalarms",
            "%f0%80%80%ae./alarms",
            "%u002e%u002e/alarms",
            "..%00/alarms",
            "..%2500/alarms",
            "..%c0%80/alarms",
            "..%09/alarms",
            ".%0a./alarms",
            "..%01/alarms",
            "..%20/alarms",
            "..%2520/alarms",
            ".%C3%A9./alarms",
            "%E9../alarms",
            "%c0%2e%c0%2e/alarms",
            "..%253balarms",
            "%252e%252e",
            "..%253fx",
        ] {
            let answer = raw_answer(gateway, &format!("/map/{odd}/1")).await;
            assert_eq!(answer.get(9..12), Some("400"), "{odd}: {answer}");
        }
        for odd in [
            b"/map/\xc0\xae\xc0\xae/alarms/1".as_slice(),
            b"/map/\xc0%ae./alarms/1",
            b"/map/%c0\xae./alarms/1",
            b"/map/.\xff./alarms/1",
            b"/map/\xff/%252e%252e/%252e%252e/alarms/1",
            b"/map/.\xc3\xa9./alarms/1",
        ] {
            let answer = raw_answer(gateway, odd).await;
            assert_eq!(answer.get(9..12), Some("400"), "{odd:?}: {answer}");
        }
        for honest in [
            "100%25.png",
            "100%25",
            "100%25%20off.png",
            "50%2525",
            "caf%C3%A9.jpg",
            "caf%E9.jpg",
            "%E9%97%A8.mp4",
            "%E9%97%A8/1..2.mp4",
            "a%20b.jpg",
            "a..b",
            "1?next=/%252e%252e/x&z=%00%c0%ae",
        ] {
            let answer = raw_answer(gateway, &format!("/map/{honest}")).await;
            assert_eq!(answer.get(9..12), Some("200"), "{honest}: {answer}");
        }
    }

    /// Rules about paths also hold for the longest paths that pass, with any content.
    async fn refuses_dots_in_long_paths(&self, gateway: &str) {
        for piece in ["%E9", "%25", "%2525", "a/", "%2f", "%C3%A9", ".", "%2e"] {
            let long = piece.repeat(1_900 / piece.len());
            for path in [
                format!("/map/{long}/../alarms"),
                format!("/map/x/..%E9{long}/%252e%252e"),
                format!("/map/%E9..{}/1/{long}", "%E9".repeat(20)),
            ] {
                let path = path.get(..2_040).unwrap_or(&path);
                assert_eq!(raw(gateway, path).await, "400", "{path}");
            }
        }
    }

    /// Rules about paths say nothing about queries, on any location.
    async fn leaves_queries_alone(&self, gateway: &str, ungated: &str) {
        for query in [
            "u=http://cam/./s",
            "next=/../y",
            "next=/..",
            "q=wait/...",
            "a=/%2e%2e/b",
            "a=..%2f..%5c",
            "a=%5c&b=\\\\host\\share",
            "a=%00%0d%0a%7f",
            "a=%c0%ae%c0%af",
            "a=%252e%252e%252f",
            "a=?/../?",
            "a=b#/../c",
            "a=%u002e",
            "a=%C3%A9/../%E9",
        ] {
            for path in [ungated, "/map/1"] {
                let answer = raw_answer(gateway, &format!("{path}?{query}")).await;
                // A gateway may itself refuse a target with a '#'.
                let is_refused = query.contains('#') && answer.get(9..12) == Some("400");
                let passes = answer.get(9..12) == Some("200");
                assert!(passes || is_refused, "{path}?{query}: {answer}");
            }
        }
    }

    /// By path: names in other scripts pass where no route is near, and what
    /// cannot be read is the request's fault and not the license's.
    async fn says_what_cannot_be_read(&self, gateway: &str) {
        for honest in [
            "/files/caf%C3%A9.jpg",
            "/files/caf%E9.jpg",
            "/caf%E9",
            "/%E9t%E9/1.jpg",
            "/%C3%A9t%C3%A9/%E9%97%A8.mp4",
            "/%E9%97%A8/1",
            "/100%25",
        ] {
            let answer = raw_answer(gateway, honest).await;
            assert_eq!(answer.get(9..12), Some("200"), "{honest}: {answer}");
        }
        for odd in [
            "/api/cameras/1%23/export",
            "/api/cameras/1/expor%F4",
            "/al%E1rms/1",
        ] {
            let answer = raw_answer(gateway, odd).await;
            assert_eq!(answer.get(9..12), Some("400"), "{odd}: {answer}");
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(
                body.contains("The path or feature of the request is invalid")
                    && body.contains("bad_path"),
                "{odd}: {answer}"
            );
        }
    }

    /// The same for names that are not escaped at all.
    async fn reads_raw_names(&self, gateway: &str) {
        for name in ["/files/caf\u{e9}.jpg", "/\u{e9}t\u{e9}/\u{95e8}.mp4"] {
            let answer = raw_answer(gateway, name).await;
            assert_eq!(answer.get(9..12), Some("200"), "{name}: {answer}");
            let answer = raw_answer(gateway, &format!("/map/1?u={name}/../x")).await;
            assert_eq!(answer.get(9..12), Some("200"), "{name}: {answer}");
        }
    }

    /// The gateway starts without the License Client, whose name does not resolve yet; finds it
    /// when it is available, and when it moves; and keeps everything else working.
    async fn is_not_taken_down_by(&self, machine: &mut NamedMachine, gateway: &str, ungated: &str) {
        assert_eq!(get(gateway, ungated, &[]).await.status(), 200);
        let shut = get(gateway, "/map/1", &[]).await;
        assert_eq!(shut.status(), 503);
        assert_eq!(shut.headers()["retry-after"], "5");
        machine.moves_to([127, 0, 0, 2]).await;
        self.is_passed_again_by(gateway).await;
        machine.moves_to([127, 0, 0, 3]).await;
        self.is_passed_again_by(gateway).await;
        assert_eq!(get(gateway, ungated, &[]).await.status(), 200);
        assert_eq!(get(gateway, "/alarms/1", &[]).await.status(), 403);
    }

    /// With the License Client, without it, and while it hangs.
    async fn guard_holds_in_every_way(mut self, gateway: &str) {
        self.withstands_what_visitors_try(gateway).await;
        self.is_shut_without_it(gateway, 503).await;
        self.holds_nothing_else_up_while_it_hangs(gateway, "/health/1")
            .await;
        self.end().await;
    }

    /// What gateways with our own script have to withstand, by feature (`/map`) and by path.
    async fn withstands_what_visitors_try(&self, gateway: &str) {
        self.is_gated_by(gateway).await;
        self.keeps_tunnels_and_claims_out(gateway).await;
        self.refuses_long_paths(gateway, 414).await;
        self.is_gated_by_method(gateway).await;
        self.is_not_led_astray(gateway).await;
        self.refuses_escaped_dots(gateway).await;
        self.refuses_dots_in_long_paths(gateway).await;
        self.leaves_queries_alone(gateway, "/health").await;
        self.says_what_cannot_be_read(gateway).await;
        self.is_not_talked_into_anything_by_visitors(gateway).await;
        for path in ["/%61larms/1", "/alarms%2f1", "/api/cameras/1/export"] {
            let answer = get(gateway, path, &[]).await;
            let refused = [400, 403].contains(&answer.status().as_u16());
            assert!(refused, "{path}: {}", answer.status());
        }
        for path in [
            "//alarms/1",
            "//map/alarms/1",
            "//health/alarms/1",
            "/%2fhealth/alarms/1",
            "/health/..%2fmap/1",
            "/health/%2e%2e/map/1",
            "/health/x%5cy",
            "*",
        ] {
            assert_eq!(raw(gateway, path).await, "400", "{path}");
        }
        for path in ["/map/a%2Fb.jpg", "/live/a%2Fb%2Fc", "/health/a%2Fb"] {
            let answer = raw_answer(gateway, path).await;
            assert_eq!(answer.get(9..12), Some("200"), "{path}: {answer}");
            assert!(answer.contains(path), "{path}: {answer}");
        }
        // A service that takes underscores for dashes believes none of a visitor's.
        let claims = [
            ("x_camera_id", "7"),
            ("x_license_tier", "enterprise"),
            ("x-license_tier", "enterprise"),
            ("X_License-Reason", "licensed"),
            ("X_Original-Uri", "/alarms/1"),
            ("x-forwarded_method", "GET"),
        ];
        for (path, reason) in [
            ("/map/1", Some("licensed")),
            ("/live/1", Some("core")),
            ("/health/1", None),
        ] {
            let through = get(gateway, path, &claims).await;
            let seen: Value = through.json().await.unwrap();
            let headers = seen["headers"].as_object().unwrap();
            assert_eq!(headers["x_camera_id"], "7", "{path}");
            let names = ["x-license-", "x-original-", "x-forwarded-method"];
            let claimed: Vec<_> = headers
                .iter()
                .filter(|(name, _)| {
                    names
                        .iter()
                        .any(|it| name.replace('_', "-").starts_with(it))
                })
                .collect();
            let expected = reason.map(|it| ("x-license-reason".to_owned(), json!(it)));
            let claimed: Vec<_> = claimed
                .into_iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            assert_eq!(claimed, expected.into_iter().collect::<Vec<_>>(), "{path}");
        }
    }

    /// `/map` is switched off, and the table allows everything: its feature is asked about,
    /// however a path to it is written.
    async fn is_gated_by_feature_however_it_is_spelt(&self, gateway: &str) {
        let off = json!({"systemEnabled": false});
        let switch = "/api/license/features/module.map_view";
        assert_eq!(self.site.put(switch, off).await.0, 200);
        assert_eq!(raw(gateway, "/elsewhere").await, "200");
        for path in [
            "/map",
            "/map/1",
            "/map%2f1",
            "/map//1",
            "/m%61p%2f1",
            "/map%2F",
            "/%6Dap/1",
            "/map;x",
            "/map%3Fx",
            "/map%23x",
        ] {
            let answer = get(gateway, path, &[]).await;
            assert_eq!(answer.status(), 403, "{path}");
            let reason = &answer.headers()["x-license-reason"];
            assert_eq!(reason, "switched_off", "{path}");
        }
        // Escapes that are incomplete must not change what a location is taken for.
        for path in ["/map/%", "/map/%zz", "/map/1;%", "/map/x.php/%", "/map%/1"] {
            let status = raw(gateway, path).await;
            assert!(
                ["400", "403"].contains(&status.as_str()),
                "{path}: {status}"
            );
        }
    }

    /// Without the License Client nothing that is gated passes, and with it
    /// everything is as before.
    async fn is_shut_without_it(&mut self, gateway: &str, status: u16) {
        self.site.stop().await;
        let answer = get(gateway, "/map/1", &[]).await;
        assert_eq!(answer.status(), status);
        if status == 503 {
            assert_eq!(answer.headers()["retry-after"], "5");
            let body: Value = answer.json().await.unwrap();
            let detail = json!("The license cannot be checked right now");
            assert_eq!(body["detail"], detail, "{body}");
        }
        self.site.restart().await;
        self.is_passed_again_by(gateway).await;
    }

    /// The License Client stops, and a program that never answers takes its place.
    async fn hang(&mut self) -> tokio::task::JoinHandle<()> {
        self.site.stop().await;
        let address = self.site.url.strip_prefix("http://").unwrap();
        let hanging = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(connection) = hanging.accept().await {
                held.push(connection);
            }
        })
    }

    /// While many gated requests wait for a License Client that hangs, ungated requests are
    /// answered immediately, and each gated request is refused in time.
    async fn holds_nothing_else_up_while_it_hangs(&mut self, gateway: &str, ungated: &str) {
        let accepting = self.hang().await;
        let gated = futures_util::future::join_all((0..40).map(async |_| {
            let start = tokio::time::Instant::now();
            (raw(gateway, "/map/1").await, start.elapsed())
        }));
        let ungated = async {
            for _ in 0..10 {
                let start = tokio::time::Instant::now();
                assert_eq!(raw(gateway, ungated).await, "200");
                let waited = start.elapsed();
                assert!(waited < Duration::from_millis(1_500), "{waited:?}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let (gated, ()) = tokio::join!(gated, ungated);
        for (status, waited) in gated {
            assert_eq!(status, "503");
            assert!(waited < Duration::from_secs(5), "{waited:?}");
        }
        accepting.abort();
        let _ = accepting.await;
        self.site.restart().await;
        self.is_passed_again_by(gateway).await;
    }

    /// One that hangs is treated the same, and delays callers only briefly.
    async fn is_shut_while_it_hangs(&mut self, gateway: &str) {
        let accepting = self.hang().await;
        let begun = tokio::time::Instant::now();
        let answer = get(gateway, "/map/1", &[]).await;
        assert_eq!(answer.status(), 503);
        let waited = begun.elapsed();
        assert!(waited.as_millis() < 5_000, "{waited:?}");
        accepting.abort();
        let _ = accepting.await;
        self.site.restart().await;
        self.is_passed_again_by(gateway).await;
    }

    async fn is_passed_again_by(&self, gateway: &str) {
        let site = &self.site;
        let is_back = || async { get(gateway, "/map/1", &[]).await.status() == 200 };
        site.until("the gate opens again", is_back).await;
    }

    async fn end(self) {
        self.site.end().await;
        drop(self.vendor);
    }
}

async fn get(gateway: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.get(format!("{gateway}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// The answer to a raw path: an HTTP client would normalise it.
async fn raw_answer(gateway: &str, path: impl AsRef<[u8]>) -> String {
    send_raw(gateway, path, "Connection: close\r\n").await
}

/// The same with other headers, each with the end of its line.
async fn send_raw(gateway: &str, path: impl AsRef<[u8]>, headers: &str) -> String {
    let address = gateway.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(" HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    let request = [b"GET ", path.as_ref(), head.as_bytes()].concat();
    stream.write_all(&request).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let reading = tokio::time::timeout(Duration::from_secs(20), reading).await;
    reading.expect("the gateway ends the connection").unwrap();
    answer
}

/// Its status.
async fn raw(gateway: &str, path: &str) -> String {
    let answer = raw_answer(gateway, path).await;
    answer.get(9..12).unwrap_or_default().to_owned()
}

/// How many pieces a stream has, two a second: more than 15 s, after which
/// gateways may cut an answer.
const PIECES: usize = 34;

/// A live view.
fn stream() -> axum::body::Body {
    let pieces = futures_util::stream::unfold(0, async |sent| {
        tokio::time::sleep(Duration::from_millis(500)).await;
        (sent < PIECES).then(|| (Ok::<_, std::io::Error>("frame "), sent + 1))
    });
    axum::body::Body::from_stream(pieces)
}

/// What is behind the gateway: it tells what has come through.
struct Backend {
    address: SocketAddr,
}

impl Backend {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tell = async |request: axum::extract::Request| {
            let headers = request.headers().iter();
            let headers: serde_json::Map<String, Value> = headers
                .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default())))
                .collect();
            if request.uri().path().contains("/stream") {
                return stream().into_response();
            }
            let path = request.uri().to_string();
            // All of it, or a gateway that still sends it would see the connection end.
            let body = axum::body::to_bytes(request.into_body(), 16 << 20).await;
            let bytes = body.unwrap().len();
            axum::Json(json!({"path": path, "headers": headers, "bytes": bytes})).into_response()
        };
        let router = axum::Router::new().fallback(tell);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address }
    }
}
