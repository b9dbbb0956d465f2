//! The vendor's console, in a real browser.

mod fleet;
mod page_rules;
mod sold;

use std::process::{Command, Stdio};

use license_core::document::verify_license;
use license_core::offline::{OfflineRequest, Purpose, from_file};
use license_server::signing::SigningKeys;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::chromium::Chromium;
use crate::gates::process::{Process, free_port};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, NONCE};

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
    let notice = "(document.querySelector('.notice[role=status]') || {}).textContent";
    let notice = format!("return {notice} === {}", json!(expected));
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
    sign_in_when_asked(&browser, &url).await;
    let key = issue_after_a_mistake(&browser).await;
    use_and_watch(&server, &browser, &key).await;
    suspend_and_reinstate(&server, &browser, &key).await;
    change_the_end_date(&browser).await;
    free_and_release_the_seat(&server, &browser, &key).await;
    revoke_in_another_tab(&browser).await;
    read_the_audit_log(&browser, &url).await;

    browser.click("header button").await;
    browser.shows("Sign in").await;
    notice(&browser, "You are signed out.").await;
    browser.open(&format!("{url}/console/audit")).await;
    browser.shows("Sign in").await;
    browser.end().await;
}

async fn sign_in_when_asked(browser: &Chromium, url: &str) {
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
}

/// Returns the key of the license.
async fn issue_after_a_mistake(browser: &Chromium) -> String {
    // What cannot be issued says why, and what was typed is still there.
    browser.press("Issue a license").await;
    browser.shows("Issue a license").await;
    let choose = "document.getElementById('plan').value = 'standard@1'";
    browser.run(choose).await;
    browser.press("Use this plan").await;
    browser.shows("Issue a license").await;
    browser.type_into("#customer", "Harbour Ltd").await;
    browser.click("input[name=end][value=never]").await;
    let cameras = "input[name='quantity.cameras']";
    browser.type_into(cameras, "many").await;
    browser.press("Review").await;
    assert!(browser.trouble().await.contains("many"));
    let typed = "return document.getElementById('customer').value";
    assert_eq!(browser.run(typed).await, json!("Harbour Ltd"));
    browser.type_into(cameras, "16").await;
    browser
        .click("input[name=feature][value='module.alarm_advanced']")
        .await;
    browser.press("Review").await;
    browser.shows("Issue this license?").await;
    let text = browser.text().await;
    assert!(
        text.contains("Advanced alarms in addition to the plan"),
        "{text}"
    );
    assert!(text.contains("Harbour Ltd New customer"), "{text}");
    // Confirming twice issues only one license.
    let answer = "const form = document.querySelector('main form'); \
        const answer = await fetch(form.action, { method: 'POST', body: new URLSearchParams(new FormData(form)) }); \
        return answer.url.includes('done=issued')";
    assert_eq!(browser.run(answer).await, json!(true));
    browser.click("#yes").await;
    browser.shows("Harbour Ltd").await;
    let key = "return document.getElementById('key').textContent";
    browser.run(key).await.as_str().unwrap().to_owned()
}

async fn use_and_watch(server: &Program, browser: &Chromium, key: &str) {
    let activated = server
        .site_asks("activate", activation(key, "Harbour, gate 4"))
        .await;
    assert_eq!(activated["success"], true, "{activated}");
    server
        .site_asks("heartbeat", heartbeat(key, "Harbour, gate 4", 11))
        .await;
    browser.page.refresh().await.unwrap();
    browser.shows("Harbour Ltd").await;
    let text = browser.text().await;
    assert!(
        text.contains("Seats: 1 of 1 in use") && text.contains("Cameras: 11 of 16"),
        "{text}"
    );
}

async fn suspend_and_reinstate(server: &Program, browser: &Chromium, key: &str) {
    // A change asks for confirmation; going back changes nothing.
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
        browser,
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
        browser,
        "License reinstated. The change reaches sites at their next validation.",
    )
    .await;
    let told = server.site_asks("validate", body).await;
    assert_eq!(told["data"]["isValid"], true);
}

async fn change_the_end_date(browser: &Chromium) {
    browser.press("Renew").await;
    browser.shows("Change the end date?").await;
    browser.click("input[name=end][value=day]").await;
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
}

async fn free_and_release_the_seat(server: &Program, browser: &Chromium, key: &str) {
    browser.press("Free").await;
    browser.shows("Free this machine's seat?").await;
    browser.click("#yes").await;
    notice(
        browser,
        "Seat freed. Licensed features on that machine are switched off at its next validation.",
    )
    .await;
    let body = json!({"licenseKey": key, "hardwareId": "machine"});
    let told = server.site_asks("validate", body).await;
    assert_eq!(told["data"]["reason"], "hardware_mismatch");
    let text = browser.text().await;
    assert!(text.contains("Freed, lease still valid"), "{text}");
    assert!(text.contains("Moves left: 3 of 3 in 365 days"), "{text}");
    browser.press("Release").await;
    browser.shows("Release this machine's seat?").await;
    assert!(browser.text().await.contains("May run until"));
    browser.click("#yes").await;
    notice(browser, "Seat released. Another machine can take it now.").await;
}

/// A license that was revoked in another tab is not suspended.
async fn revoke_in_another_tab(browser: &Chromium) {
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
        browser,
        "License revoked. The change reaches sites at their next validation.",
    )
    .await;
    browser.page.switch_to_window(first).await.unwrap();
    browser.click("#yes").await;
    assert!(browser.trouble().await.contains("cannot be undone"));
}

async fn read_the_audit_log(browser: &Chromium, url: &str) {
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_without_internet_is_answered_by_file() {
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
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Lighthouse".to_owned(),
        installation_version: "4.2.0".to_owned(),
        nonce: NONCE.to_owned(),
        created_at: SystemClock.now(),
        key_set: 1,
        newest_seq: None,
        entitlements: false,
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
        "License file signed. Send it to the site and import it in the site's console.",
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
    let text = browser.text().await;
    assert!(text.contains("has no seat"), "{text}");
    browser.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_keys_take_turns_and_are_revoked() {
    let server = Program::start().await;
    let browser = Chromium::start().await;
    let url = server.process.url.clone();
    sign_in(&browser, &url).await;
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
