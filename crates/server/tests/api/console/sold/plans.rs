//! A plan is edited and sold, in a real browser.

use serde_json::json;

use crate::chromium::Chromium;
use crate::console::{Program, notice, sign_in};

/// What the issue form says about the license.
const SUMMARY: &str = "return document.getElementById('summary').innerText";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_edited_and_the_form_for_a_license_sums_it_up() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    sign_in(&browser, &url).await;
    edit_the_plan(&browser, &url).await;
    let licensed = "1 feature, 24 cameras, 2000 GB storage, 5 users";
    let summary = |words: &str| json!(words.replace("{}", licensed));

    browser.press("Issue a license").await;
    browser.shows("Issue a license").await;
    let first = summary("Standard (no end chosen): {}, 1 seat");
    browser.until(SUMMARY, &first).await;
    browser
        .type_into("#customer", "<b>Harbour</b> & Sons")
        .await;
    browser.click("input[name=end][value=never]").await;
    let endless = summary("Standard for <b>Harbour</b> & Sons without an end: {}, 1 seat");
    browser.until(SUMMARY, &endless).await;
    browser.type_into("#seats", "2").await;
    browser.click("input[name=end][value=day]").await;
    let set = "const day = document.getElementById('day'); day.value = '2099-04-30'; \
               day.dispatchEvent(new Event('input', { bubbles: true }))";
    browser.run(set).await;
    browser
        .click("input[name=feature][value='module.map_view']")
        .await;
    browser
        .type_into("input[name='quantity.cameras']", "1")
        .await;
    browser
        .type_into("input[name='quantity.users']", "unlimited")
        .await;
    let last = "Standard for <b>Harbour</b> & Sons until 30 April 2099: core features only, \
                1 camera, 2000 GB storage, unlimited users, 2 seats";
    browser.until(SUMMARY, &json!(last)).await;
    // Going back from the review brings it back.
    browser.press("Review").await;
    browser.shows("Issue this license?").await;
    browser.press("Go back").await;
    browser.shows("Issue a license").await;
    browser.until(SUMMARY, &json!(last)).await;
    browser.end().await;
}

async fn edit_the_plan(browser: &Chromium, url: &str) {
    browser.open(&format!("{url}/console/plans/standard")).await;
    browser.press("Edit").await;
    browser.shows("Edit standard").await;
    browser.press("Review").await;
    browser.shows("Nothing to publish").await;
    browser.press("Go back").await;
    browser.shows("Edit standard").await;
    let edit = |from: &str, to: &str| {
        format!(
            "const text = document.getElementById('text'); text.value = text.value.replace('{from}', '{to}')"
        )
    };
    browser.run(&edit("quantity = 16", "quantity = many")).await;
    browser.press("Review").await;
    let error = browser.trouble().await;
    assert!(error.starts_with("Line "), "{error}");
    browser.run(&edit("quantity = many", "quantity = 24")).await;
    browser.press("Review").await;
    browser.shows("Publish these changes?").await;
    let text = browser.text().await;
    assert!(text.contains("standard@2 (was standard@1)"), "{text}");
    browser.examine_shown("the review of a plan").await;
    browser.click("#yes").await;
    let published = "Published. Existing licenses keep their plan versions.";
    notice(browser, published).await;
    browser.shows("Standard").await;
    assert!(browser.text().await.contains("standard@2"));
}
