//! Trials at the site that starts them.

use std::process::{Command, Output};

use chrono::TimeDelta;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_server::audit::Actor;
use license_server::licensing::offline::{read, sign};
use license_server::licensing::trial_codes::forget_trial;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::add_ons::by_staff;
use crate::database::{Engine, on_both_engines};
use crate::harness::{INSTALLATION_ID, KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};
use crate::vendor::Vendor;

on_both_engines! {
    a_trial_starts_at_once_and_becomes_a_paid_license_with_the_same_key;
    a_site_without_internet_starts_a_trial_by_file;
    a_code_that_is_refused_says_what_to_do;
    a_trial_without_signatures_has_the_key_in_the_answer;
}

async fn site(engine: Engine, vendor: &Vendor) -> Site {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    Site::start(engine, &vendor.url, &flags).await
}

/// A code for trials of 30 days.
pub(crate) async fn code(vendor: &Vendor, site: &Site, max: u32) -> String {
    let contents = json!({
        "title": "Trial", "trial": true, "duration": "P30D", "terms": {"seats": 1},
        "entitlements": [{"key": "module.map_view"}, {"key": "cameras", "quantity": 64}],
    });
    let body = json!({"name": "trial", "contents": contents});
    by_staff(vendor, site, "/plans", body).await;
    let body = json!({"plan": "trial", "max": max});
    let added = by_staff(vendor, site, "/trial-codes", body).await;
    added["code"].as_str().unwrap().to_owned()
}

async fn start(site: &Site, code: &str) -> (StatusCode, Value) {
    site.post("/api/license/trial", Some(json!({"trialCode": code})))
        .await
}

async fn a_trial_starts_at_once_and_becomes_a_paid_license_with_the_same_key(engine: Engine) {
    let vendor = Vendor::start().await;
    let site = site(engine, &vendor).await;
    let code = code(&vendor, &site, 5).await;
    assert!(!site.is_available("module.map_view").await);
    let (status, answer) = start(&site, &format!("Your code: {}", code.to_lowercase())).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let key = answer["license"]["licenseKey"].as_str().unwrap().to_owned();
    assert!(key.starts_with("FXSGHT-"), "{key}");
    assert!(site.is_available("module.map_view").await);
    assert_eq!(site.status().await["licenseKey"], key.as_str());
    assert_eq!(site.validate().await["valid"], true);
    let log = site.get("/api/license/attempts").await.1.to_string();
    assert!(!log.contains(&code), "{log}");
    // Not while a license is active.
    let (status, answer) = start(&site, &code).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    // Deactivated, its key takes the seat again, and the trial is not given again.
    site.post("/api/license/deactivate", None).await;
    let (status, answer) = start(&site, &code).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("given back or freed"), "{detail}");
    site.activate(&key).await;
    let body = json!({"plan": "professional"});
    by_staff(&vendor, &site, &format!("/licenses/{key}/amendments"), body).await;
    assert_eq!(site.validate().await["valid"], true);
    let status = site.status().await;
    assert_eq!(
        (&status["tier"], &status["expiresAt"]),
        (&json!("professional"), &Value::Null)
    );
    site.end().await;
}

async fn a_site_without_internet_starts_a_trial_by_file(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let site = site(engine, &vendor).await;
    let code = code(&vendor, &site, 1).await;
    vendor.go_away().await;
    let ask = async |code: &str| {
        let body = json!({"purpose": "trial", "trialCode": code});
        site.post("/api/license/offline/request", Some(body)).await
    };
    let (status, _) = ask("hello").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, answer) = ask(&code).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["fileName"], "foxsight-trial-request.txt");
    let request = read(answer["file"].as_str().unwrap()).unwrap();
    let days = TimeDelta::days(90);
    let signed = sign(&vendor.app, request, days, Actor::CommandLine).await;
    let body = json!({"file": signed.unwrap().file});
    let (status, answer) = site.post("/api/license/offline/import", Some(body)).await;
    assert_eq!(
        (status, &answer["result"]),
        (StatusCode::OK, &json!("licensed")),
        "{answer}"
    );
    assert!(site.is_available("module.map_view").await);
    let key = site.status().await["licenseKey"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(key.starts_with("FXSGHT-"), "{key}");
    let log = site.get("/api/license/attempts").await.1.to_string();
    assert!(log.contains(&key) && !log.contains(&code), "{log}");
    let (status, _) = ask(&code).await;
    assert_eq!(status, StatusCode::CONFLICT, "a license is active");
    // To the second.
    site.advance(TimeDelta::days(30));
    assert!(!site.is_available("module.map_view").await);
    assert!(site.is_available("module.live_view").await);
    site.end().await;
}

