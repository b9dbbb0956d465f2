//! The console, in a real browser.

use chrono::TimeDelta;
use fantoccini::Locator;
use license_server::audit::Actor;
use license_server::licensing::offline::{read, sign};
use license_server::store::licenses::Status;
use license_service::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::chromium::Chromium;
use crate::database::{Engine, TestDatabase};
use crate::hardware::move_to_another_machine;
use crate::harness::Site;
use crate::program::Program;
use crate::vendor::Vendor;

const FORM: &str = "application/x-www-form-urlencoded";
const MAP_VIEW: &str = "module.map_view";

/// How the row of a feature reads.
const MAP: &str = "return [...document.querySelectorAll('tbody tr')]
    .find((row) => row.textContent.includes('module.map_view')).querySelector('.chip').textContent";

struct Scene {
    vendor: Vendor,
    site: Site,
    browser: Chromium,
}

impl Scene {
    async fn unlicensed(flags: &[&str]) -> Self {
        let vendor = Vendor::start().await;
        let keys = vendor.trusted_keys();
        let flags = [&["--license-trusted-keys", keys.as_str()], flags].concat();
        let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
        Self {
            vendor,
            site,
            browser: Chromium::start().await,
        }
    }

    async fn licensed() -> (Self, String) {
        let scene = Self::unlicensed(&[]).await;
        let key = scene.vendor.issue_professional().await;
        assert_eq!(scene.site.activate(&key).await.0, 200);
        (scene, key)
    }

    async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.site.url)).await;
    }

    async fn shows(&self, title: &str) {
        self.browser.shows(title).await;
    }

    async fn press(&self, words: &str) {
        self.browser.press(words).await;
    }

    async fn type_into(&self, selector: &str, text: &str) {
        self.browser.type_into(selector, text).await;
    }

    async fn text(&self) -> String {
        self.browser.text().await
    }

    async fn end(self) {
        self.browser.end().await;
        self.site.end().await;
    }
}

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

/// The request file that the page shows.
async fn request(browser: &Chromium) -> String {
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

    // What is found, what will be sent, and what support is given.
    browser.open(&program.url("/console/diagnostics")).await;
    browser.shows("Diagnostics").await;
    let findings = "return document.querySelectorAll('.findings li').length > 5";
    assert_eq!(browser.run(findings).await, json!(false));
    browser.click("#check").await;
    browser.until(findings, &json!(true)).await;
    let sent = browser
        .run("return JSON.parse(document.querySelector('pre').textContent)")
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
        !file.to_string().contains(&key),
        "support needs no license key"
    );

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
    assert!(browser.text().await.contains("valid without contact until"));

    // Given up by file, after a question.
    browser.open(&program.url("/console/offline")).await;
    browser.press("Deactivate").await;
    browser.shows("Deactivate the license?").await;
    browser.press("Deactivate by file").await;
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
    assert_eq!(known, json!("Known"));
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
    assert!(scene.text().await.contains("valid without contact until"));
    scene.end().await;
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_text_is_shown_as_text() {
    const HOSTILE: &str = "<img src=x onerror=document.title='owned'>\"'</script><script>document.title='owned'</script>";
    let scene = Scene::unlicensed(&["--installation-name", HOSTILE]).await;
    let mut request = license_server::licensing::issue::IssueRequest::of(
        license_server::licensing::catalogue::Tier::Professional,
    );
    request.with = vec![HOSTILE.chars().take(100).collect()];
    let key = scene.vendor.issue(request).await;
    assert_eq!(scene.site.activate(&key).await.0, 200);
    for path in ["/", "/console/diagnostics", "/console/activate"] {
        scene.open(path).await;
        let text = scene.text().await;
        assert!(text.contains("<img src=x"), "{path}: {text}");
        let injected = "return [document.querySelectorAll('img').length, document.scripts.length, document.title.includes('owned')]";
        assert_eq!(
            scene.browser.run(injected).await,
            json!([0, 1, false]),
            "{path}"
        );
    }
    scene.open("/console/activate").await;
    scene.type_into("#key", HOSTILE).await;
    scene.press("Activate").await;
    scene.browser.trouble().await;
    let value = "return document.getElementById('key').value";
    assert_eq!(scene.browser.run(value).await, json!(HOSTILE));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_and_fits_every_width() {
    let (mut scene, _) = Scene::licensed().await;
    for standing in ["active", "grace"] {
        if standing == "grace" {
            scene.vendor.go_away().await;
            scene.site.validate().await;
        }
        for path in [
            "/",
            "/console/activate",
            "/console/deactivate",
            "/console/offline",
            "/console/diagnostics",
            "/console/sign-in",
        ] {
            let address = format!("{}{path}", scene.site.url);
            scene.browser.examine(&address).await;
        }
    }
    // In the dark, too: colours are others there.
    scene.browser.go_dark().await;
    scene.browser.examine(&scene.site.url).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_is_small_and_self_contained() {
    let (scene, _) = Scene::licensed().await;
    let get = async |path: &str| {
        let answer = scene.site.http.get(format!("{}{path}", scene.site.url));
        answer.send().await.unwrap()
    };
    let page = get("/").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(!page.contains("style=") && !page.contains("onclick="));
    let mut bytes = page.len();
    let assets: Vec<&str> = page
        .split('"')
        .filter(|it| it.starts_with("/console/assets/"))
        .collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let answer = get(asset).await;
        assert_eq!(answer.status(), 200, "{asset}");
        bytes += answer.bytes().await.unwrap().len();
    }
    assert!(bytes <= 60 * 1024, "{bytes} bytes");
    scene.end().await;
}
