//! Every license that is issued has documents that sites can read.

use std::process::Command;

use license_core::document::{MAX_BYTES, MAX_LICENSE_BYTES, verify_license};
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::{IssueError, IssueRequest, draft};
use license_server::licensing::plans::find_plan;
use license_server::store::catalogue;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::offers::{longest_features as features, sell_longest_features};

/// A vendor who sells all of them.
async fn vendor() -> Vendor {
    let vendor = Vendor::start(Engine::Sqlite).await;
    sell_longest_features(&vendor, 600).await;
    vendor
}

fn request(count: usize) -> IssueRequest {
    IssueRequest {
        with: features(count),
        // JSON has six characters for each of these.
        customer: "\u{1}".repeat(255),
        ..IssueRequest::of(Tier::Standard)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_license_is_confirmed_with_a_document_that_sites_read() {
    let vendor = vendor().await;
    let db = vendor.app.store.reader();
    let plan = find_plan(db, &Tier::Standard.into()).await.unwrap();
    let catalogue = catalogue::kinds(db).await.unwrap();
    let change = vendor.app.permitted_change(Actor::CommandLine).unwrap();
    let refused = |count: &usize| {
        let drafted = draft(&request(*count), &plan, &catalogue, &change);
        matches!(drafted, Err(IssueError::TooLong(_)))
    };
    let too_many = (1..1000).find(refused).unwrap();
    let key = vendor.issue(request(too_many - 1)).await;
    let id = "\u{1}".repeat(255);
    let body = json!({
        "licenseKey": key, "hardwareId": id, "installationId": id,
        "installationName": id, "installationVersion": id,
    });
    let asked = vendor
        .http
        .post(format!("{}/api/licenses/activate", vendor.url))
        .header("x-license-nonce", "\"".repeat(128))
        .json(&body);
    let answer: Value = asked.send().await.unwrap().json().await.unwrap();
    let jws = answer["data"]["license"]["signature"].as_str().unwrap();
    assert!(jws.len() <= MAX_BYTES, "{}", jws.len());
    assert!(jws.len() > MAX_BYTES * 3 / 4, "{}", jws.len());
    assert!(verify_license(jws, &vendor.keyring()).is_ok());
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_that_no_site_could_use_is_not_issued() {
    let vendor = vendor().await;
    let reason = format!("the maximum is {MAX_LICENSE_BYTES}: add fewer features");
    let wanted = json!({"tier": "standard", "with": features(600)});
    let (status, answer) = vendor.admin(Method::POST, "/licenses", wanted).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(&reason), "{message}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command.args(["issue", "--tier", "standard"]);
    command.args(features(600).iter().flat_map(|key| ["--with", key]));
    command.args(vendor.flags());
    let said = tokio::task::spawn_blocking(move || command.output().unwrap());
    let said = said.await.unwrap();
    let message = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{message}");
    assert!(message.contains(&reason), "{message}");

    let browser = reqwest::Client::builder().no_proxy();
    let browser = browser.redirect(Policy::none()).build().unwrap();
    let form = |path: &str, body: String| {
        let form = browser.post(format!("{}{path}", vendor.url)).body(body);
        form.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
    };
    let sign_in = form("/console/sign-in", format!("token={ADMIN_TOKEN}"));
    let signed_in = sign_in.send().await.unwrap();
    let cookie = signed_in.headers()[SET_COOKIE].to_str().unwrap();
    let (cookie, _) = cookie.split_once(';').unwrap();
    let issue = "plan=standard%401&customer=x&end=never&feature=".to_owned();
    let issue = issue + &features(600).join("&feature=");
    let page = form("/console/licenses/issue", issue).header(COOKIE, cookie);
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&reason), "{page}");
    assert_eq!(vendor.look("/licenses").await["total"], 0);
    vendor.end().await;
}
