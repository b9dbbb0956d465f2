//! What else PostgreSQL would find where the tables are.

use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::store::licenses::Status;
use license_service::database::Timeouts;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::database::{Engine, TestDatabase};
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::traps;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_and_functions_of_other_database_users_are_not_called() {
    let database = TestDatabase::new(Engine::Postgres).await;
    traps::set(&database).await;
    let vendor = Vendor::start_before(database, Timeouts::default()).await;
    let request = IssueRequest {
        customer: "Quay".to_owned(),
        ..IssueRequest::of(Tier::Professional)
    };
    let key = vendor.issue(request).await;
    for machine in ["one", "two"] {
        assert_eq!(vendor.activate(&key, machine).await.word(), "yes");
        assert_eq!(vendor.validate(&key, machine).await.word(), "yes");
        vendor.heartbeat(&key, machine, 3).await;
        vendor.deactivate(&key, machine).await;
    }
    let path = format!("/licenses/{key}/renew");
    let body = json!({"expiresAt": "2030-01-01T00:00:00Z"});
    let (status, answer) = vendor.admin(Method::POST, &path, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    vendor.set_status(&key, Status::Suspended).await;
    vendor.set_status(&key, Status::Active).await;
    let add_on = json!({"add": [{"key": "cameras", "quantity": 16}]});
    let (status, add_on) = vendor.admin(Method::POST, "/addons", add_on).await;
    assert_eq!(status, StatusCode::CREATED, "{add_on}");
    let plan = json!({"name": "trial", "contents": {"title": "Trial", "trial": true,
        "duration": "P30D", "entitlements": [{"key": "cameras", "quantity": 4}]}});
    let (status, plan) = vendor.admin(Method::POST, "/plans", plan).await;
    assert_eq!(status, StatusCode::CREATED, "{plan}");
    let code = json!({"plan": "trial", "max": 5});
    let (status, code) = vendor.admin(Method::POST, "/trial-codes", code).await;
    assert_eq!(status, StatusCode::CREATED, "{code}");
    let document = vendor.http.get(format!("{}/openapi.json", vendor.url));
    let document: serde_json::Value = document.send().await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let read = paths.filter(|(_, methods)| methods.get("get").is_some());
    for (path, _) in read {
        let Some(path) = path.strip_prefix("/api/admin") else {
            continue;
        };
        let path = path.replace("{license}", &key);
        let path = path.replace("{customer}", "Quay");
        let path = path.replace("{name}", "professional");
        let path = path.replace("{addOn}", &add_on["id"].to_string());
        let path = path.replace("{trialCode}", code["id"].as_str().unwrap());
        for query in ["", "?limit=1", "?search=professional", "?order=asc"] {
            let url = format!("{}/api/admin{path}{query}", vendor.url);
            let answer = vendor.http.get(&url).bearer_auth(ADMIN_TOKEN).send().await;
            let answer = answer.unwrap();
            let status = answer.status();
            let body = answer.text().await.unwrap();
            assert!(!status.is_server_error(), "{url}: {body}");
            assert!(
                !query.is_empty() || status == StatusCode::OK,
                "{url}: {body}"
            );
        }
    }
    assert_eq!(traps::sprung(&vendor.database).await, [""; 0]);
    traps::remove(&vendor.database).await;
    vendor.end().await;
}
