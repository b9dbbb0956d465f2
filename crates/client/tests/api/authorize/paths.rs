//! Requests that name a path.

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::methods::METHODS;
use super::{Gate, PATH, ROUTES, gate, header, reason};
use crate::database::Engine;
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_saying_the_path_is_understood_and_the_strictest_counts() {
    let gate = gate(ROUTES).await;
    let (paid, alarms, open) = ("/api/analytics/heat", "/api/alarms/7", "/api/open");
    for name in ["x-forwarded-uri", "x-original-uri"] {
        assert_eq!(gate.get(PATH, &[(name, paid)]).await, 200, "{name}");
        assert_eq!(gate.get(PATH, &[(name, alarms)]).await, 403, "{name}: any");
        let get = [(name, alarms), (&name.replace("uri", "method"), "GET")];
        assert_eq!(gate.get(PATH, &get).await, 200, "{name}: GET");
        assert_eq!(gate.get(PATH, &[(name, open)]).await, 200, "{name}");
        let method = name.replace("uri", "method");
        let post = [(name, alarms), (method.as_str(), "POST")];
        assert_eq!(gate.get(PATH, &post).await, 403, "{name}: POST");
        assert_eq!(gate.get(PATH, &[(name, "/a/%zz")]).await, 200, "{name}");
        let odd = "/api/an%zzlytics";
        assert_eq!(gate.get(PATH, &[(name, odd)]).await, 403, "{name}");
        assert_eq!(gate.get(PATH, &[(name, "")]).await, 403);
    }
    // Envoy appends the path, and sends the method unchanged.
    assert_eq!(gate.get(&format!("{PATH}{paid}?a=b"), &[]).await, 200);
    assert_eq!(gate.get(&format!("{PATH}/"), &[]).await, 200);
    let post = gate
        .ask(Method::POST, &format!("{PATH}{alarms}"), &[])
        .await;
    assert_eq!(post.status(), 403);
    for method in ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = gate
            .ask(method.clone(), &format!("{PATH}{alarms}"), &[])
            .await;
        assert_eq!(answer.status(), 200, "{method}");
    }
    visitors_only_close(&gate).await;
    gate.site.end().await;
}