async fn a_code_that_is_refused_says_what_to_do(engine: Engine) {
    let vendor = Vendor::start().await;
    let site = site(engine, &vendor).await;
    let used = code(&vendor, &site, 1).await;
    // An installation would get its own trial again.
    let other = json!({
        "code": used, "hardwareId": "other-machine", "installationId": "other-installation",
        "installationName": "Other", "installationVersion": "1.0.0",
    });
    let url = format!("{}/licenses/trial", vendor.url);
    let started = site.http.post(url).json(&other).send().await.unwrap();
    assert_eq!(started.status(), StatusCode::OK);
    let unknown = IssuedCode::from_random(CodeKind::Trial, &[3; 15]).unwrap();
    let add_on = IssuedCode::from_random(CodeKind::AddOn, &[3; 15]).unwrap();
    let license = vendor.issue_professional().await;
    for (text, part) in [
        (used.as_str(), "ask your vendor for another one"),
        (unknown.as_str(), "Unknown trial code"),
        (add_on.as_str(), "This is an add-on key"),
        (license.as_str(), "This is a license key"),
        ("hello", "should look like FXSTRY"),
    ] {
        let (status, answer) = start(&site, text).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{text}: {detail}");
    }
    let (status, answer) = site.post("/api/license/trial", Some(json!({}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains("Trials are started with a trial code"),
        "{detail}"
    );
    let (_, answer) = site.activate(&used).await;
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("start-trial"), "{detail}");
    assert_eq!(site.standing().await, "unlicensed");
    site.end().await;
}

async fn a_trial_without_signatures_has_the_key_in_the_answer(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    let code = IssuedCode::from_random(CodeKind::Trial, &[3; 15]).unwrap();
    cloud.next(Scripted::new(404, r#"{"detail":"Not Found"}"#));
    let (status, answer) = start(&site, code.as_str()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let detail = answer["detail"].as_str().unwrap();
    assert!(detail.contains("does not support trial codes"), "{detail}");
    let started = json!({"success": true, "data": {"license": usual_license(KEY)}});
    cloud.next(Scripted::new(200, started.to_string()));
    let (status, answer) = start(&site, code.as_str()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(site.status().await["licenseKey"], KEY);
    let sent: Value = serde_json::from_str(&cloud.arrived().last().unwrap().body).unwrap();
    assert_eq!(sent["code"], code.as_str());
    // Every start sends the secret that the site keeps.
    let kept = std::fs::read_to_string(site.state_file("trial.key")).unwrap();
    for arrived in cloud.arrived() {
        let sent: Value = serde_json::from_str(&arrived.body).unwrap();
        assert_eq!(sent["secret"], kept);
    }
    site.end().await;
}

async fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command.args(arguments).args(["--url", &site.url]);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_is_started_by_command_and_at_the_console() {
    let vendor = Vendor::start().await;
    let site = site(Engine::Sqlite, &vendor).await;
    let code = code(&vendor, &site, 5).await;
    let page = site.http.get(format!("{}/console/trial", site.url)).send();
    let page = page.await.unwrap().text().await.unwrap();
    assert!(page.contains("Trial code"), "{page}");
    let none = run(&site, &["start-trial", "--without-code"]).await;
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    let started = run(&site, &["start-trial", &code]).await;
    assert_eq!(started.status.code(), Some(0), "{}", said(&started));
    assert!(
        said(&started).contains("Trial started"),
        "{}",
        said(&started)
    );
    assert!(said(&started).contains("FXSGHT-"), "{}", said(&started));
    site.post("/api/license/deactivate", None).await;
    let change = vendor.app.change(Actor::CommandLine);
    let forgotten = forget_trial(&vendor.app.store, INSTALLATION_ID, &change).await;
    assert_eq!(forgotten.unwrap().installation_id, INSTALLATION_ID);
    let form = format!("code={code}");
    let starting = site.http.post(format!("{}/console/trial", site.url));
    let starting = starting
        .header("origin", &site.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let started = starting.send().await.unwrap();
    let place = started.headers()["location"].to_str().unwrap();
    assert!(place.ends_with("done=trial-started"), "{place}");
    assert_eq!(site.standing().await, "active");
    site.end().await;
}
