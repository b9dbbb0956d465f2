//! Requests that name a feature, and what is answered.

use reqwest::Method;
use serde_json::Value;

use super::paths::raw_reason;
use super::{Gate, PATH, ROUTES, gate, header, reason};
use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_has_no_body_and_a_refusal_one_that_can_be_shown() {
    let gate = gate("default = \"allow\"\n").await;
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
async fn a_feature_is_named_in_one_header_and_a_few_parameters() {
    let gate = gate("default = \"allow\"\n").await;
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
