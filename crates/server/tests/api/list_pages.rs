//! Pages of lists contain each row one time, even if rows are added between two pages.

mod altered;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use license_core::amendment::TermChanges;
use license_core::seat::Overlap;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::seats::{Seat, count_running_freed, running_freed, save};
use license_service::clock::Clock as _;
use license_service::cursor::to_text;
use serde_json::{Value, json};

use crate::database::{Engine, on_both_engines};
use crate::harness::{ADMIN_TOKEN, Vendor};
use crate::lists::assert_refused;

on_both_engines! {
    pages_of_licenses_have_each_license_one_time_in_every_order;
    pages_of_installations_have_each_installation_one_time_in_either_order;
    pages_of_the_audit_log_are_not_shifted_by_new_entries;
    seats_are_shown_in_pages_however_many_there_are;
}

/// One field of all rows of a list, page by page.
async fn paged(vendor: &Vendor, path: &str, rows: &str, field: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut page = vendor.look(path).await;
    loop {
        let shown = page[rows].as_array().unwrap();
        assert!(!shown.is_empty(), "{path}: an empty page after {found:?}");
        assert!(
            found.len() < 100,
            "{path}: there is no last page: {found:?}"
        );
        found.extend(
            shown
                .iter()
                .map(|it| it[field].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["nextCursor"].as_str() else {
            return found;
        };
        page = vendor.look(&format!("{path}&cursor={cursor}")).await;
    }
}

async fn pages_of_licenses_have_each_license_one_time_in_every_order(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    // Several have the same customer, the same instants and the same end, or none.
    for (customer, days) in [
        ("Harbour", Some(10)),
        ("Museum", None),
        ("Harbour", Some(3)),
        ("", None),
        ("Museum", Some(10)),
        ("Østerbro", Some(10)),
        ("harbour", None),
    ] {
        let now = vendor.app.clock.now();
        let request = IssueRequest {
            customer: customer.to_owned(),
            expires_at: days.map(|days| now + TimeDelta::days(days)),
            ..IssueRequest::of(Tier::Standard)
        };
        vendor.issue(request).await;
    }
    for sort in ["createdAt", "updatedAt", "customer", "expiresAt"] {
        for order in ["asc", "desc"] {
            let path = format!("/licenses?sort={sort}&order={order}");
            let whole = paged(&vendor, &path, "licenses", "id").await;
            assert_eq!(whole.len(), 7, "{path}");
            for limit in 1..=4 {
                let path = format!("{path}&limit={limit}");
                let found = paged(&vendor, &path, "licenses", "id").await;
                assert_eq!(found, whole, "{path}");
            }
        }
    }

    // A license that is issued between two pages shifts nothing.
    let first = vendor.look("/licenses?limit=3").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    vendor.clock.advance(TimeDelta::minutes(1));
    vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let whole = paged(&vendor, "/licenses?limit=500", "licenses", "id").await;
    let second = vendor
        .look(&format!("/licenses?limit=3&cursor={cursor}"))
        .await;
    let second = second["licenses"].as_array().unwrap().iter();
    let second: Vec<_> = second.map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(second, whole[4..7]);

    // A cursor belongs to its sort and order, and to no other list.
    for path in [
        "/licenses?order=asc",
        "/licenses?sort=updatedAt",
        "/installations?limit=3",
        "/audit?limit=3",
    ] {
        assert_refused(&vendor, &format!("{path}&cursor={cursor}")).await;
    }
    let far = json!({"createdAt": "+262142-01-01T00:00:00Z"});
    let far = to_text(&json!({"place": far, "order": "desc", "id": "x"}));
    assert_refused(&vendor, &format!("/licenses?cursor={far}")).await;
    vendor.end().await;
}

async fn pages_of_installations_have_each_installation_one_time_in_either_order(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor
        .issue(IssueRequest {
            terms: TermChanges {
                seats: Some(5),
                ..TermChanges::default()
            },
            ..IssueRequest::of(Tier::Standard)
        })
        .await;
    // Two call in the same instant.
    for (machine, minutes) in [("a", 1), ("b", 0), ("c", 1), ("d", 0), ("e", 0)] {
        assert_eq!(vendor.activate(&key, machine).await.word(), "yes");
        vendor.clock.advance(TimeDelta::minutes(minutes));
    }
    for (query, expected) in [
        ("order=asc", "abcde"),
        ("order=desc", "edcba"),
        // These are judged one by one.
        ("order=asc&standing=active", "abcde"),
        ("order=desc&overLimit=false", "edcba"),
    ] {
        for limit in 1..=5 {
            let path = format!("/installations?{query}&limit={limit}");
            let found = paged(&vendor, &path, "installations", "hardwareId").await;
            assert_eq!(found.concat(), expected, "{path}");
        }
    }
    let first = vendor.look("/installations?limit=2").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    // One that was shown calls again, and is shown again; none is left out.
    vendor.clock.advance(TimeDelta::minutes(1));
    assert_eq!(vendor.validate(&key, "a").await.word(), "yes");
    let path = format!("/installations?limit=500&cursor={cursor}");
    let rest = paged(&vendor, &path, "installations", "hardwareId").await;
    assert_eq!(rest.concat(), "cdea");
    assert_refused(
        &vendor,
        &format!("/installations?order=desc&cursor={cursor}"),
    )
    .await;
    vendor.end().await;
}

async fn pages_of_the_audit_log_are_not_shifted_by_new_entries(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    for _ in 0..4 {
        vendor.issue(IssueRequest::of(Tier::Standard)).await;
    }
    let whole = vendor.audit("").await;
    let numbers = |entries: &Value| -> Vec<i64> {
        let entries = entries.as_array().unwrap().iter();
        entries.map(|it| it["number"].as_i64().unwrap()).collect()
    };
    let first = vendor.look("/audit?limit=2").await;
    assert_eq!(numbers(&first["entries"]), numbers(&whole)[..2]);
    vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = vendor
        .look(&format!("/audit?limit=500&cursor={cursor}"))
        .await;
    assert_eq!(numbers(&second["entries"]), numbers(&whole)[2..]);
    assert_eq!(second["nextCursor"], Value::Null);
    for wrong in ["before=3", "limit=many", "cursor=3"] {
        assert_refused(&vendor, &format!("/audit?{wrong}")).await;
    }
    vendor.end().await;
}

async fn seats_are_shown_in_pages_however_many_there_are(engine: Engine) {
    let vendor = Vendor::start(engine).await;
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
    for number in 0..620 {
        let machine = format!("machine-{number:04}-{}", "x".repeat(200));
        let mut seat = Seat::new(&license.id, &machine, now);
        seat.installation_name = "n".repeat(255);
        seat.freed_at = (number % 2 == 0).then_some(now);
        seat.signed_until = Some(now + TimeDelta::hours(96));
        seat.overlap = (number % 31 != 0).then_some(Overlap::Moved);
        save(&transaction, &seat).await.unwrap();
    }
    transaction.commit().await.unwrap();
    // Those that count come first, however many there are.
    let db = vendor.app.store.reader();
    let running = running_freed(db, &license.id, now, 20).await.unwrap();
    let counting = running.iter().filter(|seat| seat.overlap.is_none());
    assert_eq!(counting.count(), 10);
    assert!(running[..10].iter().all(|seat| seat.overlap.is_none()));
    let all = count_running_freed(db, &license.id, now).await.unwrap();
    assert_eq!(all, 310);
    let redirects = reqwest::redirect::Policy::none();
    let browser = reqwest::Client::builder().no_proxy().redirect(redirects);
    let browser = browser.build().unwrap();
    let sign_in = browser.post(format!("{}/console/sign-in", vendor.url));
    let sign_in = sign_in.header("content-type", "application/x-www-form-urlencoded");
    let signed_in = sign_in.body(format!("token={ADMIN_TOKEN}")).send().await;
    let cookie = signed_in.unwrap().headers()["set-cookie"].clone();
    let cookie = cookie
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let page = browser.get(format!("{}/console/licenses/{}", vendor.url, license.id));
    let page = page.header("cookie", cookie).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(
        page.contains("<h3>Freed, lease still valid: 50 of 310</h3>"),
        "{page}"
    );
    assert_eq!(
        page.matches("<span class=\"chip wait\">Still counts</span>")
            .count(),
        10
    );

    let shown = vendor.look(&format!("/licenses/{key}")).await;
    assert_eq!(shown["seats"].as_array().unwrap().len(), 50);
    assert_eq!(
        (&shown["seatsTotal"], &shown["seatsHeld"]),
        (&json!(620), &json!(310))
    );
    // All of them, page after page, each once.
    let mut found = BTreeSet::new();
    let mut cursor = Value::Null;
    for page in 1.. {
        let after = cursor
            .as_str()
            .map(|it| format!("&cursor={it}"))
            .unwrap_or_default();
        let path = format!("/licenses/{key}/seats?state=freed&limit=50{after}");
        let answer = vendor.look(&path).await;
        assert_eq!(answer["total"], 310);
        for seat in answer["seats"].as_array().unwrap() {
            assert!(seat["freedAt"].is_string());
            assert!(found.insert(seat["hardwareId"].to_string()));
        }
        cursor = answer["nextCursor"].clone();
        if cursor.is_null() {
            assert_eq!((page, found.len()), (7, 310));
            break;
        }
    }
    // An answer always has an end.
    for (limit, rows) in [("", 50), ("?limit=1", 1), ("?limit=500", 500)] {
        let page = vendor.look(&format!("/licenses/{key}/seats{limit}")).await;
        assert_eq!(page["seats"].as_array().unwrap().len(), rows);
        assert!(page["nextCursor"].is_string());
    }
    for limit in ["0", "501", "100000000", "5000000000"] {
        assert_refused(&vendor, &format!("/licenses/{key}/seats?limit={limit}")).await;
    }
    vendor.end().await;
}
