//! Pages of the console, without a browser.

mod access;
mod add_ons;
mod amend;
mod customers;
mod issue;
mod plan_edit;
mod plans;
mod renew;
mod tokens;
mod trial_codes;
mod waiting;

use chrono::TimeDelta;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_service::clock::Clock as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Method, Response};

use crate::database::Engine;
use crate::harness::{ADMIN_TOKEN, INSTALLATION, Vendor};

/// What a browser accepts.
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const FORM: &str = "application/x-www-form-urlencoded";

struct Staff {
    vendor: Vendor,
    http: reqwest::Client,
    cookie: String,
}

impl Staff {
    async fn signed_in() -> Self {
        Self::signed_in_with(Engine::Sqlite).await
    }

    async fn signed_in_with(engine: Engine) -> Self {
        let vendor = Vendor::start(engine).await;
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(Policy::none()).build().unwrap();
        let mut staff = Self {
            vendor,
            http,
            cookie: String::new(),
        };
        staff.sign_in().await;
        staff
    }

    /// Begins a session, which ends when the clock is advanced.
    async fn sign_in(&mut self) {
        let token = format!("token={ADMIN_TOKEN}");
        let answer = self.send(Method::POST, "/console/sign-in", &token).await;
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        self.cookie = cookie.split(';').next().unwrap().to_owned();
    }

