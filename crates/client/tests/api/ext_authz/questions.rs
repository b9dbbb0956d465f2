//! What is asked, and what is answered.

use super::messages::{Answer, Asked, entry, field, framed};
use super::{CHECK, ROUTES, gate, pair, unlicensed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_is_answered_as_over_http() {
    let gate = gate(None).await;
    let long = "x".repeat(401);
    for (feature, status, reason) in [
        ("module.map_view", "200", "licensed"),
        ("module.live_view", "200", "core"),
        ("module.alarm_advanced", "403", "not_in_license"),
        ("module.nope", "403", "not_in_license"),
        ("", "403", "not_in_license"),
        ("module.map_view ", "403", "not_in_license"),
        (&long, "400", "bad_feature"),
    ] {
        let asked = Asked {
            feature: Some(feature),
            ..Asked::of("GET", "/x/../y%zz")
        };
        let answer = gate.ask(&asked).await;
        assert_eq!(answer.status, status, "{feature}: {answer:?}");
        assert_eq!(answer.reason(), reason, "{feature}");
        assert_eq!(answer.headers["x-license-tier"], "professional");
        assert_eq!(answer.metadata["reason"], reason);
        let allowed = status == "200";
        assert_eq!(answer.metadata["allowed"], if allowed { "1" } else { "0" });
        let named = answer.metadata.get("feature").map(String::as_str);
        assert_eq!(named, (reason != "bad_feature").then_some(feature));
        if allowed {
            assert_eq!((answer.code.as_str(), answer.body.as_str()), ("", ""));
            continue;
        }
        assert_eq!(answer.code, "7");
        assert_eq!(answer.headers["content-type"], "application/json");
        let feature = feature.replace(' ', "%20");
        let path = format!("/api/license/authorize?feature={feature}");
        let request = gate.site.http.get(format!("{}{path}", gate.site.url));
        let over_http = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(answer.body, over_http, "{feature}");
    }
    let nothing = gate.short(&Asked::of("GET", "/x")).await;
    assert_eq!(nothing, pair("403", "no_table"));
    // No request of a visitor is there: Envoy asks about a connection.
    let tcp = framed(&field(1, field(10, entry("feature", "module.map_view"))));
    let body = gate.send(CHECK, tcp).await.bytes().await.unwrap();
    assert_eq!(Answer::read(&body[5..]).reason(), "licensed");
    let body = gate.send(CHECK, framed(b"")).await.bytes().await.unwrap();
    assert_eq!(Answer::read(&body[5..]).reason(), "no_feature");
    // An unlicensed site has no tier.
    gate.site.end().await;
    let unlicensed = unlicensed(None).await;
    let core = Asked {
        feature: Some("module.live_view"),
        ..Asked::default()
    };
    let answer = unlicensed.ask(&core).await;
    assert_eq!((answer.status.as_str(), answer.reason()), ("200", "core"));
    // What a visitor claims is not left in its place.
    assert_eq!(answer.removed, ["x-license-tier"]);
    unlicensed.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_looked_up_with_its_method_and_the_strictest_counts() {
    let gate = gate(Some(ROUTES)).await;
    for (method, path, status, reason) in [
        ("GET", "/api/analytics/heat?x=1", "200", "licensed"),
        ("GET", "/api/alarms/7", "200", "no_feature_needed"),
        ("POST", "/api/alarms/7", "403", "not_in_license"),
        ("post", "/api/alarms/7", "403", "not_in_license"),
        ("", "/api/alarms/7", "403", "not_in_license"),
        ("P ST", "/api/alarms/7", "403", "not_in_license"),
        (
            "GET",
            "/open?feature=module.nope",
            "200",
            "no_feature_needed",
        ),
        ("POST", "/open/..%2fapi/alarms/7", "400", "bad_path"),
        ("POST", "//api/alarms/7", "400", "bad_path"),
        ("GET", "/a\\b", "400", "bad_path"),
        ("CONNECT", "", "400", "bad_path"),
        ("OPTIONS", "*", "400", "bad_path"),
        ("GET", "https://vms.example/open", "400", "bad_path"),
    ] {
        let short = gate.short(&Asked::of(method, path)).await;
        // Doubled slashes are read both ways by services.
        let is_odd = path.starts_with("//") && short.1 == "not_in_license";
        assert!(
            is_odd || short == pair(status, reason),
            "{method} {path}: {short:?}"
        );
    }
    let long = format!("/{}", "a".repeat(9_000));
    let short = gate.short(&Asked::of("GET", &long)).await;
    assert_eq!(short, pair("400", "bad_path"));
    // All headers are under the visitor's control.
    for header in [
        ("x-license-feature", "module.live_view"),
        ("x-license-feature", "module.nope"),
        ("x-forwarded-uri", "/open"),
        ("x-forwarded-method", "GET"),
        ("x-original-uri", "/api/alarms/7"),
        ("x-original-url", "https://vms.example/open"),
        ("x-original-method", "GET"),
        (":path", "/open"),
        (":method", "GET"),
    ] {
        for (path, expected) in [
            ("/api/alarms/7", pair("403", "not_in_license")),
            ("/api/analytics/1", pair("200", "licensed")),
        ] {
            let asked = Asked {
                headers: vec![header],
                ..Asked::of("POST", path)
            };
            assert_eq!(gate.short(&asked).await, expected, "{header:?} {path}");
        }
    }
    for (feature, path, expected) in [
        (
            "module.map_view",
            "/api/alarms/7",
            pair("403", "not_in_license"),
        ),
        ("module.nope", "/open", pair("403", "not_in_license")),
        ("module.map_view", "/open", pair("200", "no_feature_needed")),
    ] {
        let asked = Asked {
            feature: Some(feature),
            ..Asked::of("POST", path)
        };
        assert_eq!(gate.short(&asked).await, expected, "{feature} {path}");
    }
    gate.site.end().await;
}

/// Envoy writes `!` for bytes that are not UTF-8, unless it sends raw headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_utf_8_hide_no_path() {
    let gate = gate(Some(ROUTES)).await;
    for (path, reason) in [
        ("/files/caf!/x", "no_feature_needed"),
        ("/hello!", "no_feature_needed"),
        ("/caf!/x", "bad_path"),
        ("/a!pi/alarms/7", "bad_path"),
        ("/api/alarms!/7", "bad_path"),
        ("/api/analytics/hello!", "licensed"),
    ] {
        let answer = gate.ask(&Asked::of("POST", path)).await;
        assert_eq!(answer.reason(), reason, "{path}");
    }
    // The raw path is the truth, and then a '!' is one.
    for (raw, reason) in [
        (&b"/caf!/x"[..], "no_feature_needed"),
        (b"/caf\xe9/x", "bad_path"),
        (b"/a\xffpi/alarms/7", "bad_path"),
        (b"/files/caf\xe9/x", "no_feature_needed"),
        (b"/api/alarms/7", "not_in_license"),
    ] {
        let asked = Asked {
            raw_paths: vec![raw],
            ..Asked::of("POST", "/caf!/x")
        };
        assert_eq!(gate.ask(&asked).await.reason(), reason, "{raw:?}");
    }
    let twice = Asked {
        raw_paths: vec![b"/open", b"/open"],
        ..Asked::of("POST", "/open")
    };
    assert_eq!(gate.ask(&twice).await.reason(), "bad_path");
    gate.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_answered_in_the_terms_of_grpc() {
    let gate = gate(None).await;
    let question = |bytes: usize| {
        let padding = field(3, entry("x", "y".repeat(bytes)));
        framed(&field(1, field(4, field(2, padding))))
    };
    let answer = gate.send(CHECK, question(60 * 1024)).await;
    assert!(answer.headers().get("grpc-status").is_none(), "{answer:?}");
    let compressed = [&[1, 0, 0, 0, 1], &b"x"[..]].concat();
    let cut = framed(&field(1, "")[..1]);
    for (path, body, status) in [
        (CHECK, question(65 * 1024), "8"),
        (CHECK, question(1024 * 1024), "8"),
        (CHECK, compressed, "13"),
        (CHECK, cut, "13"),
        (
            "/envoy.service.auth.v2.Authorization/Check",
            framed(b""),
            "12",
        ),
        ("/api/license/status", framed(b""), "12"),
        ("/", Vec::new(), "12"),
    ] {
        let answer = gate.send(path, body).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["grpc-status"], status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
    }
    let get = gate.http.get(format!("{}{CHECK}", gate.url));
    assert_eq!(get.send().await.unwrap().headers()["grpc-status"], "12");
    let http1 = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(http1.get(&gate.url).send().await.is_err());
    gate.site.end().await;
}
