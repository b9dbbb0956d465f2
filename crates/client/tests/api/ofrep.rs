//! OpenFeature Remote Evaluation Protocol 0.3: the shapes that its description
//! has.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

const FLAGS: &str = "/ofrep/v1/evaluate/flags";

async fn evaluate(site: &Site, key: &str) -> (StatusCode, Value) {
    let body = json!({"context": {"targetingKey": "site"}});
    site.post(&format!("{FLAGS}/{key}"), Some(body)).await
}

async fn evaluate_all(site: &Site, known: Option<&str>) -> Response {
    let mut request = site.http.post(format!("{}{FLAGS}", site.url));
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    request.json(&json!({"context": {}})).send().await.unwrap()
}

async fn licensed() -> (Site, ScriptedCloud) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    (site, cloud)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_are_booleans_and_limits_integers() {
    let (site, cloud) = licensed().await;
    let (status, flag) = evaluate(&site, "module.map_view").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        flag,
        json!({
            "key": "module.map_view", "value": true, "reason": "STATIC", "variant": "on",
            "metadata": {"standing": "active", "tier": "professional", "reason": "licensed"},
        })
    );
    let (_, flag) = evaluate(&site, "module.alarm_advanced").await;
    assert_eq!(
        (&flag["value"], &flag["variant"]),
        (&json!(false), &json!("off"))
    );
    assert_eq!(flag["metadata"]["reason"], "not_in_license");
    let (_, flag) = evaluate(&site, "limit.cameras").await;
    assert_eq!(
        (&flag["value"], &flag["variant"]),
        (&json!(64), &json!("limited"))
    );
    let (_, flag) = evaluate(&site, "limit.storage_gb").await;
    assert_eq!(
        (&flag["value"], &flag["variant"]),
        (&json!(-1), &json!("unlimited"))
    );

    site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    )
    .await;
    let (_, flag) = evaluate(&site, "module.map_view").await;
    assert_eq!(
        (&flag["value"], &flag["reason"]),
        (&json!(false), &json!("DISABLED"))
    );
    cloud.always(Some(Scripted::new(503, "")));
    site.validate().await;
    let (_, flag) = evaluate(&site, "module.analytics_advanced").await;
    assert_eq!(flag["value"], true);
    assert_eq!(flag["metadata"]["standing"], "grace");
    assert!(flag["metadata"]["graceUntil"].is_string());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_have_the_protocols_words() {
    let (site, _cloud) = licensed().await;
    let (status, error) = evaluate(&site, "module.nope").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(error["key"], "module.nope");
    assert_eq!(error["errorCode"], "FLAG_NOT_FOUND");
    assert!(error["errorDetails"].is_string());
    assert_eq!(evaluate(&site, "%ff").await.0, StatusCode::NOT_FOUND);
    let key = format!("{FLAGS}/module.map_view");
    for (body, code) in [
        ("{", "PARSE_ERROR"),
        ("[]", "PARSE_ERROR"),
        ("", "PARSE_ERROR"),
        ("{}", "INVALID_CONTEXT"),
        (r#"{"context":7}"#, "INVALID_CONTEXT"),
        (r#"{"context":null}"#, "INVALID_CONTEXT"),
    ] {
        for path in [&key, FLAGS] {
            let request = site.http.post(format!("{}{path}", site.url)).body(body);
            let answer = request
                .header("content-type", "application/json")
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
            let error: Value = answer.json().await.unwrap();
            assert_eq!(error["errorCode"], code, "{path} {body}");
            assert_eq!(error.get("key").is_some(), *path == key);
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_flags_come_with_a_tag_and_are_not_sent_again_while_nothing_changes() {
    let (site, _cloud) = licensed().await;
    let answer = evaluate_all(&site, None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let all: Value = answer.json().await.unwrap();
    let flags = all["flags"].as_array().unwrap();
    for flag in flags {
        assert!(flag["key"].is_string() && flag["variant"].is_string());
        assert!(["STATIC", "DISABLED"].contains(&flag["reason"].as_str().unwrap()));
        assert!(flag["value"].is_boolean() || flag["value"].is_i64());
        let metadata = flag["metadata"].as_object().unwrap();
        assert!(metadata.values().all(Value::is_string));
    }
    for key in [
        "module.map_view",
        "module.live_view",
        "limit.cameras",
        "limit.users",
    ] {
        assert!(flags.iter().any(|flag| flag["key"] == key), "{key}");
    }
    assert_eq!(
        all["eventStreams"],
        json!([{"type": "sse", "endpoint": {"requestUri": "/ofrep/v1/events"}, "inactivityDelaySec": 60}])
    );
    assert_eq!(all["metadata"]["standing"], "active");

    for known in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x\", {etag}"),
        "*".to_owned(),
    ] {
        let again = evaluate_all(&site, Some(&known)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(again.headers()["etag"].to_str().unwrap(), etag);
        assert_eq!(again.text().await.unwrap(), "");
    }
    // Only the first tags are compared.
    for (others, expected) in [(31, 304), (32, 200)] {
        let known = format!("{}{etag}", "\"x\",".repeat(others));
        assert_eq!(evaluate_all(&site, Some(&known)).await.status(), expected);
    }
    site.put(
        "/api/license/features/module.map_view",
        json!({"systemEnabled": false}),
    )
    .await;
    let changed = evaluate_all(&site, Some(&etag)).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()["etag"].to_str().unwrap(), etag);
    site.end().await;
}

/// For any key, the answer follows the protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slash_in_a_key_is_a_part_of_it() {
    let (site, _cloud) = licensed().await;
    for (path, key) in [
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("module.map_view/", "module.map_view/"),
        ("module.map_view//", "module.map_view//"),
        ("module.map_view/x", "module.map_view/x"),
        ("/module.map_view", "/module.map_view"),
        ("a/b/c%2Fd/%65", "a/b/c/d/e"),
        ("a/%ff", ""),
        ("%zz/x", "%zz/x"),
        ("", ""),
    ] {
        let (status, error) = evaluate(&site, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {error}");
        assert_eq!(error["errorCode"], "FLAG_NOT_FOUND", "{path}");
        assert_eq!(error["key"], key, "{path}");
        let body = site.post(&format!("{FLAGS}/{path}"), Some(json!([]))).await;
        let expected = match path.contains("%ff") {
            true => (StatusCode::NOT_FOUND, "FLAG_NOT_FOUND"),
            false => (StatusCode::BAD_REQUEST, "PARSE_ERROR"),
        };
        assert_eq!((body.0, body.1["errorCode"].as_str().unwrap()), expected);
        let (status, _) = site.get(&format!("{FLAGS}/{path}")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    let (status, flag) = evaluate(&site, "module%2Emap_view").await;
    assert_eq!((status, &flag["value"]), (StatusCode::OK, &json!(true)));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_long_is_not_called_a_mistake_in_it() {
    let (site, _cloud) = licensed().await;
    let long = json!({"context": {"x": "y".repeat(9 * 1024)}});
    let fits = json!({"context": {"x": "y".repeat(7 * 1024)}});
    for path in [
        FLAGS.to_owned(),
        format!("{FLAGS}/module.map_view"),
        format!("{FLAGS}/a/b"),
    ] {
        let (status, error) = site.post(&path, Some(long.clone())).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}: {error}");
        assert!(error["detail"].as_str().unwrap().contains("too large"));
        let (status, _) = site.post(&path, Some(fits.clone())).await;
        let expected = if path.ends_with("a/b") { 404 } else { 200 };
        assert_eq!(status, expected, "{path}");
    }
    site.end().await;
}
