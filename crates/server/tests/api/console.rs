//! The vendor's console, in a real browser.

use std::process::{Command, Stdio};

use chrono::TimeDelta;
use license_core::document::verify_license;
use license_core::offline::{OfflineRequest, Purpose, from_file};
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::signing::SigningKeys;
use license_server::store::seats::{Seat, save};
use license_service::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chromium::Chromium;
use crate::database::Engine;
use crate::gates::process::{Process, free_port};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, NONCE, Vendor};

const HOSTILE: &str =
    "<img src=x onerror=document.title='owned'>\"'</script><script>document.title='owned'</script>";

/// The real program, with its own directory.
struct Program {
    process: Process,
    directory: TempDir,
    http: reqwest::Client,
}

impl Program {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
        command
            .args(["serve", "--port", &port.to_string()])
            .env("STATE_DIR", directory.path().join("state"))
            .env("ADMIN_TOKEN", ADMIN_TOKEN)
            .current_dir(directory.path())
            .stderr(Stdio::null());
        Self {
            process: Process::start(&mut command, port).await,
            directory,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn keys(&self) -> SigningKeys {
        SigningKeys::load(&self.directory.path().join("state/keys")).unwrap()
    }

    async fn site_asks(&self, call: &str, body: Value) -> Value {
        let address = format!("{}/api/licenses/{call}", self.process.url);
        let answer = self.http.post(address).json(&body).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

async fn sign_in(browser: &Chromium, url: &str) {
    browser.open(&format!("{url}/console/sign-in")).await;
    browser.type_into("#token", ADMIN_TOKEN).await;
    browser.press("Sign in").await;
    let fleet = "return !!document.getElementById('headline')";
    browser.until(fleet, &json!(true)).await;
}

async fn notice(browser: &Chromium, expected: &str) {
    let notice = format!(
        "return (document.querySelector('.notice[role=status]') || {{}}).textContent === '{expected}'"
    );
    browser.until(&notice, &json!(true)).await;
}

fn heartbeat(key: &str, text: &str, cameras: u64) -> Value {
    json!({
        "licenseKey": key,
        "hardwareId": "machine",
        "installationId": text,
        "usageMetrics": {"camerasInUse": cameras, "usersActive": 2, "storageUsedGb": 100},
        "systemInfo": {
            "os_platform": text, "os_release": text, "os_version": text, "cpu_count": 4,
            "total_memory_gb": 7.75, "hostname": text, "architecture": text,
        },
    })
}

fn activation(key: &str, text: &str) -> Value {
    json!({
        "licenseKey": key,
        "hardwareId": "machine",
        "installationId": text,
        "installationName": text,
        "installationVersion": text,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_issued_watched_suspended_renewed_freed_and_revoked() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    // An anonymous user is asked to sign in, and then gets the requested page.
    browser
        .open(&format!("{url}/console/licenses?sort=customer"))
        .await;
    browser.shows("Sign in").await;
    browser.type_into("#token", "another-token-entirely").await;
    browser.press("Sign in").await;
    assert!(browser.trouble().await.contains("token is incorrect"));
    browser.type_into("#token", ADMIN_TOKEN).await;
    browser.press("Sign in").await;
    browser.shows("Licenses").await;
    let address = browser.page.current_url().await.unwrap();
    assert!(address.as_str().contains("sort=customer"), "{address}");
    assert_eq!(browser.run("return document.cookie").await, json!(""));

    // What cannot be issued says why, and what was typed is still there.
    browser.press("Issue a license").await;
    browser.shows("Issue a license").await;
    browser.type_into("#customer", "Harbour Ltd").await;
    browser
        .run("document.querySelector('details').open = true")
        .await;
    browser.type_into("#without", "module.nope").await;
    browser.press("Review").await;
    assert!(browser.trouble().await.contains("module.nope"));
    let typed = "return document.getElementById('customer').value";
    assert_eq!(browser.run(typed).await, json!("Harbour Ltd"));
    browser.type_into("#without", "").await;
    browser.type_into("#with", "module.alarm_advanced").await;
    browser.press("Review").await;
    browser.shows("Issue this license?").await;
    assert!(browser.text().await.contains("module.alarm_advanced"));
    // Confirming twice issues only one license.
    let answer = "const form = document.querySelector('main form'); \
        const answer = await fetch(form.action, { method: 'POST', body: new URLSearchParams(new FormData(form)) }); \
        return answer.url.includes('done=issued')";
    assert_eq!(browser.run(answer).await, json!(true));
    browser.click("#yes").await;
    browser.shows("Harbour Ltd").await;
    let key = "return document.getElementById('key').textContent";
    let key = browser.run(key).await.as_str().unwrap().to_owned();

    let activated = server
        .site_asks("activate", activation(&key, "Harbour, gate 4"))
        .await;
    assert_eq!(activated["success"], true, "{activated}");
    server
        .site_asks("heartbeat", heartbeat(&key, "Harbour, gate 4", 11))
        .await;
    browser.page.refresh().await.unwrap();
    browser.shows("Harbour Ltd").await;
    let text = browser.text().await;
    assert!(
        text.contains("Seats: 1 of 1 in use") && text.contains("Cameras: 11 of 16"),
        "{text}"
    );

    // A change is asked about, and a no changes nothing.
    browser.press("Suspend").await;
    browser.shows("Suspend this license?").await;
    browser.press("Go back").await;
    browser.shows("Harbour Ltd").await;
    assert!(browser.text().await.contains("Active."));
    browser.press("Suspend").await;
    browser.shows("Suspend this license?").await;
    browser
        .type_into("#message", "The invoice is overdue")
        .await;
    browser.click("#yes").await;
    notice(
        &browser,
        "License suspended. The change reaches sites at their next validation.",
    )
    .await;
    let body = json!({"licenseKey": key, "hardwareId": "machine"});
    let told = server.site_asks("validate", body.clone()).await;
    assert_eq!(told["data"]["message"], "The invoice is overdue");
    browser.press("Reinstate").await;
    browser.shows("Reinstate this license?").await;
    browser.click("#yes").await;
    notice(
        &browser,
        "License reinstated. The change reaches sites at their next validation.",
    )
    .await;
    assert_eq!(
        server.site_asks("validate", body.clone()).await["data"]["isValid"],
        true
    );

    browser.press("Renew").await;
    browser.shows("Change the end date?").await;
    // A date field takes what its language writes; the value is what counts.
    browser
        .run("document.getElementById('day').value = '2020-01-01'")
        .await;
    browser.click("#yes").await;
    assert!(browser.trouble().await.contains("has passed"));
    browser
        .run("document.getElementById('day').value = '2030-12-31'")
        .await;
    browser.click("#yes").await;
    browser.shows("Harbour Ltd").await;
    assert!(browser.text().await.contains("31 December 2030"));

    browser.press("Free").await;
    browser.shows("Free this machine's seat?").await;
    browser.click("#yes").await;
    notice(
        &browser,
        "Seat freed. Licensed features on that machine are switched off at its next validation.",
    )
    .await;
    let told = server.site_asks("validate", body).await;
    assert_eq!(told["data"]["reason"], "hardware_mismatch");
    let text = browser.text().await;
    assert!(text.contains("Freed, lease still valid"), "{text}");
    assert!(text.contains("Moves left: 3 of 3 in 365 days"), "{text}");
    browser.press("Release").await;
    browser.shows("Release this machine's seat?").await;
    assert!(browser.text().await.contains("May run until"));
    browser.click("#yes").await;
    notice(&browser, "Seat released. Another machine can take it now.").await;

    // In another tab it was revoked meanwhile.
    let first = browser.page.window().await.unwrap();
    let license = browser.page.current_url().await.unwrap();
    browser.press("Suspend").await;
    browser.shows("Suspend this license?").await;
    let second = browser.page.new_window(true).await.unwrap().handle;
    browser.page.switch_to_window(second).await.unwrap();
    browser.open(license.as_str()).await;
    browser.press("Revoke").await;
    browser.shows("Revoke this license permanently?").await;
    browser.click("#yes").await;
    notice(
        &browser,
        "License revoked. The change reaches sites at their next validation.",
    )
    .await;
    browser.page.switch_to_window(first).await.unwrap();
    browser.click("#yes").await;
    assert!(browser.trouble().await.contains("cannot be undone"));

    browser.open(&format!("{url}/console/audit")).await;
    let rows = "return [...document.querySelectorAll('tbody th')].map((it) => it.textContent)";
    let expected = [
        "License revoked",
        "Seat released",
        "Seat freed",
        "End date changed",
        "License reinstated",
        "License suspended",
        "Seat taken",
        "License issued",
        "Signing key created",
    ];
    assert_eq!(browser.run(rows).await, json!(expected));
    let export = "const answer = await fetch('/console/audit/export'); return (await answer.text()).split('\\n').filter(Boolean).map((it) => JSON.parse(it).action)";
    let export = browser.run(export).await;
    assert_eq!(
        (&export[0], export.as_array().unwrap().len()),
        (&json!("key_made"), 9)
    );

    browser.click("header button").await;
    browser.shows("Sign in").await;
    notice(&browser, "You are signed out.").await;
    browser.open(&format!("{url}/console/audit")).await;
    browser.shows("Sign in").await;
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_internet_is_answered_by_file_and_keys_take_turns() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    sign_in(&browser, &url).await;
    let issued = server.http.post(format!("{url}/api/admin/licenses"));
    let issued = issued
        .bearer_auth(ADMIN_TOKEN)
        .json(&json!({"tier": "enterprise"}));
    let license: Value = issued.send().await.unwrap().json().await.unwrap();
    let request = OfflineRequest {
        purpose: Purpose::Activate,
        license_key: license["licenseKey"].as_str().unwrap().to_owned(),
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Lighthouse".to_owned(),
        installation_version: "4.2.0".to_owned(),
        nonce: NONCE.to_owned(),
        created_at: SystemClock.now(),
        key_set: 1,
        newest_seq: None,
    };
    let file = server.directory.path().join("request.txt");
    browser.open(&format!("{url}/console/offline")).await;
    // A truncated file is reported as such.
    let text = request.to_file();
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    browser.choose("#file", &file).await;
    browser.press("Review").await;
    browser.trouble().await;
    std::fs::write(&file, &text).unwrap();
    browser.open(&format!("{url}/console/offline")).await;
    browser.choose("#file", &file).await;
    browser.press("Review").await;
    browser.shows("Sign a license file for this site?").await;
    assert!(browser.text().await.contains("Lighthouse"));
    browser.click("#yes").await;
    notice(
        &browser,
        "License file signed. Send it to the site, where it is imported in the console.",
    )
    .await;
    let answer = browser
        .run("return document.getElementById('answer').value")
        .await;
    let link = "return atob(document.querySelector('a[download]').href.split(',')[1])";
    assert_eq!(
        browser.run(link).await,
        answer,
        "what is saved is what is shown"
    );
    let (_, document) = from_file(answer.as_str().unwrap()).unwrap();
    let keys = server.keys();
    let keyring = license_core::keyring::Keyring::from_jwk_set(keys.public()).unwrap();
    let signed = verify_license(&document, &keyring).unwrap();
    assert!(signed.claims().offline);
    assert_eq!(signed.claims().hardware_id, "machine");
    // One that was scanned is pasted as a text. No seat is held by that
    // machine: the answer is a no, in words.
    let other = OfflineRequest {
        purpose: Purpose::Renew,
        hardware_id: "another".to_owned(),
        ..request
    };
    browser.press("Next request").await;
    let paste = json!(other.to_file());
    browser
        .run(&format!("document.getElementById('text').value = {paste}"))
        .await;
    browser.press("Review").await;
    browser.shows("Renew this site's license file?").await;
    browser.click("#yes").await;
    let notice_bad = "return !!document.querySelector('.notice.bad[role=status]')";
    browser.until(notice_bad, &json!(true)).await;
    assert!(browser.text().await.contains("holds no seat"));

    // An address that is made of a key id leads to no other change.
    let led_astray = "%2e%2e%2flicenses%2fx%2freinstate%3f";
    browser
        .open(&format!("{url}/console/keys/{led_astray}/revoke"))
        .await;
    browser.shows("Page not found").await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('main form').length")
            .await,
        json!(0)
    );

    // The only key cannot be revoked; the next one is made, and then it can.
    browser.open(&format!("{url}/console/keys")).await;
    let states = "return [...document.querySelectorAll('tbody .chip')].map((it) => it.textContent)";
    assert_eq!(browser.run(states).await, json!(["Current"]));
    browser.press("Revoke").await;
    browser.shows("This is the only key that can sign").await;
    browser.press("Go back").await;
    assert_eq!(browser.run(states).await, json!(["Current"]));
    browser.open(&format!("{url}/console/keys/rotate")).await;
    browser
        .run("document.querySelector('form[action$=rotate]').noValidate = true")
        .await;
    browser.type_into("#days", "1000").await;
    browser.click("#yes").await;
    assert!(browser.trouble().await.contains("0 to 365"));
    browser.type_into("#days", "7").await;
    browser.click("#yes").await;
    notice(
        &browser,
        "Signing key created and published. Back up the key directory.",
    )
    .await;
    assert_eq!(browser.run(states).await, json!(["Next", "Current"]));
    browser.open(&format!("{url}/console/keys/rotate")).await;
    browser.type_into("#days", "0").await;
    browser.click("#yes").await;
    browser
        .until(states, &json!(["Next", "Current", "Retired"]))
        .await;
    let retired = "document.querySelector('tbody tr:last-child a').click()";
    browser.run(retired).await;
    browser.shows("Revoke this signing key?").await;
    browser.click("#yes").await;
    browser
        .until(states, &json!(["Next", "Current", "Revoked"]))
        .await;
    assert_eq!(server.keys().version(), 4);
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_is_seen_at_a_glance_and_found_by_filters() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    let browser = Chromium::start().await;
    sign_in(&browser, &vendor.url).await;
    browser.shows("No installations yet").await;
    let request = IssueRequest {
        seats: Some(4),
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
    let summary = "Heartbeats of all sites on each of the last 30 days";
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_shown_as_text_wherever_it_comes_from() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    sign_in(&browser, &url).await;
    browser.open(&format!("{url}/console/licenses/new")).await;
    browser.type_into("#customer", HOSTILE).await;
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
    let encoded = "%3Cimg%20src%3Dx%20onerror%3Ddocument.title%3D'owned'%3E%22'";
    for path in [
        "/".to_owned(),
        "/console/installations".to_owned(),
        format!("/console/installations?version={encoded}&standing={encoded}&page={encoded}"),
        format!("/console/licenses?search={encoded}&tier={encoded}&ends={encoded}&sort={encoded}"),
        "/console/licenses".to_owned(),
        format!("/console/licenses/{id}"),
        format!("/console/licenses/{id}/free?machine={encoded}"),
        format!("/console/licenses/{encoded}"),
        format!("/console/keys/{encoded}/revoke"),
        "/console/audit".to_owned(),
        format!("/console/audit?before={encoded}"),
        format!("/?done={encoded}"),
        format!("/console/sign-in?next={encoded}"),
    ] {
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
        seats: Some(3),
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
    let kid = vendor.look("/keys").await["keys"][0]["kid"].clone();
    let kid = kid.as_str().unwrap();
    for path in [
        "/".to_owned(),
        "/?done=issued".to_owned(),
        "/console/installations".to_owned(),
        "/console/licenses?page=2".to_owned(),
        "/console/licenses?search=nobody".to_owned(),
        "/console/licenses/new".to_owned(),
        format!("/console/licenses/{id}"),
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
    let issue = "tier=standard&customer=Plain&key=FXSGHT-2222-2222-2222-2222".to_owned();
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
    assert_eq!(vendor.audit("").await[0]["actor"], "console from 127.0.0.1");

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
        seats: Some(1000),
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
