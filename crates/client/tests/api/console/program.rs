//! The real program, from activation to deactivation.

use chrono::TimeDelta;
use license_server::audit::Actor;
use license_server::licensing::offline::{read, sign};
use license_service::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::chromium::Chromium;
use crate::program::Program;
use crate::vendor::Vendor;

/// The request file that the page shows.
pub(super) async fn request(browser: &Chromium) -> String {
    let there = "return !!document.getElementById('request')";
    browser.until(there, &json!(true)).await;
    let text = browser
        .run("return document.getElementById('request').value")
        .await;
    text.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_program_is_activated_switched_renewed_by_file_and_given_up() {
    let now = SystemClock.now();
    let vendor = Vendor::start_at(now, TimeDelta::hours(24), TimeDelta::hours(72)).await;
    let key = vendor.issue_professional().await;
    let keys = vendor.trusted_keys();
    let flags = [
        "--license-api-url",
        &vendor.url,
        "--license-trusted-keys",
        &keys,
    ];
    let program = Program::start(&flags).await;
    let browser = Chromium::start().await;
    browser.open(&program.url("/console/activate")).await;
    browser.type_into("#key", &key).await;
    browser.press("Activate").await;
    browser.shows("Everything is OK").await;
    browser.click("#switch-8").await;
    browser
        .until(
            "return document.querySelectorAll('.features .chip.wait').length",
            &json!(1),
        )
        .await;

    diagnostics_tell_what_is_sent(&browser, &program, &vendor, &key).await;

    // Renewed by file: then it is good for as long as the vendor allows.
    let import = async |request: &str| {
        let days = TimeDelta::days(90);
        let signed = sign(
            &vendor.app,
            read(request).unwrap(),
            days,
            Actor::CommandLine,
        )
        .await;
        let file = program.file("license.txt");
        std::fs::write(&file, signed.unwrap().file).unwrap();
        browser.open(&program.url("/console/offline")).await;
        browser.choose("#file", &file).await;
        browser.press("Import").await;
    };
    browser.open(&program.url("/console/offline")).await;
    browser.press("Create renewal request").await;
    import(&request(&browser).await).await;
    browser.shows("Everything is OK").await;
    assert!(browser.text().await.contains("valid without contact with"));

    // Given up by file, after a question.
    browser.open(&program.url("/console/offline")).await;
    browser.press("Deactivate").await;
    browser.shows("Deactivate the license?").await;
    browser.press("Deactivate offline").await;
    let receipt = request(&browser).await;
    browser.open(&program.url("/")).await;
    browser.shows("No license").await;
    import(&receipt).await;
    browser.shows("No license").await;
    assert!(
        browser
            .text()
            .await
            .contains("The vendor has confirmed that the seat is free.")
    );
    browser.end().await;
}

/// What is found, what will be sent, and what support is given.
async fn diagnostics_tell_what_is_sent(
    browser: &Chromium,
    program: &Program,
    vendor: &Vendor,
    key: &str,
) {
    browser.open(&program.url("/console/diagnostics")).await;
    browser.shows("Diagnostics").await;
    let findings = "return document.querySelectorAll('.findings li').length > 5";
    assert_eq!(browser.run(findings).await, json!(false));
    browser.click("#check").await;
    browser.until(findings, &json!(true)).await;
    let sent = browser
        .run(
            "const sent = document.querySelector('pre').textContent; \
             return JSON.parse(sent.slice(sent.indexOf('{')))",
        )
        .await;
    assert_eq!(
        (&sent["licenseKey"], &sent["usageMetrics"]["camerasInUse"]),
        (&json!(key), &json!(0))
    );
    let file = "const answer = await fetch('/console/support-file', {method: 'POST'}); return await answer.json()";
    let file = browser.run(file).await;
    let address = &file["settings"]["LICENSE_API_URL"];
    let shown = vendor.url.strip_suffix("/api").unwrap();
    assert_eq!(*address, json!({"value": shown, "source": "flag"}));
    assert!(
        !file.to_string().contains(key),
        "support needs no license key"
    );
}
