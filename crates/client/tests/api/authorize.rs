//! Forward authentication: 200 or 403 for any question in any form.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::program::Program;
use crate::scripted_cloud::ScriptedCloud;

const PATH: &str = "/api/license/authorize";
const ROUTES: &str = r#"
[[route]]
path = "/api/analytics/public"

[[route]]
path = "/api/analytics/**"
feature = "module.analytics_advanced"

[[route]]
path = "/api/alarms/**"
methods = ["POST"]
feature = "module.alarm_advanced"
"#;

/// A table in which a method makes a difference.
const METHODS: &str = r#"
[[route]]
path = "/api/alarms/**"
methods = ["GET"]

[[route]]
path = "/api/alarms/**"
feature = "module.alarm_advanced"

[[route]]
path = "/api/find"
methods = ["VERSION-CONTROL"]
feature = "module.alarm_advanced"

[[route]]
path = "/api/cameras/*/export"
feature = "module.alarm_advanced"

[[route]]
path = "/api/analytics/**"
feature = "module.analytics_advanced"
"#;

struct Gate {
    site: Site,
    _directory: tempfile::TempDir,
}

/// A licensed site with a table; it has analytics, and no alarms.
async fn gate(routes: &str) -> Gate {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    std::fs::write(&file, routes).unwrap();
    let file = file.display().to_string();
    let flags = ["--gate-routes", file.as_str()];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    site.activate(KEY).await;
    Gate {
        site,
        _directory: directory,
    }
}

