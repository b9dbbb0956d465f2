//! Who may see and change what.

use chrono::TimeDelta;
use serde_json::json;

use super::{FORM, Scene};
use crate::database::{Engine, TestDatabase};
use crate::harness::Site;
use crate::vendor::ADMIN_TOKEN;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous_users_see_no_secrets_and_sign_in_for_changes_until_the_session_ends() {
    const TOKEN: &str = "a-token-of-sixteen-characters";
    let scene =
        Scene::unlicensed(&["--trusted-networks", "10.99.0.0/16", "--admin-token", TOKEN]).await;
    let key = scene.vendor.issue_professional().await;
    let activated = scene
        .site
        .http
        .post(format!("{}/api/license/activate", scene.site.url))
        .bearer_auth(TOKEN)
        .json(&json!({ "licenseKey": key }))
        .send()
        .await
        .unwrap();
    assert_eq!(activated.status(), 200);
    scene.open("/").await;
    scene.shows("Everything is OK").await;
    for path in [
        "/",
        "/console/diagnostics",
        "/console/offline",
        "/console/activate",
    ] {
        scene.open(path).await;
        let page = scene.browser.page.source().await.unwrap();
        assert!(!page.contains(&key), "{path}");
        assert!(!page.contains("/console/switch"), "{path}");
    }
    // Nothing is changed by who only knows the address.
    for path in [
        "/console/validate",
        "/console/deactivate",
        "/console/offline/request",
    ] {
        let answer = scene.site.http.post(format!("{}{path}", scene.site.url));
        let answer = answer
            .header("content-type", FORM)
            .body("purpose=deactivate")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 303, "{path}");
        assert_eq!(answer.headers()["location"], "/console/sign-in", "{path}");
    }
    assert_eq!(scene.site.standing().await, "active");

    scene.open("/").await;
    scene.browser.click("header button").await;
    scene.shows("Sign in").await;
    scene.type_into("#token", "another-token-entirely").await;
    scene.press("Sign in").await;
    scene.browser.trouble().await;
    scene.open("/console/sign-in").await;
    scene.type_into("#token", TOKEN).await;
    scene.browser.click("main button").await;
    scene.shows("Everything is OK").await;
    assert!(scene.text().await.contains(&key));
    let cookies = scene.browser.run("return document.cookie").await;
    assert_eq!(cookies, json!(""), "no script reads the session");
    let button = "return document.querySelectorAll('#validate').length";
    assert_eq!(scene.browser.run(button).await, json!(1));

    // Half an hour later the session is over.
    scene.site.advance(TimeDelta::minutes(31));
    scene.open("/").await;
    scene.browser.until(button, &json!(0)).await;
    assert!(!scene.text().await.contains(&key));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_the_token_has_to_wait() {
    let flags = [
        "--trusted-networks",
        "10.99.0.0/16",
        "--admin-token",
        "sixteen-characters",
    ];
    let database = TestDatabase::new(Engine::Sqlite).await;
    let site = Site::start_on(database, "http://127.0.0.1:9/api", &flags).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let answer = site.http.post(format!("{}/console/sign-in", site.url));
        let answer = answer
            .header("content-type", FORM)
            .body("token=wrong")
            .send()
            .await
            .unwrap();
        statuses.push(answer.status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    let crossed = site.http.post(format!("{}/console/validate", site.url));
    let crossed = crossed.header("sec-fetch-site", "cross-site").send().await;
    assert_eq!(crossed.unwrap().status(), 403);
    site.end().await;
}

/// A page of another site with a link to this address.
async fn page_of_another_site(target: &str) -> String {
    let page = format!("<!doctype html><title>Ticket</title><a href=\"{target}\">the link</a>");
    let pages = axum::Router::new().fallback(move || async move { axum::response::Html(page) });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, pages).await });
    // Another site than 127.0.0.1.
    format!("http://localhost:{port}/")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_another_site_opens_the_page_in_both_consoles() {
    const TOKEN: &str = "a-token-of-sixteen-characters";
    let scene =
        Scene::unlicensed(&["--trusted-networks", "10.99.0.0/16", "--admin-token", TOKEN]).await;
    let server = scene.vendor.url.trim_end_matches("/api").to_owned();
    for (console, token, path, address) in [
        (
            &scene.site.url,
            TOKEN,
            "/console/diagnostics",
            "/console/diagnostics?reopened=1",
        ),
        (
            &server,
            ADMIN_TOKEN,
            "/console/audit?sort=at&x='",
            "/console/audit?sort=at&x=%27",
        ),
    ] {
        let link = page_of_another_site(&format!("{console}{path}")).await;
        scene.browser.open(&link).await;
        scene.browser.click("a").await;
        scene.shows("Sign in").await;
        scene
            .browser
            .open(&format!("{console}/console/sign-in"))
            .await;
        scene.type_into("#token", token).await;
        scene.browser.click("main button").await;
        let is_signed_in = "return document.querySelector('#token') === null && location.pathname";
        scene.browser.until(is_signed_in, &json!("/")).await;
        scene.browser.open(&link).await;
        scene.browser.click("a").await;
        let place = "return location.pathname + location.search";
        scene.browser.until(place, &json!(address)).await;
    }
    scene.end().await;
}
