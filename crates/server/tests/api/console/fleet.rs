//! The overview of the installations.

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use serde_json::json;

use super::sign_in;
use crate::chromium::Chromium;
use crate::database::Engine;
use crate::harness::Vendor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_is_seen_at_a_glance_and_found_by_filters() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Chromium::start().await;
    sign_in(&browser, &vendor.url).await;
    browser.shows("No installations yet").await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(4),
            ..TermChanges::default()
        },
        customer: "Harbour Ltd".to_owned(),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    for machine in ["one", "two", "three"] {
        vendor.activate(&key, machine).await;
    }
    browser.open(&vendor.url).await;
    browser.shows("All sites are OK").await;
    vendor.clock.advance(TimeDelta::days(2));
    for machine in ["one", "two"] {
        vendor.validate(&key, machine).await;
    }
    vendor.heartbeat(&key, "one", 17).await;
    sign_in(&browser, &vendor.url).await;
    browser.shows("All sites work; some need attention").await;
    let tiles = "return [...document.querySelectorAll('.tiles b')].map((it) => it.textContent)";
    assert_eq!(browser.run(tiles).await, json!(["2", "1", "0", "0"]));
    let plot = "return [document.querySelectorAll('.plot svg rect').length, document.querySelector('.plot svg').getAttribute('aria-label')]";
    let summary = "Heartbeats from all sites on each of the last 30 days";
    assert_eq!(browser.run(plot).await[1], json!(summary));
    assert!(browser.text().await.contains("1 over a limit"));
    vendor.clock.advance(TimeDelta::days(3));
    vendor.validate(&key, "one").await;
    sign_in(&browser, &vendor.url).await;
    browser.shows("Some sites need attention").await;
    browser.click(".tiles .bad a").await;
    browser.shows("Installations").await;
    let rows = "return document.querySelectorAll('tbody tr').length";
    assert_eq!(browser.run(rows).await, json!(1));
    browser.press("Clear").await;
    browser.until(rows, &json!(3)).await;
    browser.click("input[name=over_limit]").await;
    browser.press("Apply filters").await;
    browser.until(rows, &json!(1)).await;
    assert!(browser.text().await.contains("Cameras: 17 of 16"));

    // Pages of fifty, and the search that finds one of them.
    for number in 0..60 {
        let request = IssueRequest {
            customer: format!("Customer {number:02}"),
            ..IssueRequest::of(Tier::Standard)
        };
        vendor.issue(request).await;
    }
    browser
        .open(&format!("{}/console/licenses?sort=customer", vendor.url))
        .await;
    assert_eq!(browser.run(rows).await, json!(50));
    assert!(browser.text().await.contains("61 licenses, page 1 of 2"));
    browser.press("Next").await;
    browser.until(rows, &json!(11)).await;
    browser.type_into("#search", "customer 07").await;
    browser.press("Apply filters").await;
    browser.until(rows, &json!(1)).await;
    browser.press("Customer 07").await;
    browser.shows("Customer 07").await;

    // Half an hour later the session is over, also for a change in the making.
    browser.press("Revoke").await;
    browser.shows("Revoke this license permanently?").await;
    vendor.clock.advance(TimeDelta::minutes(31));
    browser.click("#yes").await;
    browser.shows("Sign in").await;
    let revoked = vendor.look("/licenses?status=revoked").await;
    assert_eq!(revoked["total"], 0);
    browser.end().await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_keeps_itself_up_to_date_and_says_when_it_cannot() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Chromium::start().await;
    sign_in(&browser, &vendor.url).await;
    browser.shows("No installations yet").await;
    // Its clock is made to run: half a minute is long for a test.
    browser
        .run("document.body.dataset.every = '0.1'; const script = document.createElement('script'); script.src = document.querySelector('script').src; document.head.append(script)")
        .await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    vendor.activate(&key, "machine").await;
    browser.shows("All sites are OK").await;

    // The session ends, and the page is marked as outdated.
    let shown = "return ['lost', 'signed-out'].filter((id) => !document.getElementById(id).hidden).join() \
         + (document.querySelector('#live.outdated') ? ' outdated' : '')";
    browser.until(shown, &json!("")).await;
    let cookies = browser.page.get_all_cookies().await.unwrap();
    browser.page.delete_all_cookies().await.unwrap();
    browser.until(shown, &json!("signed-out outdated")).await;
    let link = "return document.querySelector('#signed-out a').getAttribute('href')";
    assert_eq!(browser.run(link).await, json!("/console/sign-in"));
    assert!(browser.text().await.contains("You have been signed out"));
    browser.shows("All sites are OK").await;
    for cookie in cookies {
        browser.page.add_cookie(cookie).await.unwrap();
    }
    browser.until(shown, &json!("")).await;

    vendor.stop().await;
    browser
        .until(
            "return document.getElementById('lost').hidden",
            &json!(false),
        )
        .await;
    browser.end().await;
}
