//! A sold license changes: staff amend it in the vendor's console, and the site's console shows it.

use chrono::{Datelike as _, TimeDelta};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::chromium::Chromium;
use crate::program::Program;
use crate::vendor::{ADMIN_TOKEN, Vendor};

/// Sets a field as a person does who chooses from a list or a calendar.
async fn choose(browser: &Chromium, id: &str, value: &str) {
    let set = format!("document.getElementById('{id}').value = '{value}'");
    browser.run(&set).await;
}

/// Waits until the page contains a text.
async fn reads(browser: &Chromium, text: &str) {
    let text = json!(text);
    let found = format!("return document.body.innerText.includes({text})");
    browser.until(&found, &json!(true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_staff_amend_is_on_the_sites_console_after_its_next_check() {
    let now = SystemClock.now();
    let vendor = Vendor::start_at(now, TimeDelta::hours(24), TimeDelta::hours(72)).await;
    let request = IssueRequest {
        customer: "Habour Ltd".to_owned(),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-api-url",
        &vendor.url,
        "--license-trusted-keys",
        &keys,
    ];
    let site = Program::start(&flags).await;
    let browser = Chromium::start().await;
    browser.open(&site.url("/console/activate")).await;
    browser.type_into("#key", &key).await;
    browser.press("Activate").await;
    browser.shows("Everything is OK").await;
    reads(&browser, "Habour Ltd").await;

    let console = vendor.url.strip_suffix("/api").unwrap();
    amend(&browser, console, now.year() + 1).await;

    browser.open(&site.url("/")).await;
    browser.shows("Everything is OK").await;
    browser.press("Check now").await;
    reads(&browser, "Harbour Ltd").await;
    let year = now.year() + 1;
    let row = "return [...document.querySelectorAll('tbody tr')] \
        .find((row) => row.textContent.includes('module.analytics_advanced')).textContent";
    let row = browser.run(row).await;
    let row = row.as_str().unwrap();
    let dates = format!("Starts on 1 May {year}, 00:00 UTC, ends on 29 July {year}, 23:59 UTC");
    assert!(row.contains(&dates), "{row}");
    let text = browser.text().await;
    let next = format!("The limit for cameras changes from 16 to 48 on 1 May {year}");
    assert!(text.contains(&next), "{text}");
    assert!(text.contains(" of 16"), "not before May: {text}");
    browser.end().await;
}

/// 32 more cameras from the first of May, analytics for the 90 days of the fair, and the name.
async fn amend(browser: &Chromium, console: &str, year: i32) {
    browser.open(&format!("{console}/console/sign-in")).await;
    browser.type_into("#token", ADMIN_TOKEN).await;
    browser.press("Sign in").await;
    reads(browser, "You are signed in.").await;
    browser.open(&format!("{console}/console/licenses")).await;
    browser.press("Habour Ltd").await;
    browser.shows("Habour Ltd").await;
    browser.press("Amend").await;
    browser.shows("Amend the license").await;
    choose(browser, "add-key-0", "cameras").await;
    browser.type_into("#add-quantity-0", "32").await;
    choose(browser, "add-from-0", &format!("{year}-05-01")).await;
    choose(browser, "add-key-1", "module.analytics_advanced").await;
    choose(browser, "add-from-1", &format!("{year}-05-01")).await;
    choose(browser, "add-until-1", &format!("{year}-07-29")).await;
    browser.press("Preview").await;
    browser.shows("Amend this license?").await;
    browser.click("#yes").await;
    reads(browser, "License amended.").await;
    browser.press("Customer").await;
    browser.shows("Habour Ltd").await;
    browser.press("Edit").await;
    browser.shows("Edit Habour Ltd").await;
    browser.type_into("#name", "Harbour Ltd").await;
    browser.press("Review").await;
    browser.shows("Save these changes?").await;
    browser.click("#yes").await;
    reads(browser, "Customer changed.").await;
}
