//! A sold license changes: what a customer asks for on the telephone, in a real browser.

mod plans;

use chrono::Datelike as _;
use license_service::clock::{Clock as _, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Program, activation, notice, sign_in};
use crate::chromium::Chromium;
use crate::harness::ADMIN_TOKEN;

impl Program {
    /// What the vendor's programs are answered.
    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let address = format!("{}/api/admin{path}", self.process.url);
        let request = self.http.request(method, address).bearer_auth(ADMIN_TOKEN);
        let request = match body {
            Value::Null => request,
            body => request.json(&body),
        };
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The license as a site gets it that knows entitlements.
    async fn license_of_site(&self, key: &str) -> Value {
        let address = format!("{}/api/licenses/validate", self.process.url);
        let request = self
            .http
            .post(address)
            .header("x-license-entitlements", "1");
        let body = json!({"licenseKey": key, "hardwareId": "machine"});
        let answer = request.json(&body).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        answer["data"]["license"].take()
    }
}

/// Sets a field as a person does who chooses from a list or a calendar.
async fn choose(browser: &Chromium, id: &str, value: &str) {
    let set = format!("document.getElementById('{id}').value = '{value}'");
    browser.run(&set).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cameras_from_may_on_analytics_for_the_fair_and_a_name_spelled_right() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    let body = json!({"plan": "standard", "customer": "Habour Ltd"});
    let issued = server.admin(Method::POST, "/licenses", body).await;
    let key = issued["licenseKey"].as_str().unwrap();
    let activated = server
        .site_asks("activate", activation(key, "Gate 4"))
        .await;
    assert_eq!(activated["success"], true, "{activated}");
    let year = SystemClock.now().year() + 1;

    sign_in(&browser, &url).await;
    browser
        .open(&format!("{url}/console/licenses?search=habour"))
        .await;
    browser.press("Habour Ltd").await;
    browser.shows("Habour Ltd").await;
    browser.press("Amend").await;
    browser.shows("Amend the license").await;
    choose(&browser, "add-key-0", "cameras").await;
    browser.type_into("#add-quantity-0", "32").await;
    choose(&browser, "add-from-0", &format!("{year}-05-01")).await;
    choose(&browser, "add-key-1", "module.analytics_advanced").await;
    choose(&browser, "add-from-1", &format!("{year}-05-01")).await;
    choose(&browser, "add-until-1", &format!("{year}-07-29")).await;
    browser.type_into("#order", "4711").await;
    browser.press("Preview").await;
    browser.shows("Amend this license?").await;
    let text = browser.text().await;
    for expected in [
        "Cameras: 48 instead of 16",
        "Advanced analytics: on",
        "Gate 4",
        &format!("From 1 May {year}"),
        &format!("From 30 July {year}"),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    browser.examine_shown("the preview").await;
    let before = server.license_of_site(key).await;
    assert_eq!(before["maxCameras"], 16, "only a preview: {before}");
    browser.click("#yes").await;
    notice(
        &browser,
        "License amended. Sites receive the change at their next validation.",
    )
    .await;
    let text = browser.text().await;
    let sentence = format!(
        "32 cameras added from 1 May {year}, Advanced analytics added from 1 May {year} until 29 \
         July {year}, order 4711, by break-glass"
    );
    assert!(text.contains(&sentence), "{text}");
    browser.examine_shown("the license").await;

    spell_the_name_right(&browser).await;

    let license = server.license_of_site(key).await;
    assert_eq!(license["customer"], "Harbour Ltd");
    assert_eq!(license["maxCameras"], 16, "not before May");
    let entitlements = license["entitlements"].as_array().unwrap();
    let (from, until) = (
        format!("{year}-05-01T00:00:00Z"),
        format!("{year}-07-29T23:59:59Z"),
    );
    for expected in [
        json!({"key": "cameras", "quantity": 32, "from": from}),
        json!({"key": "module.analytics_advanced", "from": from, "until": until}),
    ] {
        assert!(entitlements.contains(&expected), "{expected}: {license}");
    }
    undo(&server, &browser, &url, key).await;
    browser.end().await;
}

async fn spell_the_name_right(browser: &Chromium) {
    browser.press("Customer").await;
    browser.shows("Habour Ltd").await;
    browser.press("Edit").await;
    browser.shows("Edit Habour Ltd").await;
    browser.type_into("#name", "Harbour Ltd").await;
    browser.press("Review").await;
    browser.shows("Save these changes?").await;
    browser.examine_shown("the review of a customer").await;
    browser.click("#yes").await;
    browser.shows("Harbour Ltd").await;
    assert!(browser.text().await.contains("Customer changed."));
}

/// The fair is cancelled.
async fn undo(server: &Program, browser: &Chromium, url: &str, key: &str) {
    browser
        .open(&format!("{url}/console/licenses?search=harbour"))
        .await;
    browser.press("Harbour Ltd").await;
    browser.shows("Harbour Ltd").await;
    browser.press("Undo").await;
    browser.shows("Undo amendment 2").await;
    browser.type_into("#reason", "The fair is cancelled").await;
    browser.press("Preview").await;
    browser.shows("Undo this amendment?").await;
    browser.click("#yes").await;
    browser.shows("Harbour Ltd").await;
    assert!(
        browser
            .text()
            .await
            .contains("amendment 2 undone, by break-glass")
    );
    let license = server.license_of_site(key).await;
    let entitlements = license["entitlements"].to_string();
    assert!(!entitlements.contains("from"), "{license}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_issued_from_a_plan_with_a_customer_that_is_completed() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    for number in 0..150 {
        let body =
            json!({"name": format!("Museum {number:03}"), "reference": format!("M-{number}")});
        server.admin(Method::POST, "/customers", body).await;
    }
    sign_in(&browser, &url).await;
    browser.open(&format!("{url}/console/plans")).await;
    browser.shows("Plans").await;
    browser.press("Professional").await;
    browser.shows("Professional").await;
    browser.press("Issue a license").await;
    browser.shows("Issue a license").await;
    // The last one is not among those that come with the page.
    let offered =
        "return [...document.getElementById('customer').list.options].map((it) => it.value)";
    let first = browser.run(offered).await;
    assert!(!first.to_string().contains("Museum 149"), "{first}");
    browser.type_into("#customer", "museum 14").await;
    let expected: Vec<String> = (140..150).map(|it| format!("Museum {it}")).collect();
    browser.until(offered, &json!(expected)).await;
    browser.type_into("#customer", "Museum 149").await;
    // The browser itself asks for the end before anything is sent.
    browser.press("Review").await;
    let missing = "return document.querySelector('input[name=end]').validity.valueMissing";
    assert_eq!(browser.run(missing).await, json!(true));
    browser.shows("Issue a license").await;
    browser.click("input[name=end][value=year]").await;
    browser.press("Review").await;
    browser.shows("Issue this license?").await;
    let text = browser.text().await;
    assert!(
        text.contains("Museum 149") && !text.contains("New customer"),
        "{text}"
    );
    browser.examine_shown("the review of a license").await;
    browser.click("#no").await;
    browser.shows("Issue a license").await;
    let checked = "return document.querySelector('input[name=end]:checked').value";
    assert_eq!(browser.run(checked).await, json!("year"));
    browser.press("Review").await;
    browser.shows("Issue this license?").await;
    browser.click("#yes").await;
    browser.shows("Museum 149").await;
    assert!(browser.text().await.contains("License issued."));
    browser.end().await;
}