    async fn send(&self, method: Method, path: &str, body: &str) -> Response {
        let request = self
            .http
            .request(method, format!("{}{path}", self.vendor.url));
        let request = request.header(ACCEPT, HTML).header(CONTENT_TYPE, FORM);
        let request = request.header(COOKIE, &self.cookie).body(body.to_owned());
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(Method::GET, path, "").await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let answer = self.send(Method::POST, path, body).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_not_there_is_a_page_for_a_browser_and_json_for_programs() {
    let staff = Staff::signed_in().await;
    for path in [
        "/nothing",
        "/console/nothing",
        "/console/licenses/a/b/c",
        "/apis",
    ] {
        let answer = staff.send(Method::GET, path, "").await;
        assert_eq!(answer.status(), 404, "{path}");
        let headers = answer.headers().clone();
        assert_eq!(headers[CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(
            answer.text().await.unwrap().contains("Page not found"),
            "{path}"
        );
    }
    for (path, accept) in [
        ("/nothing", "*/*"),
        ("/nothing", "application/json"),
        ("/api/nothing", HTML),
        ("/api/licenses/nothing", HTML),
        ("/api", HTML),
    ] {
        let request = staff.http.get(format!("{}{path}", staff.vendor.url));
        let answer = request.header(ACCEPT, accept).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(
            answer.headers()[CONTENT_TYPE],
            "application/json",
            "{path} {accept}"
        );
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_not_known_is_an_error_and_not_everything() {
    let staff = Staff::signed_in().await;
    let request = IssueRequest {
        customer: "Harbour".to_owned(),
        ..IssueRequest::of(Tier::Standard)
    };
    staff.vendor.issue(request).await;
    for (path, expected) in [
        ("licenses?status=gone", "Unknown status &#39;gone&#39;"),
        ("licenses?status=Active", "Unknown status"),
        ("licenses?tier=gold", "Unknown plan"),
        ("licenses?ends=soon", "Unknown end"),
        ("licenses?sort=price", "Unknown sort order"),
        ("licenses?sort=-", "Unknown sort order"),
        ("licenses?page=two", "Unknown page"),
        ("licenses?page=-1", "Unknown page"),
        ("licenses?status=active&status=revoked", "Invalid filters"),
        ("installations?standing=fine", "Unknown standing"),
        ("installations?order=name", "Unknown order"),
        ("installations?over_limit=0", "Unknown over_limit"),
        ("installations?suspected=no", "Unknown suspected"),
        ("installations?page=x", "Unknown page"),
        ("add-ons?state=gone", "Unknown state"),
        ("add-ons?before=x", "Invalid filters"),
        ("trial-codes?after=x", "Unknown page"),
        ("audit?before=yesterday", "Invalid filters"),
        ("audit?license=harbour", "Invalid filters"),
    ] {
        let (status, page) = staff.get(&format!("/console/{path}")).await;
        assert_eq!(status, 400, "{path}");
        assert!(page.contains("role=\"alert\" id=\"error\""), "{path}");
        assert!(page.contains(expected), "{path}: {page}");
        assert!(!page.contains("Harbour"), "{path}");
    }
    for path in [
        "licenses",
        "licenses?search=&status=active&tier=standard&ends=&sort=&page=",
        "licenses?sort=-createdAt&status=active",
    ] {
        let (status, page) = staff.get(&format!("/console/{path}")).await;
        assert_eq!((status, page.contains("Harbour")), (200, true), "{path}");
    }
    for path in [
        "licenses?status=expired",
        "licenses?ends=expired&sort=expiresAt",
        "installations?standing=grace&order=asc&over_limit=1&suspected=1&version=",
    ] {
        assert_eq!(
            staff.get(&format!("/console/{path}")).await.0,
            200,
            "{path}"
        );
    }
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_sorted_as_their_address_says() {
    let staff = Staff::signed_in().await;
    for (customer, days) in [("Beta", 9), ("Gamma", 30), ("Alpha", 20)] {
        let now = staff.vendor.clock.now();
        let request = IssueRequest {
            customer: customer.to_owned(),
            expires_at: Some(now + TimeDelta::days(days)),
            ..IssueRequest::of(Tier::Standard)
        };
        let key = staff.vendor.issue(request).await;
        staff.vendor.clock.advance(TimeDelta::minutes(1));
        assert_eq!(staff.vendor.activate(&key, customer).await.word(), "yes");
    }
    for (address, expected) in [
        ("licenses", ["Alpha", "Gamma", "Beta"]),
        ("licenses?sort=-createdAt", ["Beta", "Gamma", "Alpha"]),
        ("licenses?sort=customer", ["Alpha", "Beta", "Gamma"]),
        ("licenses?sort=-customer", ["Gamma", "Beta", "Alpha"]),
        ("licenses?sort=expiresAt", ["Beta", "Alpha", "Gamma"]),
        ("installations", ["Alpha", "Gamma", "Beta"]),
        ("installations?order=asc", ["Beta", "Gamma", "Alpha"]),
    ] {
        let (status, page) = staff.get(&format!("/console/{address}")).await;
        let mut places = expected.map(|customer| (page.find(customer), customer));
        assert!(places.iter().all(|(place, _)| place.is_some()), "{page}");
        places.sort();
        assert_eq!(
            (status, places.map(|(_, it)| it)),
            (200, expected),
            "{address}"
        );
    }
    // A page number that no database takes is the last page.
    for table in ["licenses", "installations"] {
        let address = format!("/console/{table}?page={}", u64::MAX);
        let (status, _) = staff.get(&address).await;
        assert_eq!(status, 200, "{address}");
    }
    staff.vendor.end().await;
}

/// The hidden fields of a page, as a browser sends them.
fn hidden_fields(page: &str) -> String {
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    for (at, start) in page.match_indices("<input type=\"hidden\" name=\"") {
        let (name, rest) = page[at + start.len()..].split_once('"').unwrap();
        let value = rest.strip_prefix(" value=\"").unwrap();
        let value = value.split('"').next().unwrap();
        let value = value
            .replace("&#60;", "<")
            .replace("&#62;", ">")
            .replace("&#34;", "\"");
        fields.append_pair(name, &value.replace("&#38;", "&").replace("&amp;", "&"));
    }
    fields.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_typed_while_the_session_ended_goes_through_signing_in() {
    let mut staff = Staff::signed_in().await;
    let session = std::mem::take(&mut staff.cookie);
    let filled = "customer=Harbour+%26+%3Cb%3E%E5%8C%97%E4%BA%AC&plan=professional%401&feature=module.map_view\
                  &quantity.cameras=&seats=7&end=day&day=2099-12-31&_key=x";
    let (status, page) = staff.post("/console/licenses/new", filled).await;
    assert_eq!(status, 401);
    assert!(page.contains("Your session has ended"), "{page}");
    assert!(!page.contains("<b>"), "{page}");
    // A wrong token loses nothing, either.
    let kept = hidden_fields(&page);
    let wrong = format!("token=wrong&{kept}");
    let (status, page) = staff.post("/console/sign-in", &wrong).await;
    assert_eq!(status, 401);
    assert_eq!(hidden_fields(&page), kept);
    let right = format!("token={ADMIN_TOKEN}&{kept}");
    let answer = staff.send(Method::POST, "/console/sign-in", &right).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    staff.cookie = cookie.split(';').next().unwrap().to_owned();
    let page = answer.text().await.unwrap();
    assert!(!page.contains(ADMIN_TOKEN), "{page}");
    assert!(page.contains("action=\"/console/licenses/new\""), "{page}");
    assert_eq!(hidden_fields(&page), filled);
    // Nothing happens before confirmation.
    assert_eq!(staff.vendor.look("/licenses").await["total"], 0);
    let (status, page) = staff
        .post("/console/licenses/new", &hidden_fields(&page))
        .await;
    assert_eq!(status, 200);
    assert!(
        page.contains("<dd>Harbour &#38; &#60;b&#62;北京 <span"),
        "{page}"
    );

    // The form that comes with a file, and what is asked on other pages.
    staff.cookie.clear();
    let parts = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\n\r\n\
        --x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\na request\r\n--x--\r\n";
    let url = format!("{}/console/offline", staff.vendor.url);
    let request = staff.http.post(url).body(parts);
    let request = request.header(CONTENT_TYPE, "multipart/form-data; boundary=x");
    let page = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(
        hidden_fields(&page),
        "next=%2Fconsole%2Foffline&_text=a+request"
    );
    let right = format!("token={ADMIN_TOKEN}&{}", hidden_fields(&page));
    let (_, page) = staff.post("/console/sign-in", &right).await;
    assert!(page.contains("enctype=\"multipart/form-data\""), "{page}");
    let (_, page) = staff.post("/console/keys/rotate", "days=30").await;
    assert_eq!(
        hidden_fields(&page),
        "next=%2Fconsole%2Fkeys%2Frotate&_days=30"
    );

    // Nothing of a body that is long, or has many fields; and no page of others comes next.
    let long = format!("customer={}", "x".repeat(9_000));
    let many = "a=b&".repeat(257);
    for body in [long.as_str(), &many, ""] {
        let answer = staff
            .send(Method::POST, "/console/licenses/new", body)
            .await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()["location"], "/console/sign-in?next=%2F");
    }
    let elsewhere = format!("token={ADMIN_TOKEN}&next=//evil.example/&_a=b");
    let (_, page) = staff.post("/console/sign-in", &elsewhere).await;
    assert!(
        page.contains("action=\"/\"") && !page.contains("evil"),
        "{page}"
    );
    // Another site can neither begin this nor continue it.
    for path in ["/console/licenses/new", "/console/sign-in"] {
        let request = staff.http.post(format!("{}{path}", staff.vendor.url));
        let request = request.header("sec-fetch-site", "cross-site");
        let request = request.header(CONTENT_TYPE, FORM).body(right.clone());
        assert_eq!(request.send().await.unwrap().status(), 403, "{path}");
    }
    staff.cookie = session;
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_key_is_replaced_in_the_console_before_it_is_revoked() {
    let staff = Staff::signed_in().await;
    let now = license_service::clock::Clock::now(&*staff.vendor.clock);
    let kid = staff.vendor.app.keys().list(now)[0].kid.clone();
    let revoke = format!("/console/keys/{kid}/revoke");
    let (status, page) = staff.get(&revoke).await;
    assert_eq!(status, 200);
    assert!(
        page.contains("This is the only key that can sign"),
        "{page}"
    );
    assert!(!page.contains("Revoke key"), "{page}");
    assert!(!page.contains("license-server keys"), "{page}");
    assert!(page.contains("action=\"/console/keys/rotate\""), "{page}");
    assert!(page.contains("name=\"days\" value=\"0\""), "{page}");
    // Confirming the earlier page gives the same answer.
    let (_, page) = staff.post(&revoke, "").await;
    assert!(
        page.contains("This is the only key that can sign"),
        "{page}"
    );
    // The way out.
    assert_eq!(staff.post("/console/keys/rotate", "days=0").await.0, 303);
    let (_, page) = staff.get(&revoke).await;
    assert!(page.contains("Revoke this signing key?"), "{page}");
    assert_eq!(staff.post(&revoke, "").await.0, 303);
    let keys = staff.vendor.app.keys().list(now);
    let revoked = keys.iter().find(|key| key.kid == kid).unwrap();
    assert_eq!(revoked.state, "revoked");
    staff.vendor.end().await;
}

/// Text of others cannot look like other text, and staff's own text is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_change_the_direction_of_text_are_visible() {
    let staff = Staff::signed_in().await;
    let key = staff.vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let body = serde_json::json!({
        "licenseKey": key, "hardwareId": "machine\u{200b}", "installationId": INSTALLATION,
        "installationName": "Gate \u{202e}evil\u{2066}", "installationVersion": "1\u{61c}0",
    });
    staff.vendor.post("activate", body).await;
    let license = staff.vendor.look(&format!("/licenses/{key}")).await;
    let id = license["license"]["id"].as_str().unwrap();
    for path in [
        "/",
        "/console/installations",
        &format!("/console/licenses/{id}"),
    ] {
        let (status, page) = staff.get(path).await;
        assert_eq!(status, 200, "{path}");
        let is_mark = |c: char| "\u{202e}\u{2066}\u{200b}\u{61c}".contains(c);
        assert!(!page.contains(is_mark), "{path}: {page}");
        if path != "/" {
            assert!(
                page.contains("Gate \\u{202e}evil\\u{2066}"),
                "{path}: {page}"
            );
        }
    }
    let issue = "customer=A%E2%80%AEB&plan=standard%401&end=never";
    let (_, page) = staff.post("/console/licenses/new", issue).await;
    assert!(page.contains("<dd>A\\u{202e}B <span"), "{page}");
    assert!(page.contains("value=\"A\u{202e}B\""), "{page}");
    staff.vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_with_a_nul_character_is_refused() {
    let staff = Staff::signed_in().await;
    let key = staff.vendor.issue(IssueRequest::of(Tier::Standard)).await;
    for action in ["free", "release"] {
        let path = format!("/console/licenses/{key}/{action}");
        let asked = staff.get(&format!("{path}?machine=a%00b")).await;
        let confirmed = staff.post(&path, "machine=a%00b").await;
        for (status, page) in [asked, confirmed] {
            assert_eq!(status, 400, "{action}");
            assert!(page.contains("achine contains a NUL character"), "{page}");
        }
    }
    staff.vendor.end().await;
}

/// A browser that translates a page submits the translated text of an option without a value.
#[test]
fn every_option_of_a_form_has_a_value_of_its_own() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut options = 0;
    for name in ["client", "console", "server"] {
        let templates = std::fs::read_dir(crates.join(name).join("templates"));
        for template in templates.into_iter().flatten() {
            let path = template.unwrap().path();
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            for option in text.split("<option").skip(1) {
                assert!(
                    option.starts_with(" value="),
                    "{}: {option}",
                    path.display()
                );
                options += 1;
            }
        }
    }
    assert!(options > 10, "{options}");
}
