//! What holds for every page: accessible, small, strict, safe and usable without scripts.

mod keys_and_codes;

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::seats::{Seat, save};
use license_service::clock::Clock as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{HOSTILE, Program, activation, heartbeat, sign_in};
use crate::chromium::Chromium;
use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, Vendor};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_shown_as_text_wherever_it_comes_from() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    sign_in(&browser, &url).await;
    browser
        .open(&format!("{url}/console/licenses/new?plan=standard"))
        .await;
    browser.type_into("#customer", HOSTILE).await;
    browser.click("input[name=end][value=never]").await;
    browser.press("Review").await;
    browser.shows("Issue this license?").await;
    browser.click("#yes").await;
    browser.shows(HOSTILE).await;
    let key = browser
        .run("return document.getElementById('key').textContent")
        .await;
    let key = key.as_str().unwrap().to_owned();
    let license = browser.page.current_url().await.unwrap();
    let hostile_machine = |body: Value| {
        let mut body = body;
        body["hardwareId"] = HOSTILE.into();
        body
    };
    let activated = server
        .site_asks("activate", hostile_machine(activation(&key, HOSTILE)))
        .await;
    assert_eq!(activated["success"], true, "{activated}");
    let told = server
        .site_asks("heartbeat", hostile_machine(heartbeat(&key, HOSTILE, 1)))
        .await;
    assert_eq!(told["data"]["isValid"], true, "{told}");
    let drifted = server.http.post(format!("{url}/api/licenses/validate"));
    let drifted = drifted.header("x-license-drift", "board_serial");
    let body = json!({"licenseKey": key, "hardwareId": HOSTILE});
    drifted.json(&body).send().await.unwrap();
    browser.open(license.as_str()).await;
    browser.press("Suspend").await;
    browser.shows("Suspend this license?").await;
    browser.type_into("#message", HOSTILE).await;
    browser.click("#yes").await;
    browser.shows(HOSTILE).await;
    let id = license.path().rsplit('/').next().unwrap();
    let shown = server.http.get(format!("{url}/api/admin/licenses/{id}"));
    let shown = shown.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let shown: Value = shown.json().await.unwrap();
    let customer = shown["license"]["customerId"].as_str().unwrap();
    let encoded = "%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D'owned'%3E%22'";
    keys_and_codes::hostile(&server).await;
    for path in [
        "/".to_owned(),
        "/console/installations".to_owned(),
        format!("/console/installations?version={encoded}&standing={encoded}&page={encoded}"),
        format!("/console/licenses?search={encoded}&tier={encoded}&ends={encoded}&sort={encoded}"),
        "/console/licenses".to_owned(),
        format!("/console/licenses/{id}"),
        format!("/console/licenses/{id}/free?machine={encoded}"),
        format!("/console/licenses/{id}/amend"),
        format!("/console/licenses/{id}/amendments"),
        "/console/customers".to_owned(),
        format!("/console/customers/{customer}"),
        format!("/console/customers/{customer}/edit"),
        format!("/console/customers/{customer}/merge"),
        format!("/console/customers?search={encoded}&sort={encoded}"),
        format!("/console/customers/{encoded}"),
        format!("/console/plans/{encoded}"),
        format!("/console/tokens/{encoded}/revoke"),
        format!("/console/licenses/new?plan={encoded}&customer={encoded}"),
        format!("/console/licenses/{encoded}"),
        format!("/console/keys/{encoded}/revoke"),
        "/console/audit".to_owned(),
        format!("/console/audit?before={encoded}"),
        format!("/?done={encoded}"),
        format!("/console/sign-in?next={encoded}"),
    ]
    .into_iter()
    .chain(keys_and_codes::hostile_pages(encoded))
    {
        browser.open(&format!("{url}{path}")).await;
        let injected = "return [document.querySelectorAll('img').length, document.scripts.length, document.title.startsWith('owned')]";
        assert_eq!(browser.run(injected).await, json!([0, 1, false]), "{path}");
        let text = browser.text().await;
        if !path.contains(encoded) && path != "/console/audit" {
            assert!(text.contains("<img src=x"), "{path}: {text}");
        }
    }
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_and_fits_every_width() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Chromium::start().await;
    browser
        .examine(&format!("{}/console/sign-in", vendor.url))
        .await;
    sign_in(&browser, &vendor.url).await;
    browser.examine(&vendor.url).await;
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(3),
            ..TermChanges::default()
        },
        customer: "A customer with a name that is longer than a phone is wide".to_owned(),
        ..IssueRequest::of(Tier::Enterprise)
    };
    let key = vendor.issue(request).await;
    for machine in [
        "4f0e9c5c3f2b5d3c7a114f0e9c5c3f2b5d3c7a114f0e9c5c3f2b5d3c7a11aaaa",
        "two",
        "three",
    ] {
        vendor.activate(&key, machine).await;
        vendor.heartbeat(&key, machine, 5).await;
    }
    vendor.deactivate(&key, "three").await;
    vendor.clock.advance(TimeDelta::days(2));
    vendor.heartbeat(&key, "two", 9).await;
    let body = json!({"licenseKey": key, "hardwareId": "two"});
    let drifted = vendor
        .http
        .post(format!("{}/api/licenses/validate", vendor.url));
    let drifted = drifted
        .header("x-license-drift", "board_serial")
        .json(&body);
    drifted.send().await.unwrap();
    for number in 0..120 {
        let request = IssueRequest {
            customer: format!("Customer {number:03}"),
            ..IssueRequest::of(Tier::Standard)
        };
        vendor.issue(request).await;
    }
    let id = vendor.look(&format!("/licenses/{key}")).await["license"]["id"].clone();
    let id = id.as_str().unwrap();
    let license = vendor.look(&format!("/licenses/{id}")).await["license"].clone();
    let customer = license["customerId"].as_str().unwrap();
    let body = json!({
        "add": [
            {"key": "cameras", "quantity": 32, "from": "2027-05-01"},
            {"key": "module.map_view", "from": "2027-05-01", "until": "2027-07-29"},
        ],
        "order": "4711", "reason": "The fair",
    });
    let path = format!("/licenses/{id}/amendments");
    assert_eq!(vendor.admin(Method::POST, &path, body).await.0, 201);
    let body = json!({"name": "ana", "note": "Sales"});
    assert_eq!(vendor.admin(Method::POST, "/tokens", body).await.0, 201);
    let kid = vendor.look("/keys").await["keys"][0]["kid"].clone();
    let kid = kid.as_str().unwrap();
    for path in [
        "/".to_owned(),
        "/?done=issued".to_owned(),
        "/console/installations".to_owned(),
        "/console/licenses?page=2".to_owned(),
        "/console/licenses?search=nobody".to_owned(),
        "/console/licenses/new".to_owned(),
        "/console/licenses/new?plan=professional".to_owned(),
        format!("/console/licenses/{id}"),
        format!("/console/licenses/{id}/amend"),
        format!("/console/licenses/{id}/amend?undo=2"),
        format!("/console/licenses/{id}/amendments"),
        "/console/customers?page=2".to_owned(),
        "/console/customers/new".to_owned(),
        format!("/console/customers/{customer}"),
        format!("/console/customers/{customer}/edit"),
        format!("/console/customers/{customer}/merge"),
        "/console/plans".to_owned(),
        "/console/plans/professional".to_owned(),
        "/console/plans/professional/edit".to_owned(),
        "/console/plan-file".to_owned(),
        "/console/catalogue".to_owned(),
        "/console/tokens".to_owned(),
        "/console/tokens/new".to_owned(),
        "/console/tokens/ana/revoke".to_owned(),
        format!("/console/licenses/{id}/suspend"),
        format!("/console/licenses/{id}/renew"),
        format!("/console/licenses/{id}/free?machine=two"),
        format!("/console/licenses/{id}/release?machine=three"),
        "/console/licenses/nonsense".to_owned(),
        "/console/offline".to_owned(),
        "/console/keys".to_owned(),
        "/console/keys/rotate".to_owned(),
        format!("/console/keys/{kid}/revoke"),
        "/console/audit".to_owned(),
    ] {
        browser.examine(&format!("{}{path}", vendor.url)).await;
    }
    // In the dark, too: colours are others there.
    browser.go_dark().await;
    for path in [
        "/".to_owned(),
        format!("/console/licenses/{id}"),
        "/console/keys".to_owned(),
    ] {
        browser.examine(&format!("{}{path}", vendor.url)).await;
    }
    let is_dark = "return matchMedia('(prefers-color-scheme: dark)').matches";
    assert_eq!(browser.run(is_dark).await, json!(true));
    browser.end().await;
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_small_and_strict_and_need_no_script() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let form = |path: &str, body: String| {
        let request = http.post(format!("{}{path}", vendor.url)).body(body);
        request.header("content-type", "application/x-www-form-urlencoded")
    };
    let signed_in = form(
        "/console/sign-in",
        format!("token={ADMIN_TOKEN}&next=//evil.example"),
    );
    let signed_in = signed_in.send().await.unwrap();
    assert_eq!(signed_in.headers()["location"], "/?done=signed-in");
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = http
        .get(&vendor.url)
        .header("cookie", &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe")
    );
    assert_eq!(page.headers()["cache-control"], "no-store");
    let page = page.text().await.unwrap();
    assert!(!page.contains("style=") && !page.contains("onclick="));
    let mut bytes = page.len();
    let assets = page
        .split('"')
        .filter(|it| it.starts_with("/console/assets/"));
    for asset in assets {
        let answer = http
            .get(format!("{}{asset}", vendor.url))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{asset}");
        bytes += answer.bytes().await.unwrap().len();
    }
    assert!(bytes <= 60 * 1024, "{bytes} bytes");

    // Plain forms do everything; without the session they do nothing.
    let issue =
        "plan=standard%401&customer=Plain&end=never&key=FXSGHT-2222-2222-2222-2222".to_owned();
    let stranger = form("/console/licenses/issue", issue.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(stranger.status(), 401);
    let page = stranger.text().await.unwrap();
    assert!(page.contains("action=\"/console/sign-in\""), "{page}");
    assert_eq!(vendor.look("/licenses").await["total"], 0);
    let crossed = form("/console/licenses/issue", issue.clone()).header("cookie", &cookie);
    let crossed = crossed
        .header("sec-fetch-site", "cross-site")
        .send()
        .await
        .unwrap();
    assert_eq!(crossed.status(), 403);
    assert_eq!(vendor.look("/licenses").await["total"], 0);
    let issued = form("/console/licenses/issue", issue.clone()).header("cookie", &cookie);
    let issued = issued.send().await.unwrap();
    let address = issued.headers()["location"].to_str().unwrap();
    assert!(address.ends_with("?done=issued"), "{address}");
    // A form that is sent again issues nothing more.
    let replayed = form("/console/licenses/issue", issue).header("cookie", &cookie);
    let replayed = replayed.send().await.unwrap();
    let same = replayed.headers()["location"].to_str().unwrap();
    assert_eq!(Some(same), address.strip_suffix("?done=issued"));
    assert_eq!(vendor.look("/licenses").await["total"], 1);
    assert_eq!(
        vendor.audit("").await[0]["source"],
        "console from 127.0.0.1"
    );

    // Who guesses has to wait.
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let answer = form("/console/sign-in", "token=wrong".to_owned())
            .send()
            .await;
        statuses.push(answer.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);

    // A license that many machines hold and held has pages, too.
    let request = IssueRequest {
        terms: TermChanges {
            seats: Some(1000),
            ..TermChanges::default()
        },
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    let license = look_up(&vendor.app.store, &key).await.unwrap();
    let now = vendor.clock.now();
    let transaction = vendor.app.store.begin().await.unwrap();
    for number in 0..400 {
        let mut seat = Seat::new(&license.id, &format!("{number:064}"), now);
        seat.freed_at = (number % 2 == 0).then_some(now);
        seat.signed_until = Some(now + TimeDelta::hours(96));
        save(&transaction, &seat).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let address = format!("{}/console/licenses/{}?page=4", vendor.url, license.id);
    let page = http.get(address).header("cookie", &cookie);
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("200 machines, page 4 of 4") && page.contains("Former machines: 200"));
    assert!(page.len() <= 100 * 1024, "{} bytes", page.len());
    vendor.end().await;
}