impl Gate {
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self
            .site
            .http
            .request(method, format!("{}{path}", self.site.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.ask(Method::GET, path, headers).await.status().as_u16()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |it| it.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_has_no_body_and_a_refusal_one_that_can_be_shown() {
    let gate = gate("").await;
    let yes = gate
        .ask(Method::GET, &format!("{PATH}?feature=module.map_view"), &[])
        .await;
    assert_eq!(yes.status(), 200);
    assert_eq!(header(&yes, "x-license-reason"), "licensed");
    assert_eq!(header(&yes, "x-license-tier"), "professional");
    assert_eq!(yes.text().await.unwrap(), "");
    let no = gate
        .ask(
            Method::GET,
            &format!("{PATH}?feature=module.alarm_advanced"),
            &[],
        )
        .await;
    assert_eq!(no.status(), 403);
    assert_eq!(header(&no, "x-license-reason"), "not_in_license");
    let body: Value = no.json().await.unwrap();
    assert_eq!(body["reason"], "not_in_license");
    assert_eq!(body["feature"], "module.alarm_advanced");
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .contains("does not include")
    );
    for (feature, status) in [
        ("module.live_view", 200),
        ("module.nope", 403),
        ("", 403),
        ("module.map_view&feature=module.nope", 403),
        ("%00%ff", 403),
    ] {
        let path = format!("{PATH}?feature={feature}");
        assert_eq!(gate.get(&path, &[]).await, status, "{feature}");
    }
    assert_eq!(
        gate.get(PATH, &[]).await,
        403,
        "no feature or path is named"
    );
    gate.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_does_not_choose_the_feature() {
    let with_table = gate(ROUTES).await;
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let without = Gate {
        site,
        _directory: directory,
    };
    let (slipped_in, alarms) = ("?feature=module.live_view", "/api/alarms/7");
    let uri = format!("{alarms}{slipped_in}");
    // Envoy appends path and query; Caddy's query is that of the visitor.
    let below = format!("{PATH}{uri}");
    let beside = format!("{PATH}{slipped_in}");
    for name in ["x-forwarded-uri", "x-original-uri", "x-original-url"] {
        for (path, headers) in [(&below, vec![]), (&beside, vec![(name, uri.as_str())])] {
            let answer = without.ask(Method::GET, path, &headers).await;
            assert_eq!(answer.status(), 403, "{path} {headers:?}");
            assert_eq!(header(&answer, "x-license-reason"), "no_table");
        }
    }
    // Behind an appended path what a visitor names neither opens nor closes the
    // gate; where it may be the gateway's own word, it can close it.
    let word = "module.alarm_advanced";
    let mirrored = [("x-forwarded-uri", "/api/open?feature=module.alarm_advanced")];
    let path = format!("{PATH}?feature={word}");
    assert_eq!(with_table.get(&path, &mirrored).await, 403);
    for feature in ["module.live_view", "module.nope"] {
        let uri = format!("/api/open?feature={feature}");
        let beside = format!("{PATH}?feature={feature}");
        assert_eq!(with_table.get(&format!("{PATH}{uri}"), &[]).await, 200);
        let forwarded = [("x-forwarded-uri", uri.as_str())];
        let expected = if feature == "module.nope" { 403 } else { 200 };
        assert_eq!(with_table.get(&beside, &forwarded).await, expected);
        let post = with_table
            .ask(
                Method::POST,
                &format!("{PATH}{alarms}?feature={feature}"),
                &[],
            )
            .await;
        assert_eq!(post.status(), 403);
    }
    // The gateway's own word counts also beside a path.
    let forwarded = [("x-forwarded-uri", "/map/1?zoom=2")];
    let path = format!("{PATH}?feature=module.live_view");
    assert_eq!(without.get(&path, &forwarded).await, 200);
    let header = [("x-license-feature", "module.live_view")];
    assert_eq!(without.get(&format!("{PATH}/map/1"), &header).await, 200);
    with_table.site.end().await;
    without.site.end().await;
}

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

    // Anything a visitor adds can only close the gate.
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
    gate.site.end().await;
}

/// The reason of the answer, with its status where it allows.
async fn reason(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> String {
    let answer = gate.ask(Method::GET, path, headers).await;
    let reason = header(&answer, "x-license-reason").to_owned();
    assert_eq!(answer.status() == 200, is_allowance(&reason), "{reason}");
    reason
}

fn is_allowance(reason: &str) -> bool {
    ["licensed", "core", "no_feature_needed"].contains(&reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_counts_only_beside_its_own_path_and_one_time() {
    let gate = gate(METHODS).await;
    let alarms = "/api/alarms/7";
    for (own, other) in [("forwarded", "original"), ("original", "forwarded")] {
        let uri = format!("x-{own}-uri");
        let method = format!("x-{own}-method");
        let other_method = format!("x-{other}-method");
        let other_uri = format!("x-{other}-uri");
        let path = (uri.as_str(), alarms);
        let get = (method.as_str(), "GET");
        let elsewhere = (other_uri.as_str(), "/api/open");
        for (headers, expected) in [
            (vec![path, get], "no_feature_needed"),
            (vec![path, (&method, "get")], "no_feature_needed"),
            (vec![path, (&method, "POST")], "not_in_license"),
            (vec![path, (&method, "PROPFIND")], "not_in_license"),
            // Nothing says which method it is.
            (vec![path], "not_in_license"),
            (vec![path, (&other_method, "GET")], "not_in_license"),
            (vec![path, get, (&method, "POST")], "not_in_license"),
            (vec![path, get, get], "not_in_license"),
            (vec![path, (&method, "GET, POST")], "not_in_license"),
            (vec![path, (&method, "GET,GET")], "not_in_license"),
            (vec![path, (&method, "")], "not_in_license"),
            (vec![path, (&method, "G\tT")], "not_in_license"),
            (vec![path, (&method, &"G".repeat(33))], "not_in_license"),
            // A second path is judged by its own method, and does not lend it.
            (
                vec![path, elsewhere, (&other_method, "GET")],
                "not_in_license",
            ),
            (vec![path, elsewhere, get], "no_feature_needed"),
            (vec![elsewhere, get], "no_feature_needed"),
            // The same path twice: one may be the visitor's.
            (vec![path, get, (&uri, "/api/open")], "bad_path"),
            (vec![path, get, path], "bad_path"),
        ] {
            assert_eq!(reason(&gate, PATH, &headers).await, expected, "{headers:?}");
        }
    }
    // A method that only the table knows is one of those that it may be.
    let find = [("x-original-uri", "/api/find")];
    assert_eq!(reason(&gate, PATH, &find).await, "not_in_license");
    let get = [find[0], ("x-original-method", "GET")];
    assert_eq!(reason(&gate, PATH, &get).await, "no_feature_needed");
    // All three ways to name a path, and the strictest counts.
    let headers = [
        ("x-original-uri", "/api/open"),
        ("x-original-method", "GET"),
        ("x-forwarded-uri", "/api/open"),
        ("x-forwarded-method", "GET"),
    ];
    let below = format!("{PATH}/api/open");
    assert_eq!(reason(&gate, &below, &headers).await, "no_feature_needed");
    let below = format!("{PATH}/api/analytics/heat");
    assert_eq!(reason(&gate, &below, &headers).await, "licensed");
    let strict = [&headers[..3], &[("x-forwarded-method", "POST")]].concat();
    let strict = [&strict[..2], &[("x-forwarded-uri", alarms)], &strict[3..]].concat();
    assert_eq!(reason(&gate, &below, &strict).await, "not_in_license");
    gate.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_is_named_in_one_header_and_a_few_parameters() {
    let gate = gate("").await;
    let map = ("x-license-feature", "module.map_view");
    assert_eq!(reason(&gate, PATH, &[map]).await, "licensed");
    assert_eq!(reason(&gate, PATH, &[map, map]).await, "bad_feature");
    let mut query = format!("{PATH}?feature=module.live_view&feature=module.map_view");
    assert_eq!(reason(&gate, &query, &[map]).await, "licensed");
    assert_eq!(reason(&gate, &query, &[map, map]).await, "bad_feature");
    query.push_str(&"&feature=module.map_view".repeat(2));
    assert_eq!(reason(&gate, &query, &[]).await, "licensed");
    query.push_str("&feature=module.map_view");
    assert_eq!(reason(&gate, &query, &[]).await, "bad_feature");
    query.push_str(&"&feature=x".repeat(2_000));
    assert_eq!(reason(&gate, &query, &[]).await, "bad_feature");
    let long = format!("{PATH}?feature={}", "x".repeat(400));
    assert_eq!(reason(&gate, &long, &[]).await, "not_in_license");
    let longer = format!("{long}x");
    assert_eq!(reason(&gate, &longer, &[]).await, "bad_feature");
    // Other parameters say nothing, however many there are.
    let others = format!(
        "{PATH}?{}feature=module.map_view",
        "a&feature_=x&".repeat(300)
    );
    assert_eq!(reason(&gate, &others, &[]).await, "licensed");
    gate.site.end().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_in_the_path_is_the_one_that_is_asked_about() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let gate = Gate {
        site,
        _directory: tempfile::tempdir().unwrap(),
    };
    let long = "x".repeat(401);
    for rest in [
        "",
        "/",
        "/alarms/1",
        "/feature/module.nope",
        "/feature/module.live_view",
        "?feature=module.nope",
        "/a?feature=module.live_view&unreadable=200",
        "/..%2f..%2ffeature%2fmodule.live_view",
        "/%zz;x//%E9",
        "/a%2Fb%5c",
    ] {
        for (key, expected) in [
            ("module.map_view", "licensed"),
            ("module.live_view", "core"),
            ("module.alarm_advanced", "not_in_license"),
            ("module.nope", "not_in_license"),
            ("", "bad_feature"),
            ("%2F", "bad_feature"),
            ("module%2Elive_view", "bad_feature"),
            ("module.live_view%2Fx", "bad_feature"),
            ("module.live_view;x", "bad_feature"),
            ("..%2fmodule.live_view", "bad_feature"),
            (".", "bad_feature"),
            ("..", "bad_feature"),
            (&long, "bad_feature"),
        ] {
            let path = format!("{PATH}/feature/{key}{rest}");
            let (status, reason) = raw_reason(&gate, "GET", &path).await;
            let allowed = ["licensed", "core"].contains(&expected);
            let refused = if expected == "bad_feature" { 400 } else { 403 };
            assert_eq!(reason, expected, "{path}");
            assert_eq!(status, if allowed { 200 } else { refused }, "{path}");
        }
    }
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "X-Y",
    ] {
        for (key, expected) in [("module.map_view", 200), ("module.nope", 403)] {
            let path = format!("{PATH}/feature/{key}/alarms/1");
            let (status, _) = raw_reason(&gate, method, &path).await;
            assert_eq!(status, expected, "{method} {key}");
        }
    }
    // Nothing but this spelling names a feature.
    for (path, expected) in [
        ("/feature", "bad_feature"),
        ("/features/module.live_view", "no_table"),
        ("/Feature/module.live_view", "no_table"),
        ("//feature/module.live_view", "no_table"),
        ("/%66eature/module.live_view", "no_table"),
        ("/x/feature/module.live_view", "no_table"),
        ("/feature%2fmodule.live_view", "no_table"),
    ] {
        let (_, reason) = raw_reason(&gate, "GET", &format!("{PATH}{path}")).await;
        assert_eq!(reason, expected, "{path}");
    }
    let nope = [("x-license-feature", "module.nope")];
    let path = format!("{PATH}/feature/module.live_view/x");
    assert_eq!(reason(&gate, &path, &nope).await, "not_in_license");
    gate.site.end().await;
}

/// Envoy appends a visitor's path at the same address: with a table, the visitor
/// must not choose a feature by a path that begins like this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitors_path_that_looks_like_a_feature_is_looked_up_as_well() {
    let open = gate(ROUTES).await;
    let deny = gate("default = \"deny\"\n").await;
    let listed = gate("default = \"deny\"\n[[route]]\npath = \"/feature/**\"\n").await;
    let key = "/feature/module.live_view";
    for (gate, path, expected) in [
        (&open, "/x", "no_feature_needed"),
        (&open, "/api/alarms/7", "no_feature_needed"),
        (&open, "/..%2f..%2fapi%2falarms%2f7", "bad_path"),
        (&open, "/%2e%2e/%2e%2e/api/analytics/1", "bad_path"),
        (&deny, "/x", "not_listed"),
        (&listed, "/x", "no_feature_needed"),
        (&listed, "/..%2f..%2fy", "bad_path"),
    ] {
        let (_, reason) = raw_reason(gate, "POST", &format!("{PATH}{key}{path}")).await;
        assert_eq!(reason, expected, "{path}");
    }
    let (_, reason) = raw_reason(&open, "GET", &format!("{PATH}/feature/module.nope/x")).await;
    assert_eq!(reason, "not_in_license");
    for gate in [open, deny, listed] {
        gate.site.end().await;
    }
}

/// Status and reason of a question whose path no library makes plain.
async fn raw_reason(gate: &Gate, method: &str, path: &str) -> (u16, String) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_is_reloaded_on_sighup_and_an_invalid_one_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    let shown = file.display().to_string();
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("[[route]]\npath = \"/x\"\nfeature = \"module.map_view\"\n");
    let mut program = Program::start(&["--gate-routes", &shown]).await;
    let status = async |program: &Program, path: &str| {
        let url = format!("{PATH}{path}");
        let (status, _) = program.send(Method::GET, &url, &Value::Null).await;
        status
    };
    assert_eq!(status(&program, "/x").await, 403);
    assert_eq!(status(&program, "/y").await, 200);
    write("[[route]]\npath = \"/y\"\nfeature = \"module.map_view\"\n");
    program.hang_up();
    for _ in 0..200 {
        if status(&program, "/y").await == 403 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status(&program, "/y").await, 403);
    assert_eq!(status(&program, "/x").await, 200);

    write("[[route]]\npath = \"/z\"\n\n[[route]]\npath = \"/a/**/b\"\n");
    program.hang_up();
    for _ in 0..200 {
        if program.log().contains("line 5") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = program.log();
    assert!(log.contains("line 5: '**' stands for the rest"), "{log}");
    assert_eq!(status(&program, "/y").await, 403);
    program.kill();

    // At the start it is a reason not to start.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["serve", "--port", "0", "--gate-routes", &shown])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("GATE_ROUTES") && said.contains("line 5"),
        "{said}"
    );
}
