//! Trials that sites start with a code.

mod by_address;
mod by_command;
mod codes;
mod races;
mod secrets;
mod without_code;

use chrono::TimeDelta;
use license_core::document::{verify_denial, verify_license};
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::offline::{OfflineRequest, Purpose, from_file};
use license_core::protocol::Call;
use license_service::clock::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::amendments::amended;
use crate::database::{Engine, on_both_engines};
use crate::harness::{NONCE, Vendor, offline_request};
use crate::told::Told;

on_both_engines! {
    a_code_starts_a_trial_with_a_lease;
    an_installation_has_one_trial_whatever_it_asks;
    a_code_that_starts_no_trial_is_refused_with_its_reason;
    a_trial_is_extended_and_converted_by_staff;
    a_trial_is_started_by_file;
    whoever_guesses_codes_is_stopped_and_mistyped_ones_cost_no_query;
}

/// Publishes a plan for trials of 30 days, and adds a code for it.
pub(crate) async fn code(vendor: &Vendor, limits: Value) -> String {
    let contents = json!({
        "title": "Trial", "trial": true, "duration": "P30D", "terms": {"seats": 1, "moves": 0},
        "entitlements": [{"key": "module.map_view"}, {"key": "cameras", "quantity": 64}],
    });
    let body = json!({"name": "trial", "contents": contents});
    let (status, answer) = vendor.admin(Method::POST, "/plans", body).await;
    assert!(status.is_success(), "{answer}");
    let mut body = json!({"plan": "trial"});
    for (name, value) in limits.as_object().unwrap() {
        body[name] = value.clone();
    }
    let (status, answer) = vendor.admin(Method::POST, "/trial-codes", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["code"].as_str().unwrap().to_owned()
}

/// What an installation on a machine is answered that keeps no secret.
pub(crate) async fn ask(
    vendor: &Vendor,
    code: Option<&str>,
    installation: &str,
    machine: &str,
) -> (StatusCode, Value) {
    ask_with(vendor, None, code, installation, machine).await
}

/// The same with a secret.
pub(crate) async fn ask_with(
    vendor: &Vendor,
    secret: Option<&str>,
    code: Option<&str>,
    installation: &str,
    machine: &str,
) -> (StatusCode, Value) {
    let body = json!({
        "code": code, "secret": secret, "hardwareId": machine, "installationId": installation,
        "installationName": "Test", "installationVersion": "1.0.0",
    });
    let response = vendor
        .http
        .post(format!("{}/api/licenses/trial", vendor.url))
        .header("x-installation-id", installation)
        .header("x-license-nonce", NONCE)
        .json(&body)
        .send()
        .await
        .unwrap();
    (response.status(), response.json().await.unwrap())
}

/// The same, with the document verified.
pub(crate) async fn told(vendor: &Vendor, code: &str, installation: &str, machine: &str) -> Told {
    let (status, answer) = ask(vendor, Some(code), installation, machine).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let data = &answer["data"];
    if let Some(jws) = data["license"]["signature"].as_str() {
        let document = verify_license(jws, &vendor.keyring()).unwrap();
        return Told::License(Box::new(document), answer);
    }
    let jws = data["signature"].as_str().unwrap();
    let denial = verify_denial(jws, &vendor.keyring()).unwrap();
    let hash = license_core::license_key::fingerprint(code);
    assert_eq!(denial.claims().license_key_hash, Some(hash));
    Told::Denied(Box::new(denial))
}

/// The key of the license that a trial has.
pub(crate) fn key(told: &Told) -> String {
    let Told::License(document, _) = told else {
        panic!("{told:?}");
    };
    document.license_key().to_owned()
}

async fn a_code_starts_a_trial_with_a_lease(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    let started = told(&vendor, &code, "one", "machine").await;
    let Told::License(document, _) = &started else {
        panic!("{started:?}");
    };
    let claims = document.claims();
    assert_eq!(
        (claims.question, &*claims.installation_id),
        (Some(Call::Trial), "one")
    );
    assert_eq!(claims.nonce.as_deref(), Some(NONCE));
    assert_eq!(claims.license["plan"], "trial@1");
    assert_eq!(claims.license["expiresAt"], "2026-12-24T11:59:59Z");
    let key = key(&started);
    assert!(vendor.seat(&key, "machine").await.unwrap().is_held());
    let told = vendor.validate(&key, "machine").await;
    assert_eq!(told.word(), "yes");
    let log = vendor.audit(&format!("?license={key}")).await;
    let issued = log.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&issued["action"], &issued["actor"]),
        (&json!("issued"), &json!("site"))
    );
    assert_eq!(issued["details"]["installationId"], "one");
    let masked = issued["details"]["trialCode"].as_str().unwrap();
    assert!(masked.starts_with("FXSTRY-****"), "{masked}");
    vendor.clock.advance(TimeDelta::days(31));
    assert_eq!(vendor.validate(&key, "machine").await.word(), "expired");
    vendor.end().await;
}