/// Anything a visitor adds can only close the gate.
async fn visitors_only_close(gate: &Gate) {
    let (alarms, open) = ("/api/alarms/7", "/api/open");
    let slipped = "module.live_view";
    let to_alarms = [("x-original-uri", alarms), ("x-original-method", "POST")];
    for slip in [
        ("x-license-feature", slipped),
        ("x-forwarded-uri", open),
        ("x-original-uri", open),
    ] {
        let headers = [&to_alarms[..], &[slip]].concat();
        assert_eq!(gate.get(PATH, &headers).await, 403, "{slip:?}");
    }
    let both = format!("{PATH}?feature=module.alarm_advanced");
    assert_eq!(
        gate.get(&both, &[("x-license-feature", slipped)]).await,
        403
    );
    let path = format!("{PATH}?feature=module.map_view");
    assert_eq!(gate.get(&path, &[("x-license-feature", "x")]).await, 403);
    // A visitor's Host and origin are no reason to answer anything else.
    let visitor = [
        ("host", "vms.customer.example"),
        ("origin", "https://elsewhere.example"),
        ("sec-fetch-site", "cross-site"),
    ];
    assert_eq!(gate.get(&path, &visitor).await, 200);
    let answer = gate.ask(Method::POST, &path, &visitor).await;
    assert_eq!(answer.status(), 200);
    // What comes back holds nothing that a visitor has made up.
    let answer = gate
        .ask(
            Method::GET,
            &format!("{PATH}?feature=%0d%0aX-Made-Up:%201"),
            &[],
        )
        .await;
    assert_eq!(answer.status(), 403);
    assert!(!answer.headers().contains_key("x-made-up"));
    // Headers that are too large are not read, and open nothing.
    let enormous = "x".repeat(1 << 20);
    let answer = gate
        .ask(Method::GET, &path, &[("x-enormous", &enormous)])
        .await;
    assert_eq!(answer.status(), 431);
    let long = "x".repeat(9_000);
    let answer = gate
        .get(PATH, &[("x-original-uri", &format!("/{long}"))])
        .await;
    assert_eq!(answer, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_refused_where_it_may_be_another_and_is_a_path_elsewhere() {
    let gate = gate(METHODS).await;
    for (path, expected) in [
        (&b"/api/cameras/1/export"[..], "not_in_license"),
        (b"/api/cameras/1#/export", "bad_path"),
        (b"/api/cameras/1/export#", "bad_path"),
        (b"/files#", "bad_path"),
        (b"/files\\1", "bad_path"),
        (b"/files/a b", "bad_path"),
        (b"/files/a\tb", "bad_path"),
        (b"/files%00", "bad_path"),
        (b"/api/cameras/1%23/export", "bad_path"),
        (b"/api/cameras/1%2523/export", "bad_path"),
        (b"/api/cameras/1%5c/export", "bad_path"),
        (b"/api/cameras%c0%af1%c0%afexport", "bad_path"),
        (b"/api/cameras/1/expor\xf4", "bad_path"),
        (b"/api/cameras/1/expor%F4", "bad_path"),
        (b"/api/cameras/1/expor%zz", "bad_path"),
        // The query begins at the first question mark and nowhere else.
        (b"/api/cameras/1?#/export", "no_feature_needed"),
        (b"/api/cameras/1?\\ %zz\xff", "no_feature_needed"),
        // Nothing that is gated is like it.
        (b"/files/caf\xe9.jpg", "no_feature_needed"),
        (b"/files/caf\xc3\xa9.jpg", "no_feature_needed"),
        (b"/files/caf%E9.jpg", "no_feature_needed"),
        (b"/files/100%", "no_feature_needed"),
        (b"/files/%zz", "no_feature_needed"),
        (b"/files/%5c%23%3b", "no_feature_needed"),
    ] {
        let shown = String::from_utf8_lossy(path);
        for name in ["x-original-uri", "x-forwarded-uri"] {
            let request = gate.site.http.get(format!("{}{PATH}", gate.site.url));
            let path = reqwest::header::HeaderValue::from_bytes(path).unwrap();
            let method = name.replace("uri", "method");
            let answer = request
                .header(name, path)
                .header(method, "GET")
                .send()
                .await;
            let answer = answer.unwrap();
            assert_eq!(header(&answer, "x-license-reason"), expected, "{shown}");
        }
    }
    let slashes = [("x-original-uri", &*"/".repeat(4_000))];
    assert_eq!(reason(&gate, PATH, &slashes).await, "bad_path");
    // 400 is for gateways that show it to their visitor, and for nothing else.
    let shows = format!("{PATH}?unreadable=400");
    let odd = [("x-forwarded-uri", "/api/cameras/1%23/export")];
    let twice = [("x-license-feature", "a"), ("x-license-feature", "b")];
    let shut = [("x-forwarded-uri", "/api/cameras/1/export")];
    for (path, headers, expected) in [
        (PATH, &odd[..], 403),
        (&shows, &odd, 400),
        (&shows, &twice, 400),
        (&shows, &shut, 403),
        (&format!("{PATH}?unreadable=200"), &odd, 403),
        (
            &format!("{PATH}?feature=module.map_view&unreadable=400"),
            &odd,
            400,
        ),
        (&format!("{PATH}/api/cameras/1%23/export"), &[], 400),
        (
            &format!("{PATH}/api/cameras/1/export?unreadable=400"),
            &[],
            403,
        ),
    ] {
        assert_eq!(
            gate.get(path, headers).await,
            expected,
            "{path} {headers:?}"
        );
    }
    gate.site.end().await;
}

/// As gateways send it that pass on the original URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_is_read_as_its_path_is_and_the_strictest_counts() {
    let gate = gate(ROUTES).await;
    let (paid, alarms) = ("/api/analytics/heat", "/api/alarms/7");
    for start in [
        "",
        "https://vms.example",
        "http://10.1.2.3:8080",
        "https://[::1]",
    ] {
        for (path, method, expected) in [
            (paid, "GET", "licensed"),
            (alarms, "GET", "no_feature_needed"),
            (alarms, "POST", "not_in_license"),
            ("/api/open?u=/api/alarms/7", "POST", "no_feature_needed"),
            ("/api/x/../alarms/7", "POST", "bad_path"),
        ] {
            let url = format!("{start}{path}");
            let asked = [
                ("x-original-url", url.as_str()),
                ("x-original-method", method),
            ];
            assert_eq!(reason(&gate, PATH, &asked).await, expected, "{url}");
        }
        let url = format!("{start}{alarms}");
        let any_method = [("x-original-url", url.as_str())];
        assert_eq!(reason(&gate, PATH, &any_method).await, "not_in_license");
    }
    for url in [
        "https://vms.example?/api/open",
        "https://x@vms.example/api/open",
        "https:///api/open",
        "ftp://vms.example/api/open",
        "vms.example/api/open",
        "",
    ] {
        let asked = [("x-original-url", url), ("x-original-method", "GET")];
        assert_eq!(reason(&gate, PATH, &asked).await, "bad_path", "{url}");
    }
    // Both are judged where they differ, whichever is the visitor's.
    let (shut, open) = ("https://vms.example/api/alarms/7", "/api/open");
    for headers in [
        [("x-original-url", shut), ("x-original-uri", open)],
        [("x-original-uri", alarms), ("x-original-url", open)],
        [("x-forwarded-uri", open), ("x-original-url", shut)],
    ] {
        let headers = [&headers[..], &[("x-original-method", "POST")]].concat();
        assert_eq!(
            reason(&gate, PATH, &headers).await,
            "not_in_license",
            "{headers:?}"
        );
    }
    let twice = [("x-original-url", open), ("x-original-url", open)];
    assert_eq!(reason(&gate, PATH, &twice).await, "bad_path");
    // Its query is the visitor's, too.
    let cloud = ScriptedCloud::start().await;
    let without = Gate {
        site: Site::start(Engine::Sqlite, &cloud.url, &[]).await,
        _directory: tempfile::tempdir().unwrap(),
    };
    let query = "?feature=module.live_view";
    let url = format!("https://vms.example/alarms/1{query}");
    let mirrored = [("x-original-url", url.as_str())];
    let path = format!("{PATH}{query}");
    assert_eq!(reason(&without, &path, &mirrored).await, "no_table");
    gate.site.end().await;
    without.site.end().await;
}

/// A library that reads requests cuts a query at `#`: what is left is the
/// visitor's all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_table_a_visitors_query_that_was_cut_off_is_the_visitors() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let gate = Gate {
        site,
        _directory: tempfile::tempdir().unwrap(),
    };
    let query = "feature=module.live_view";
    for sent in [
        query.to_owned(),
        format!("{query}#"),
        format!("{query}#a&b"),
    ] {
        let uri = format!("/alarms/1?{sent}");
        let headers = [("x-forwarded-uri", uri.as_str())];
        let path = format!("{PATH}?{query}");
        assert_eq!(reason(&gate, &path, &headers).await, "no_table", "{sent}");
    }
    gate.site.end().await;
}

/// Status and reason of a question whose path no library makes plain.
pub(super) async fn raw_reason(gate: &Gate, method: &str, path: &str) -> (u16, String) {
    let address = gate.site.url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, reason) = answer.split_once("x-license-reason: ").unwrap_or_default();
    let reason = reason.lines().next().unwrap_or_default().to_owned();
    (answer[9..12].parse().unwrap(), reason)
}
