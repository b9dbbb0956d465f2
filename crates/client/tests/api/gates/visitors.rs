//! What visitors claim, and what a gateway has to make of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::requests::{exchange, get, raw, raw_answer, send_raw};
use super::{Licensed, visitor_headers};

impl Licensed {
    /// What a visitor says about licensing opens nothing, and is not passed on.
    pub(super) async fn is_not_talked_into_anything_by_visitors(&self, gateway: &str) {
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
    pub(super) async fn keeps_tunnels_and_claims_out(&self, gateway: &str) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for claim in visitor_headers::names() {
            let request = http.post(format!("{gateway}/map/1"));
            let answer = request.header(&claim, "/alarms/1").send().await.unwrap();
            assert_eq!(answer.status(), 200, "{claim}");
            let seen: Value = answer.json().await.unwrap();
            assert_ne!(seen["headers"][&claim], "/alarms/1", "{claim}: {seen}");
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

    /// With and without a host; one request for each connection.
    pub(super) async fn is_gated_in_http_1_0_by(&self, name: &str, gateway: &str) {
        for host in ["", "Host: vms\r\n", "Host: vms.example:8080\r\n"] {
            for (path, status) in [
                ("/health/1", "200"),
                ("/map/1", "200"),
                ("/live/1", "200"),
                ("/alarms/1", "403"),
                ("/api/cameras/1/export", "403"),
            ] {
                let request = format!(
                    "GET {path} HTTP/1.0\r\n{host}\r\nGET /alarms/2 HTTP/1.0\r\n{host}\r\n"
                );
                let answer = exchange(gateway, request.as_bytes()).await;
                let what = format!("{name} {path} {host:?}: {answer}");
                assert_eq!(answer.get(9..12), Some(status), "{what}");
                let is_passed = answer.contains(&format!("\"path\":\"{path}\""));
                assert_eq!(is_passed, status == "200", "{what}");
                assert!(!answer.contains("/alarms/2"), "{what}");
            }
        }
    }

    /// A form may be viewed but not submitted, regardless of what a visitor says about the method.
    pub(super) async fn is_gated_by_method(&self, gateway: &str) {
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

    /// What gateways with our own script have to withstand, by feature (`/map`) and by path.
    pub(super) async fn withstands_what_visitors_try(&self, gateway: &str) {
        self.is_gated_by(gateway).await;
        self.keeps_tunnels_and_claims_out(gateway).await;
        self.removes_visitor_headers(gateway, &["/map/1", "/live/1", "/health/1"])
            .await;
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
    pub(super) async fn is_gated_by_feature_however_it_is_spelt(&self, gateway: &str) {
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
}
