//! Paths and queries that services read in several ways.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Licensed;
use super::requests::{raw, raw_answer};

impl Licensed {
    /// What costs the gateway more with each byte is bounded.
    pub(super) async fn refuses_long_paths(&self, gateway: &str, status: u16) {
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

    /// No path leads from allowed to refused content, or back, regardless of how the upstream
    /// service reads it.
    pub(super) async fn is_not_led_astray(&self, gateway: &str) {
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
        // Some services read what follows two slashes as a host, and the rest as the path.
        for path in [
            "//health/map/1",
            "///health/map/1",
            "//x/map/1?y",
            "//health",
        ] {
            let answer = raw_answer(gateway, path).await;
            let status = answer.get(9..12).unwrap_or_default();
            let is_merged = answer.contains("\"path\":\"/") && !answer.contains("\"path\":\"//");
            let is_refused = ["400", "403"].contains(&status);
            assert!(is_refused || is_merged, "{path}: {answer}");
        }
        self.passes_on_no_urls(gateway).await;
    }

    /// The target of a request may be a whole URL (RFC 9112, section 3.2.2), in which a gateway
    /// and a service may find different paths: services get a path.
    async fn passes_on_no_urls(&self, gateway: &str) {
        let address = gateway.strip_prefix("http://").unwrap();
        let with_host = format!(" HTTP/1.1\r\nHost: {address}\r\n");
        let targets = [
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
        ];
        let hosts = [
            " HTTP/1.0\r\n",
            " HTTP/1.1\r\nHost: \r\n",
            " HTTP/1.1\r\nHost: live\r\n",
            &with_host,
        ];
        // Together, because gateways close the connection of an invalid request late.
        let requests = targets.iter().flat_map(|target| {
            hosts.map(|host| format!("GET {target}{host}Connection: close\r\n\r\n"))
        });
        join_all(requests.map(|request| passes_on_no_url(address, request))).await;
    }

    /// Nothing leads out of a place that is gated by its feature, and names of
    /// files stay names. What a service may follow is refused.
    pub(super) async fn refuses_escaped_dots(&self, gateway: &str) {
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
            "%f8%80%80%80%ae./alarms",
            "%fc%80%80%80%80%ae./alarms",
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
            "..%u2215alarms",
            "..%uff0falarms",
            "..%/alarms",
            "..%g/alarms",
            ".%2./alarms",
            "%.%./alarms",
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

    /// Paths of almost the maximum length follow the same rules.
    pub(super) async fn refuses_dots_in_long_paths(&self, gateway: &str) {
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
    pub(super) async fn leaves_queries_alone(&self, gateway: &str, ungated: &str) {
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
    pub(super) async fn says_what_cannot_be_read(&self, gateway: &str) {
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
    pub(super) async fn reads_raw_names(&self, gateway: &str) {
        for name in ["/files/caf\u{e9}.jpg", "/\u{e9}t\u{e9}/\u{95e8}.mp4"] {
            let answer = raw_answer(gateway, name).await;
            assert_eq!(answer.get(9..12), Some("200"), "{name}: {answer}");
            let answer = raw_answer(gateway, &format!("/map/1?u={name}/../x")).await;
            assert_eq!(answer.get(9..12), Some("200"), "{name}: {answer}");
        }
    }
}

/// Sends a request whose target is a URL: it is refused, or a path is passed on that was checked.
async fn passes_on_no_url(address: &str, request: String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let reading = tokio::time::timeout(Duration::from_secs(20), reading).await;
    reading.expect("the gateway ends the connection").unwrap();
    let Some((_, passed)) = answer.split_once(r#""path":""#) else {
        return;
    };
    let path = passed.trim_start_matches('/');
    // The path is `/` alone, about which the gate was asked.
    let is_root = path.starts_with('?') && answer.contains(r#""x-license-reason""#);
    let is_checked = path.starts_with("live") || path.starts_with("health") || is_root;
    let is_path = passed.starts_with('/');
    assert!(is_path && is_checked, "{request}: {answer}");
}
