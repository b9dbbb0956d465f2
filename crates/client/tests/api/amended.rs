//! A license that the vendor's staff amend, at the site that uses it.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::entitlement::Quantity;
use license_core::offline::OfflineRequest;
use license_core::plan::PlanChoice;
use license_server::audit::Actor;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::offline::{read, sign};
use license_server::licensing::plan_file::PlanFile;
use license_server::licensing::plans::apply;
use license_service::clock::Clock as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::Site;
use crate::vendor::{ADMIN_TOKEN, Vendor};

const ANALYTICS: &str = "module.analytics_advanced";

on_both_engines! {
    an_amendment_is_at_the_site_on_the_right_second_without_a_new_key;
    a_site_without_internet_gets_an_amendment_with_its_next_file;
    a_new_countable_thing_needs_only_a_plan_file;
    the_site_shows_what_changed_last_and_when;
    a_license_that_starts_later_says_when;
}

/// A site with the license of a customer who calls later.
async fn site(engine: Engine, vendor: &Vendor) -> (Site, String) {
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let key = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    (site, key)
}

/// What the vendor's staff amend by their API.
async fn amend(vendor: &Vendor, site: &Site, key: &str, body: Value) -> Value {
    let url = format!("{}/admin/licenses/{key}/amendments", vendor.url);
    let request = site.http.post(url).bearer_auth(ADMIN_TOKEN).json(&body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.json().await.unwrap()
}

/// "32 more cameras from the 25th, and analytics on the 25th and 26th."
fn call() -> Value {
    json!({
        "add": [
            {"key": "cameras", "quantity": 32, "from": "2026-11-25"},
            {"key": ANALYTICS, "from": "2026-11-25", "until": "2026-11-26"},
        ],
        "customer": "Harbour Ltd", "order": "4711", "reason": "The fair",
    })
}

/// How many cameras the site may have, and why analytics is on or off.
async fn in_force(site: &Site) -> (Value, String) {
    let body = json!({ "resource": "cameras" });
    let (_, cameras) = site.post("/api/license/limits/check", Some(body)).await;
    let body = json!({ "featureKey": ANALYTICS });
    let (_, answer) = site.post("/api/license/feature/check", Some(body)).await;
    let reason = answer["reason"].as_str().unwrap().to_owned();
    (cameras["limit"].clone(), reason)
}

fn expected(cameras: u64, reason: &str) -> (Value, String) {
    (cameras.into(), reason.to_owned())
}

/// The seconds around which the amendment of [`call`] changes something. `on` is why analytics is
/// on.
async fn follow(site: &Site, on: &str) {
    let second = TimeDelta::seconds(1);
    let start: DateTime<Utc> = "2026-11-25T00:00:00Z".parse().unwrap();
    let end = start + TimeDelta::days(2) - second;
    for (at, expected) in [
        (start - second, expected(16, "starts_later")),
        (start, expected(48, on)),
        (end, expected(48, on)),
        (end + second, expected(48, "ended")),
    ] {
        site.advance(at - site.now());
        assert_eq!(in_force(site).await, expected, "{at}");
        assert!(site.is_available("module.map_view").await);
        assert!(site.is_available("module.live_view").await);
    }
}

async fn an_amendment_is_at_the_site_on_the_right_second_without_a_new_key(engine: Engine) {
    let mut vendor = Vendor::start().await;
    let (site, key) = site(engine, &vendor).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    assert_eq!(in_force(&site).await, expected(16, "not_in_license"));

    let made = amend(&vendor, &site, &key, call()).await;
    assert_eq!(made["installations"].as_array().unwrap().len(), 1);
    assert_eq!(in_force(&site).await, expected(16, "not_in_license"));
    assert_eq!(site.validate().await["valid"], true);
    let status = site.status().await;
    assert_eq!(
        (&status["licenseKey"], &status["customer"]),
        (&json!(key), &json!("Harbour Ltd"))
    );
    let status = site.http.get(format!("{}/api/license/status", site.url));
    let status = status.header("x-forwarded-for", "192.0.2.7");
    let status: Value = status.send().await.unwrap().json().await.unwrap();
    assert_eq!(status["customer"], Value::Null, "not for everyone");
    // From here on the site has no contact.
    vendor.go_away().await;
    follow(&site, "grace_period").await;

    vendor.advance(site.now() - vendor.clock.now());
    vendor.come_back().await;
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(in_force(&site).await, expected(48, "not_in_license"));
    amend(&vendor, &site, &key, json!({"undoes": 2})).await;
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(in_force(&site).await, expected(16, "not_in_license"));
    site.end().await;
}

async fn a_site_without_internet_gets_an_amendment_with_its_next_file(engine: Engine) {
    let vendor = Vendor::start().await;
    let (site, key) = site(engine, &vendor).await;
    amend(&vendor, &site, &key, call()).await;
    let body = json!({"purpose": "activate", "licenseKey": key});
    let (_, answer) = site.post("/api/license/offline/request", Some(body)).await;
    let request = answer["file"].as_str().unwrap();
    assert!(OfflineRequest::from_file(request).unwrap().entitlements);
    let days = TimeDelta::days(90);
    let signing = sign(
        &vendor.app,
        read(request).unwrap(),
        days,
        Actor::CommandLine,
    );
    let body = json!({"file": signing.await.unwrap().file});
    let (status, answer) = site.post("/api/license/offline/import", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    follow(&site, "licensed").await;
    // The whole lease: the site needs no other file to stop in time.
    site.advance(TimeDelta::days(80));
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

/// Reports used lanes, and asks for one more.
async fn ask_for_lane(site: &Site, used: u64) -> (Value, Value) {
    let report = json!({"source": "gate", "counts": {"anpr_lanes": used}});
    let (status, answer) = site.put("/api/license/usage", report).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let body = json!({"resource": "anpr_lanes", "requested": 1});
    let (_, mut answer) = site.post("/api/license/limits/check", Some(body)).await;
    (answer["allowed"].take(), answer["reason"].take())
}

async fn a_new_countable_thing_needs_only_a_plan_file(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let file = PlanFile::parse(include_str!("../../../../examples/plans.toml")).unwrap();
    let change = vendor.app.change(Actor::CommandLine);
    apply(&vendor.app.store, &file, &change, true)
        .await
        .unwrap();
    let plan = "parking".parse::<PlanChoice>().unwrap();
    let key = vendor.issue(IssueRequest::of(plan)).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);

    let within = (json!(true), json!("within_limit"));
    assert_eq!(ask_for_lane(&site, 7).await, within);
    let full = (json!(false), json!("limit_reached"));
    assert_eq!(ask_for_lane(&site, 8).await, full);
    // A larger plan reaches the site with its next validation.
    let mut larger = file;
    larger.plans.get_mut("parking").unwrap().entitlements[5].quantity = Some(Quantity::Of(12));
    apply(&vendor.app.store, &larger, &change, true)
        .await
        .unwrap();
    amend(&vendor, &site, &key, json!({"plan": "parking@2"})).await;
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(ask_for_lane(&site, 8).await, within);
    assert_eq!(ask_for_lane(&site, 12).await, full);
    // The vendor sees what the site uses, and that nothing else is known.
    let (_, answer) = site.post("/api/license/heartbeat", None).await;
    assert_eq!(answer["success"], true, "{answer}");
    let url = format!("{}/admin/installations", vendor.url);
    let request = site.http.get(url).bearer_auth(ADMIN_TOKEN);
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    let seen = &seen["installations"][0];
    let usage = json!({
        "cameras": null, "users": null, "storageGb": null, "counts": {"anpr_lanes": 12},
    });
    assert_eq!(
        (
            &seen["usage"],
            &seen["maxCounts"]["anpr_lanes"],
            &seen["overLimit"]
        ),
        (&usage, &json!(12), &json!(false))
    );
    site.end().await;
}

/// When the license last changed, and how, as the status shows it.
async fn last_change(site: &Site) -> (String, Vec<String>) {
    let change = &site.status().await["lastChange"];
    let changes = change["changes"].as_array().into_iter().flatten();
    let messages = changes.map(|it| it["message"].as_str().unwrap().to_owned());
    let at = change["at"].as_str().unwrap_or_default();
    (at.chars().take(19).collect(), messages.collect())
}

/// What callers see that may not make changes.
async fn seen_by_strangers(site: &Site, path: &str) -> String {
    let request = site.http.get(format!("{}{path}", site.url));
    let request = request.header("x-forwarded-for", "192.0.2.7");
    request.send().await.unwrap().text().await.unwrap()
}

async fn the_site_shows_what_changed_last_and_when(engine: Engine) {
    let vendor = Vendor::start().await;
    let (mut site, key) = site(engine, &vendor).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    assert_eq!(site.status().await["lastChange"], Value::Null);

    amend(&vendor, &site, &key, call()).await;
    assert_eq!(site.validate().await["valid"], true);
    let learned = site.now().format("%Y-%m-%dT%H:%M:%S").to_string();
    let renamed = vec!["licensed to Harbour Ltd (before: none)".to_owned()];
    assert_eq!(last_change(&site).await, (learned.clone(), renamed.clone()));
    for path in ["/api/license/status", "/"] {
        let seen = seen_by_strangers(&site, path).await;
        assert!(!seen.contains("Harbour"), "{path}: {seen}");
    }
    // The same after a restart, and after a validation that brings nothing else.
    site.restart().await;
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(last_change(&site).await, (learned, renamed));

    // What was dated starts without a new document, and is known from then on.
    let start: DateTime<Utc> = "2026-11-25T00:00:00Z".parse().unwrap();
    site.advance(start - site.now());
    let started = [
        "cameras: 48 (before: 16)",
        "module.analytics_advanced added",
    ];
    let started = (
        "2026-11-25T00:00:00".to_owned(),
        started.map(str::to_owned).to_vec(),
    );
    assert_eq!(last_change(&site).await, started);
    vendor.advance(site.now() - vendor.clock.now());
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(last_change(&site).await, started);
    let page = site.http.get(format!("{}/", site.url)).send().await;
    let page = page.unwrap().text().await.unwrap();
    let card = page.split("id=\"last-change\"").nth(1).unwrap();
    let card = card.split("</dd>").next().unwrap();
    assert!(
        card.contains("2026-11-25") && card.contains(&started.1[0]),
        "{card}"
    );

    // An addition that is taken back is a change as well.
    amend(&vendor, &site, &key, json!({"undoes": 2})).await;
    assert_eq!(site.validate().await["valid"], true);
    let (at, changes) = last_change(&site).await;
    assert!(started.0 <= at, "{at}");
    assert_eq!(changes[0], "cameras: 16 (before: 48)");
    // Without a license there is nothing to show.
    let (status, _) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(site.status().await["lastChange"], Value::Null);
    site.end().await;
}

async fn a_license_that_starts_later_says_when(engine: Engine) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(engine, &vendor.url, &flags).await;
    let start: DateTime<Utc> = "2026-11-25T00:00:00Z".parse().unwrap();
    let request = IssueRequest {
        starts_at: Some(start),
        ..IssueRequest::of(Tier::Standard)
    };
    let key = vendor.issue(request).await;
    assert_eq!(site.activate(&key).await.0, StatusCode::OK);
    let title = async || {
        let page = site.http.get(format!("{}/", site.url)).send().await;
        let page = page.unwrap().text().await.unwrap();
        let title = page.split("<h1 id=\"standing\">").nth(1).unwrap();
        title.split("</h1>").next().unwrap().to_owned()
    };
    let status = site.status().await;
    let found = (&status["standing"], &status["startsAt"]);
    assert_eq!(
        found,
        (&json!("active"), &json!("2026-11-25T00:00:00.000000"))
    );
    assert_eq!(
        title().await,
        "The license starts on 25 November 2026, 00:00 UTC"
    );
    assert!(site.is_available("module.live_view").await);
    assert!(!site.is_available("module.map_view").await);
    site.advance(start - site.now());
    vendor.advance(site.now() - vendor.clock.now());
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(site.status().await["startsAt"], Value::Null);
    assert_eq!(title().await, "Everything is OK");
    assert!(site.is_available("module.map_view").await);
    site.end().await;
}