async fn an_installation_has_one_trial_whatever_it_asks(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let first = code(&vendor, json!({"max": 5})).await;
    let second = code(&vendor, json!({"max": 5})).await;
    let license = key(&told(&vendor, &first, "one", "machine").await);
    for code in [&first, &first.to_lowercase()] {
        let again = told(&vendor, code, "one", "machine").await;
        assert_eq!(key(&again), license);
    }
    let other = told(&vendor, &second, "one", "machine").await;
    assert_eq!(other.word(), "trial_elsewhere");
    let moved = told(&vendor, &first, "one", "another machine").await;
    assert_eq!(moved.word(), "trial_elsewhere");
    // Reinstalled, it is another installation.
    let other = key(&told(&vendor, &first, "two", "machine").await);
    assert_ne!(other, license);
    let shown = vendor.look(&format!("/trial-codes/{first}")).await;
    assert_eq!(shown["started"], 2);
    assert_eq!(
        vendor.look(&format!("/trial-codes/{second}")).await["started"],
        0
    );
    assert_eq!(vendor.look("/licenses").await["total"], 2);
    // When it has ended, there is no second one.
    vendor.clock.advance(TimeDelta::days(31));
    assert_eq!(
        told(&vendor, &first, "one", "machine").await.word(),
        "expired"
    );
    vendor.end().await;
}

async fn a_code_that_starts_no_trial_is_refused_with_its_reason(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let one = code(&vendor, json!({"max": 1})).await;
    let daily = code(&vendor, json!({"max": 9, "maxADay": 1})).await;
    let ending = code(&vendor, json!({"max": 9, "endsAt": "2026-11-25"})).await;
    let withdrawn = code(&vendor, json!({"max": 9})).await;
    let running = key(&told(&vendor, &withdrawn, "before", "machine").await);
    let path = format!("/trial-codes/{withdrawn}");
    let (status, answer) = vendor.admin(Method::DELETE, &path, Value::Null).await;
    assert_eq!((status, &answer["usable"]), (StatusCode::OK, &json!(false)));
    told(&vendor, &one, "a", "machine").await;
    told(&vendor, &daily, "b", "machine").await;
    let unknown = IssuedCode::from_random(CodeKind::Trial, &[3; 15]).unwrap();
    for (code, word) in [
        (one.as_str(), "trial_code_used_up"),
        (&daily, "trials_of_the_day"),
        (&withdrawn, "trial_code_used_up"),
        (unknown.as_str(), "unknown_trial_code"),
    ] {
        let refused = told(&vendor, code, "c", "machine").await;
        assert_eq!(
            (refused.word(), refused.question()),
            (word, Some(Call::Trial))
        );
    }
    vendor.clock.advance(TimeDelta::days(2));
    let refused = told(&vendor, &ending, "c", "machine").await;
    assert_eq!(refused.word(), "trial_code_used_up");
    assert!(
        refused.message().contains("ended on 2026-11-25"),
        "{}",
        refused.message()
    );
    assert!(matches!(
        told(&vendor, &daily, "c", "machine").await,
        Told::License(..)
    ));
    // What runs goes on, and a code is no license key.
    assert_eq!(vendor.validate(&running, "machine").await.word(), "yes");
    let told = vendor.activate(&one, "machine").await;
    assert_eq!(told.word(), "trial_code");
    assert!(told.message().contains("start-trial"), "{}", told.message());
    vendor.end().await;
}

