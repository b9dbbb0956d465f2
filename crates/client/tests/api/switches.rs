//! Features with their reasons, their switches, and the log of attempts.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

on_both_engines! {
    a_feature_is_switched_off_and_stays_off;
    the_log_is_shown_page_by_page;
    switches_in_the_database_are_bounded_and_made_into_answers_one_time;
}

fn find(list: &Value, key: &str) -> Value {
    let features = list["features"].as_array().unwrap();
    let found = features.iter().find(|feature| feature["featureKey"] == key);
    found.unwrap_or_else(|| panic!("{key}: {list}")).clone()
}

async fn a_feature_is_switched_off_and_stays_off(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    let (_, list) = site.get("/api/license/features").await;
    assert_eq!(list["features"].as_array().unwrap().len(), 10);
    assert_eq!(find(&list, "module.live_view")["reason"], "core");
    assert_eq!(find(&list, "module.map_view")["reason"], "no_license");

    site.activate(KEY).await;
    let path = "/api/license/features/module.map_view";
    let (status, answer) = site.put(path, json!({"systemEnabled": false})).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({
        "featureKey": "module.map_view", "available": false, "reason": "switched_off",
        "core": false, "licensed": true, "systemEnabled": false,
        "startsAt": null, "endsAt": null,
    });
    assert_eq!(answer, expected);
    // Another validation, another license and a restart change nothing.
    site.validate().await;
    site.activate("another").await;
    site.restart().await;
    assert!(!site.is_available("module.map_view").await);
    let (_, answer) = site.put(path, json!({"systemEnabled": true})).await;
    assert_eq!(answer["available"], true);
    assert!(site.is_available("module.map_view").await);

    // A feature that is not licensed yet can be switched off beforehand.
    let path = "/api/license/features/module.alarm_advanced";
    assert_eq!(
        site.put(path, json!({"systemEnabled": false})).await.0,
        StatusCode::OK
    );

    let body = json!({"featureKeys": ["module.live_view", "module.map_view", "x"]});
    let (_, many) = site.post("/api/license/features/check", Some(body)).await;
    let available: Vec<_> = many["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["available"])
        .collect();
    assert_eq!(available, [&json!(true), &json!(true), &json!(false)]);

    for (key, body, expected) in [
        ("module.live_view", json!({"systemEnabled": false}), 409),
        ("module.live_view", json!({"systemEnabled": true}), 200),
        ("module.unheard_of", json!({"systemEnabled": false}), 404),
        ("module.map_view", json!({}), 422),
        ("module.map_view", json!({"systemEnabled": "no"}), 422),
        ("%00", json!({"systemEnabled": false}), 404),
    ] {
        let path = format!("/api/license/features/{key}");
        let (status, answer) = site.put(&path, body).await;
        assert_eq!(status.as_u16(), expected, "{key} {answer}");
    }
    for wrong in [
        json!({}),
        json!({"featureKeys": "x"}),
        json!({"featureKeys": [1]}),
        json!({"featureKeys": vec!["x"; 1001]}),
    ] {
        let (status, _) = site.post("/api/license/features/check", Some(wrong)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    site.end().await;
}

async fn the_log_is_shown_page_by_page(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    for _ in 0..3 {
        site.validate().await;
    }
    cloud.always(Some(Scripted::new(503, "")));
    site.validate().await;
    let (_, first) = site.get("/api/license/attempts?limit=2").await;
    let results = |page: &Value| -> Vec<Value> {
        let attempts = page["attempts"].as_array().unwrap();
        attempts
            .iter()
            .map(|attempt| attempt["result"].clone())
            .collect()
    };
    assert_eq!(results(&first), ["offline", "success"]);
    assert_eq!(first["attempts"][0]["licenseKey"], KEY);
    let next = first["nextCursor"].as_str().unwrap();
    let next = format!("/api/license/attempts?cursor={next}");
    let (_, rest) = site.get(&next).await;
    assert_eq!(results(&rest), ["success", "success", "success"]);
    assert_eq!(rest["nextCursor"], Value::Null);
    for wrong in [
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=x",
        "cursor=OTk5OTk5OTk5OTk",
    ] {
        let (status, answer) = site.get(&format!("/api/license/attempts?{wrong}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong} {answer}");
        assert!(answer["detail"].is_array());
    }
    site.end().await;
}

async fn switches_in_the_database_are_bounded_and_made_into_answers_one_time(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let path = "/api/license/features/module.map_view";
    site.put(path, json!({"systemEnabled": false})).await;
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) \
                INSERT INTO local_feature_flags (feature_key, system_enabled) \
                SELECT 'odd.' || i, FALSE FROM n";
    site.database.execute(rows).await;
    site.restart().await;

    let (_, list) = site.get("/api/license/features").await;
    let count = list["features"].as_array().unwrap().len();
    assert!((10_000..=10_010).contains(&count), "{count}");
    // What the site has switched off itself counts before what came later.
    assert_eq!(find(&list, "module.map_view")["reason"], "switched_off");
    let url = format!("{}/ofrep/v1/evaluate/flags", site.url);
    let flags = site.http.post(url).json(&json!({"context": {}}));
    let flags: Value = flags.send().await.unwrap().json().await.unwrap();
    assert_eq!(flags["flags"].as_array().unwrap().len(), count + 3);
    let (_, one) = site
        .post(
            "/ofrep/v1/evaluate/flags/odd.1",
            Some(json!({"context": {}})),
        )
        .await;
    assert_eq!(
        (&one["key"], &one["value"]),
        (&json!("odd.1"), &json!(false))
    );
    let page = site
        .http
        .get(format!("{}/", site.url))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    let hidden = format!("Features not shown here: {}.", count - 500);
    assert!(page.contains(&hidden), "{}", page.len());
    assert!(page.len() < 1024 * 1024, "{}", page.len());

    // A change makes another answer.
    site.put(path, json!({"systemEnabled": true})).await;
    let (_, list) = site.get("/api/license/features").await;
    assert_eq!(find(&list, "module.map_view")["reason"], "licensed");
    let start = tokio::time::Instant::now();
    site.stop().await;
    assert!(start.elapsed() < std::time::Duration::from_secs(8));
    site.end().await;
}
