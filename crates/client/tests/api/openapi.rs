//! The API changes only on purpose.

use serde_json::Value;

use crate::database::Engine;
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openapi_document_is_the_reviewed_one() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let (_, mut document) = site.get("/openapi.json").await;
    document["info"]["version"] = "[version]".into();
    // `assert_json_snapshot!` would show how numbers of arbitrary precision are represented.
    insta::assert_snapshot!("openapi", format!("{document:#}"));

    // Everything that a generated client of version 1.0.0 uses still exists.
    let recorded = include_str!("../fixtures/contract/openapi.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    for (path, methods) in recorded["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let ours = &document["paths"][path][method];
            assert_eq!(ours["operationId"], operation["operationId"], "{path}");
            let responses = operation["responses"].as_object().unwrap();
            for status in responses.keys() {
                assert!(!ours["responses"][status].is_null(), "{path} {status}");
            }
        }
    }
    for (name, schema) in recorded["components"]["schemas"].as_object().unwrap() {
        let ours = &document["components"]["schemas"][name]["properties"];
        for property in schema["properties"].as_object().unwrap().keys() {
            assert!(!ours[property].is_null(), "{name}.{property}");
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_page_loads_nothing_from_other_hosts() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let (_, page) = site.get("/docs/").await;
    let page = page.as_str().unwrap();
    assert!(page.contains("swagger-ui"));
    for attribute in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(!page.contains(attribute), "{attribute}");
    }
    let script = page
        .split("src=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let script = script.trim_start_matches("./");
    let (status, _) = site.get(&format!("/docs/{script}")).await;
    assert!(status.is_success());
    site.end().await;
}