async fn a_trial_is_extended_and_converted_by_staff(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    let license = key(&told(&vendor, &code, "one", "machine").await);
    let path = format!("/licenses/{license}/renew");
    let body = json!({"expiresAt": "2027-01-31"});
    vendor.admin(Method::POST, &path, body).await;
    vendor.clock.advance(TimeDelta::days(40));
    assert_eq!(vendor.validate(&license, "machine").await.word(), "yes");
    // The customer buys: the same key, and no visit.
    let body = json!({"plan": "professional", "customer": "Harbour Ltd", "order": "4713"});
    amended(&vendor, &license, body).await;
    vendor.clock.advance(TimeDelta::days(400));
    let told = vendor.validate(&license, "machine").await;
    let Told::License(document, _) = &told else {
        panic!("{told:?}");
    };
    let license = &document.claims().license;
    assert_eq!(
        (
            &license["plan"],
            &license["expiresAt"],
            &license["maxCameras"]
        ),
        (&json!("professional@1"), &Value::Null, &json!(64))
    );
    vendor.end().await;
}

pub(crate) fn request(vendor: &Vendor, code: &str, installation: &str) -> OfflineRequest {
    OfflineRequest {
        installation_id: installation.to_owned(),
        entitlements: true,
        ..offline_request(Purpose::Trial, code, vendor.clock.now())
    }
}

async fn a_trial_is_started_by_file(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 1})).await;
    let file = request(&vendor, &code, "one").to_file();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (status, answer) = vendor.post("offline", json!({"request": file})).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["data"]["granted"], true, "{answer}");
        let (_, document) = from_file(answer["data"]["file"].as_str().unwrap()).unwrap();
        let signed = verify_license(&document, &vendor.keyring()).unwrap();
        assert!(signed.claims().offline);
        assert_eq!(signed.claims().question, Some(Call::Trial));
        assert_eq!(signed.claims().license["plan"], "trial@1");
        keys.push(signed.license_key().to_owned());
    }
    assert_eq!(keys[0], keys[1]);
    let body = json!({"request": request(&vendor, &code, "two").to_file()});
    let (status, answer) = vendor.admin(Method::POST, "/offline", body).await;
    assert_eq!(
        (status, &answer["reason"]),
        (StatusCode::OK, &json!("trial_code_used_up"))
    );
    let (_, document) = from_file(answer["file"].as_str().unwrap()).unwrap();
    let denial = verify_denial(&document, &vendor.keyring()).unwrap();
    let hash = license_core::license_key::fingerprint(&code);
    assert_eq!(denial.claims().license_key_hash, Some(hash));
    vendor.end().await;
}

async fn whoever_guesses_codes_is_stopped_and_mistyped_ones_cost_no_query(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let code = code(&vendor, json!({"max": 5})).await;
    let mut mistyped = code.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == '2' { '3' } else { '2' });
    vendor
        .database
        .execute("ALTER TABLE trial_codes RENAME TO away")
        .await;
    vendor
        .database
        .execute("ALTER TABLE trials RENAME TO gone")
        .await;
    let (status, answer) = ask(&vendor, Some(&mistyped), "one", "machine").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (StatusCode::OK, &json!("unknown_trial_code"))
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("typing error"), "{message}");
    let (status, _) = ask(&vendor, Some(&code), "one", "machine").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    vendor
        .database
        .execute("ALTER TABLE away RENAME TO trial_codes")
        .await;
    vendor
        .database
        .execute("ALTER TABLE gone RENAME TO trials")
        .await;
    let mut answered = 0;
    for number in 0..40 {
        let guess = IssuedCode::from_random(CodeKind::Trial, &[number; 15]).unwrap();
        let (status, answer) = ask(&vendor, Some(guess.as_str()), "one", "machine").await;
        match status {
            StatusCode::OK => {
                assert_eq!(answer["error"]["code"], "unknown_trial_code");
                answered += 1;
            }
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert_eq!(answered, 28, "two calls were counted before");
    for (body, expected) in [
        (
            json!({"hardwareId": "m", "installationName": "", "installationVersion": ""}),
            "installationId",
        ),
        (
            json!({"code": "x".repeat(300), "hardwareId": "m", "installationId": "i",
                "installationName": "", "installationVersion": ""}),
            "ode has more than 255",
        ),
    ] {
        let url = format!("{}/api/licenses/trial", vendor.url);
        let response = vendor.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer: Value = response.json().await.unwrap();
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
    vendor.end().await;
}
