//! The API changes only on purpose, and its document describes it.

use std::collections::BTreeSet;

use license_core::protocol::{
    ActivateRequest, DeactivateRequest, HeartbeatRequest, SystemInfo, UsageMetrics, ValidateRequest,
};
use license_core::usage::Usage;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, INSTALLATION, Vendor};

async fn get(vendor: &Vendor, path: &str) -> Value {
    let request = vendor.http.get(format!("{}{path}", vendor.url));
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openapi_document_is_the_reviewed_one() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let mut document = get(&vendor, "/openapi.json").await;
    document["info"]["version"] = "[version]".into();
    // `assert_json_snapshot!` would show how numbers of arbitrary precision are represented.
    insta::assert_snapshot!("openapi", format!("{document:#}"));
    vendor.end().await;
}

/// The messages themselves are made in `license_core`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_describes_the_messages_of_sites() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let document = get(&vendor, "/openapi.json").await;
    let (license_key, hardware_id) = (key.clone(), "machine".to_owned());
    let activate = json!(ActivateRequest {
        license_key: license_key.clone(),
        hardware_id: hardware_id.clone(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Test".to_owned(),
        installation_version: "2.0".to_owned(),
    });
    let validate = json!(ValidateRequest {
        license_key: license_key.clone(),
        hardware_id: hardware_id.clone(),
    });
    let deactivate = json!(DeactivateRequest {
        license_key: license_key.clone(),
        hardware_id: hardware_id.clone(),
    });
    let heartbeat = json!(HeartbeatRequest {
        license_key,
        hardware_id,
        installation_id: INSTALLATION.to_owned(),
        usage_metrics: UsageMetrics::default(),
        system_info: SystemInfo {
            os_platform: "Linux".to_owned(),
            os_release: "6.1.0".to_owned(),
            os_version: "#1 SMP".to_owned(),
            cpu_count: 4,
            total_memory_gb: 7.75,
            hostname: "vms".to_owned(),
            architecture: "x86_64".to_owned(),
        },
        usage: Usage::default(),
    });
    let unknown = |body: &Value| {
        let mut body = body.clone();
        body["licenseKey"] = "unknown".into();
        body
    };
    for (call, request, answer) in [
        ("activate", activate.clone(), "Activated"),
        ("activate", unknown(&activate), "Refused"),
        ("validate", validate.clone(), "Confirmed"),
        ("validate", unknown(&validate), "Denied"),
        ("heartbeat", heartbeat, "Confirmed"),
        ("deactivate", deactivate.clone(), "Deactivated"),
        ("deactivate", unknown(&deactivate), "Refused"),
    ] {
        let operation = &document["paths"][format!("/api/licenses/{call}")]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        assert_described(&document, schema, &request, call);
        let (status, answered) = vendor.post(call, request).await;
        assert_eq!(status, 200, "{call}: {answered}");
        let schema = json!({"$ref": format!("#/components/schemas/{answer}")});
        assert_described(&document, &schema, &answered, answer);
    }
    for path in ["/api/licenses/keys", "/api/licenses/keys?after=0"] {
        let schema = json!({"$ref": "#/components/schemas/KeySet"});
        assert_described(&document, &schema, &get(&vendor, path).await, path);
    }
    vendor.end().await;
}

/// A message has the fields of its schema, and no others.
fn assert_described(document: &Value, schema: &Value, message: &Value, at: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => schema,
    };
    let Some(fields) = schema["properties"].as_object() else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap();
        assert!(message.get(name).is_some(), "{at} has no {name}: {message}");
    }
    for (name, value) in message.as_object().unwrap() {
        let field = fields.get(name);
        let field = field.unwrap_or_else(|| panic!("the schema of {at} has no {name}"));
        assert_described(document, field, value, &format!("{at}.{name}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openapi_document_describes_every_call() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let document = get(&vendor, "/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let is_administration = |path: &str| path.starts_with("/api/admin/");
    let administration = paths.keys().filter(|path| is_administration(path)).count();
    assert_eq!(
        (administration, paths.len()),
        (39, 48),
        "{:?}",
        paths.keys()
    );
    let mut names = BTreeSet::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let is_new = names.insert(operation["operationId"].as_str().unwrap());
            assert!(is_new, "{method} {path}");
            assert!(operation["summary"].is_string(), "{method} {path}");
            let needs_token = !operation["security"].is_null();
            assert_eq!(needs_token, is_administration(path), "{method} {path}");
            let is_described = operation["responses"]["401"].is_object();
            // Calls about a seat prove its installation key.
            let needs_proof = operation["parameters"]
                .as_array()
                .is_some_and(|all| all.iter().any(|it| it["name"] == "DPoP"));
            assert_eq!(is_described, needs_token || needs_proof, "{method} {path}");
            // Each really exists, and those of the administration are closed.
            let address = format!("{}{}", vendor.url, path.replace(['{', '}'], ""));
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = vendor.http.request(method, &address).send().await.unwrap();
            let expected = match (needs_token, path.as_str()) {
                (true, _) => 401,
                (false, "/api/licenses/keys") => 200,
                (false, _) => 400,
            };
            assert_eq!(answer.status(), expected, "{path}");
        }
    }
    assert!(document["security"].is_null());
    assert_eq!(
        document["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_be_missing_where_the_document_says_so() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let document = get(&vendor, "/openapi.json").await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let mut optional = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let body = &methods["post"]["requestBody"];
        if body.is_null() {
            continue;
        }
        let url = format!("{}{}", vendor.url, path.replace("{license}", &key));
        let request = vendor.http.post(url).bearer_auth(ADMIN_TOKEN);
        let status = request.send().await.unwrap().status();
        match body["required"] == false {
            true => optional.push((path.as_str(), status.as_u16())),
            false => assert_eq!(status, 400, "{path}"),
        }
    }
    let expected = [
        ("/api/admin/addons", 400),
        ("/api/admin/addons/{addOn}/refund", 404),
        ("/api/admin/keys/rotate", 200),
        ("/api/admin/licenses/{license}/amendments", 400),
        ("/api/admin/licenses/{license}/revoke", 200),
        ("/api/admin/licenses/{license}/suspend", 409),
    ];
    optional.sort_unstable();
    assert_eq!(optional, expected);
    vendor.end().await;
}
