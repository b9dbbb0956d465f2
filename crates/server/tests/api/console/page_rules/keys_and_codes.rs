//! The pages of add-on keys and trial codes.

use serde_json::{Value, json};

use crate::add_ons::{active, cameras, issued, redeem};
use crate::chromium::Chromium;
use crate::console::{HOSTILE, Program, sign_in};
use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::trials;

/// An add-on key and a trial code with texts of an attacker.
pub(super) async fn hostile(server: &Program) {
    let post = async |path: &str, body: Value| {
        let url = format!("{}/api/admin/{path}", server.process.url);
        let request = server.http.post(url).bearer_auth(ADMIN_TOKEN);
        let answer = request.json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    };
    let add = json!([{"key": "cameras", "quantity": 4}]);
    let body = json!({"add": add, "order": HOSTILE, "note": HOSTILE});
    post("addons", body).await;
    let contents = json!({
        "title": HOSTILE, "trial": true, "duration": "P30D", "terms": {"seats": 1, "moves": 0},
        "entitlements": [{"key": "cameras", "quantity": 4}],
    });
    post("plans", json!({"name": "trial", "contents": contents})).await;
    let contents = json!({
        "title": HOSTILE, "addOn": true, "entitlements": [{"key": "cameras", "quantity": 4}],
    });
    post("plans", json!({"name": "more", "contents": contents})).await;
    let body = json!({"plan": "trial", "max": 5, "note": HOSTILE});
    post("trial-codes", body).await;
}

pub(super) fn hostile_pages(encoded: &str) -> Vec<String> {
    vec![
        "/console/plans".to_owned(),
        "/console/plans/trial".to_owned(),
        "/console/licenses/new?plan=trial".to_owned(),
        format!("/console/plans/trial/edit?x={encoded}"),
        format!("/console/plans/{encoded}/edit"),
        "/console/add-ons".to_owned(),
        "/console/add-ons/new".to_owned(),
        "/console/add-ons/1/refund".to_owned(),
        "/console/trial-codes".to_owned(),
        "/console/trial-codes/new".to_owned(),
        format!("/console/add-ons?state={encoded}"),
        format!("/console/add-ons?before={encoded}"),
        format!("/console/add-ons/new?plan={encoded}"),
        format!("/console/add-ons/{encoded}/refund"),
        format!("/console/trial-codes?after={encoded}"),
        format!("/console/trial-codes/{encoded}/withdraw"),
    ]
}

/// Chooses the end `never`, and presses "Review".
async fn review(browser: &Chromium, title: &str) {
    browser.click("input[name=end][value=never]").await;
    browser.press("Review").await;
    browser.shows(title).await;
    browser.examine_shown(title).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_keys_and_codes_are_accessible_and_fit_every_width() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Chromium::start().await;
    sign_in(&browser, &vendor.url).await;
    let key = active(&vendor).await;
    vendor.heartbeat(&key, "machine", 20).await;
    redeem(&vendor, &key, &cameras(&vendor, 16).await, "machine").await;
    let add = json!([
        {"key": "cameras", "quantity": 4, "from": "2027-05-01", "until": "2027-07-29"},
        {"key": "module.alarm_advanced", "for": "P90D"},
    ]);
    let note = "A note that is longer than a phone is wide, and says what was agreed";
    issued(
        &vendor,
        json!({"add": add, "note": note, "redeemBy": "2027-12-31"}),
    )
    .await;
    trials::code(&vendor, json!({"max": 200, "maxADay": 20, "note": note})).await;
    let code = vendor.look("/trial-codes").await["trialCodes"][0]["id"].take();
    for path in [
        "add-ons",
        "add-ons?state=redeemed&done=add-on-refunded",
        "add-ons?state=gone",
        "add-ons/1/refund",
        "add-ons/2/refund",
        "trial-codes",
        &format!("trial-codes/{}/withdraw", code.as_str().unwrap()),
        "trial-codes/new",
    ] {
        browser
            .examine(&format!("{}/console/{path}", vendor.url))
            .await;
    }
    // The last page is the form.
    browser
        .run("document.getElementById('plan').value = 'trial@1'")
        .await;
    browser.type_into("#max", "5").await;
    review(&browser, "Create this trial code?").await;
    browser.press("Go back").await;
    browser.shows("Create a trial code").await;
    review(&browser, "Create this trial code?").await;
    browser.click("#yes").await;
    browser.shows("Trial code created").await;
    browser.examine_shown("the new trial code").await;
    browser
        .examine(&format!("{}/console/add-ons/new", vendor.url))
        .await;
    browser
        .run("document.getElementById('add-key-1').value = 'cameras'")
        .await;
    browser.type_into("#add-quantity-1", "8").await;
    review(&browser, "Issue this add-on key?").await;
    browser.press("Go back").await;
    browser.shows("Issue an add-on key").await;
    review(&browser, "Issue this add-on key?").await;
    browser.click("#yes").await;
    browser.shows("Add-on key issued").await;
    browser.examine_shown("the new add-on key").await;
    browser.end().await;
    vendor.end().await;
}
