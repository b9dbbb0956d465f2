//! What people change and see.

use chrono::TimeDelta;
use fantoccini::Locator;
use license_server::audit::Actor;
use license_server::licensing::offline::{read, sign};
use license_server::store::licenses::Status;
use serde_json::json;

use super::program::request;
use super::{MAP, MAP_VIEW, Scene};
use crate::hardware::move_to_another_machine;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_activated_however_it_is_pasted_and_a_refused_one_says_why() {
    let scene = Scene::unlicensed(&[]).await;
    scene.open("/").await;
    scene.shows("No license").await;
    scene.press("Activate a license").await;
    scene.shows("Activate a license").await;
    scene.type_into("#key", "FXSGHT-2222-2222-2222-2222").await;
    scene.press("Activate").await;
    let said = scene.browser.trouble().await;
    assert!(said.contains("license"), "{said}");

    let key = scene.vendor.issue_professional().await;
    let pasted = format!("  Your key: {} ", key.to_lowercase().replace('-', " "));
    scene.type_into("#key", &pasted).await;
    scene.press("Activate").await;
    scene.shows("Everything is OK").await;
    let text = scene.text().await;
    assert!(text.contains("License activated."), "{text}");
    assert!(
        text.contains(&key) && text.contains("professional"),
        "{text}"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grace_counts_down_and_flips_to_lapsed_while_the_page_is_open() {
    let (mut scene, _) = Scene::licensed().await;
    scene.open("/").await;
    scene.shows("Everything is OK").await;

    // Contact with the License Server is lost, and the page updates itself.
    scene.vendor.go_away().await;
    scene.site.validate().await;
    scene
        .shows("The License Server cannot confirm the license")
        .await;
    let left = "return document.querySelector('[data-seconds]').textContent";
    // It begins with three whole days, and counts down from the first second on.
    let counts = format!("return (() => {{ {left} }})().startsWith('2 d 23 h 59 min')");
    scene.browser.until(&counts, &json!(true)).await;
    let first = scene.browser.run(left).await;
    let moved = format!("return document.querySelector('[data-seconds]').textContent !== {first}");
    scene.browser.until(&moved, &json!(true)).await;
    scene.browser.until(MAP, &json!("On")).await;

    // It comes back, and goes again, until grace has ended.
    scene.vendor.come_back().await;
    scene.press("Check now").await;
    scene.shows("Everything is OK").await;
    scene.vendor.go_away().await;
    scene.site.validate().await;
    scene
        .shows("The License Server cannot confirm the license")
        .await;
    scene.site.advance(TimeDelta::hours(73));
    scene.shows("The grace period has ended").await;
    scene.browser.until(MAP, &json!("Off")).await;
    assert!(
        scene
            .text()
            .await
            .contains("Recording, live view and playback continue")
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_shown_in_the_vendors_words() {
    let (scene, key) = Scene::licensed().await;
    scene.open("/").await;
    scene.shows("Everything is OK").await;
    let words = "The invoice was not paid <b>yet</b>";
    scene
        .vendor
        .set_status(&key, Status::Suspended, Some(words))
        .await;
    scene.press("Check now").await;
    scene.shows("The vendor has withdrawn the license").await;
    assert!(scene.text().await.contains(words));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_is_seen_in_every_tab_and_the_license_can_be_given_up() {
    let (scene, _) = Scene::licensed().await;
    scene.open("/").await;
    scene.browser.until(MAP, &json!("On")).await;
    let first = scene.browser.page.window().await.unwrap();
    let second = scene.browser.page.new_window(true).await.unwrap().handle;
    scene
        .browser
        .page
        .switch_to_window(second.clone())
        .await
        .unwrap();
    scene.open("/").await;
    let button = format!("//form[input[@value='{MAP_VIEW}']]//button");
    let button = scene
        .browser
        .page
        .find(Locator::XPath(&button))
        .await
        .unwrap();
    button.click().await.unwrap();
    scene.browser.until(MAP, &json!("Off")).await;
    scene.browser.page.switch_to_window(first).await.unwrap();
    scene.browser.until(MAP, &json!("Off")).await;
    assert!(!scene.site.is_available(MAP_VIEW).await);

    scene.press("Deactivate").await;
    scene.shows("Deactivate the license?").await;
    scene.press("Deactivate").await;
    scene.shows("No license").await;
    assert!(scene.text().await.contains("The seat is free"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_is_shown_with_what_has_changed() {
    let (mut scene, _) = Scene::licensed().await;
    scene.open("/").await;
    let machine = "return [...document.querySelectorAll('dt')].find((it) => it.textContent === 'Hardware').nextElementSibling.innerText";
    let known = scene.browser.run(machine).await;
    if !move_to_another_machine(&scene.site).await {
        println!("this machine has fewer than two components that can be read");
        assert_eq!(known, json!("Not enough information"));
        return scene.end().await;
    }
    assert_eq!(known, json!("Recognized"));
    scene.site.restart().await;
    scene.open("/").await;
    let other = scene.browser.run(machine).await;
    let other = other.as_str().unwrap();
    assert!(other.starts_with("Hardware has changed\n"), "{other}");
    assert!(
        other
            .lines()
            .filter(|line| line.ends_with(": changed"))
            .count()
            >= 2,
        "{other}"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_internet_is_licensed_in_three_steps() {
    let scene = Scene::unlicensed(&[]).await;
    let key = scene.vendor.issue_professional().await;
    scene.open("/console/offline").await;
    scene.type_into("#key", &key).await;
    scene.press("Create activation request").await;
    let text = request(&scene.browser).await;
    let qr = "return document.querySelectorAll('.qr svg').length";
    assert_eq!(scene.browser.run(qr).await, json!(1));
    let signed = sign(
        &scene.vendor.app,
        read(&text).unwrap(),
        TimeDelta::days(90),
        Actor::CommandLine,
    )
    .await;
    let signed = signed.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("license.txt");
    let import = async |content: &str| {
        std::fs::write(&file, content).unwrap();
        scene.browser.choose("#file", &file).await;
        scene.press("Import").await;
    };
    // A truncated file is reported as such, and nothing is lost.
    import(&signed.file[..signed.file.len() / 2]).await;
    scene.browser.trouble().await;
    import(&signed.file).await;
    scene.shows("Everything is OK").await;
    assert!(scene.text().await.contains("valid without contact with"));
    scene.end().await;
}
