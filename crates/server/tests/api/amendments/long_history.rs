//! Long histories are described in bounded pieces, and evaluated while nothing is locked.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use license_core::amendment::{Amendment, Change, TermChanges};
use license_core::entitlement::Entitlement;
use license_core::feature::FeatureKey;
use license_server::audit::{Action, Actor};
use license_server::licensing::evaluation::evaluated;
use license_server::licensing::exports::{AmendmentsExport, CsvPieces, Pieces as _};
use license_server::store::{amendments, customers};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{amend, license};
use crate::add_ons::{active, cameras, word};
use crate::database::{Engine, on_both_engines};
use crate::exports::rows;
use crate::harness::Vendor;

on_both_engines! {
    the_answer_to_an_old_request_names_the_newest_amendments;
    an_export_tells_each_amendment_once_license_by_license;
    pages_are_bounded_by_bytes_as_well_as_by_rows;
    names_are_read_however_many_and_however_often_they_are_asked_for;
    nothing_is_locked_while_the_amendment_of_a_site_waits_for_its_evaluation;
    a_preview_waits_for_no_lock_of_an_add_on_key_or_a_license;
}

/// Records amendments of a license that each change its seats, up to this number.
async fn lengthen(vendor: &Vendor, key: &str, last: u32) {
    let (db, id) = (vendor.app.store.reader(), license(vendor, key).await.id);
    let known = amendments::of_license(db, &id).await.unwrap();
    let first = known.last().unwrap();
    for number in first.number + 1..=last {
        let changes = TermChanges {
            seats: Some(number),
            ..TermChanges::default()
        };
        let amendment = Amendment {
            number,
            changes: vec![Change::TermChanges(changes)],
            ..first.clone()
        };
        amendments::insert(db, &id, &amendment).await.unwrap();
    }
}

async fn the_answer_to_an_old_request_names_the_newest_amendments(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    lengthen(&vendor, &key, 60).await;
    for (after, expected) in [
        (1, "49 earlier amendments; 51 by"),
        (49, "1 earlier amendment; 51 by"),
    ] {
        let body = json!({"after": after, "seats": 2});
        let (status, answer) = amend(&vendor, &key, body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains("; 60 by command line (seats 60)"),
            "{message}"
        );
        assert!(!message.contains("seats 50)"), "{message}");
    }
    let (_, answer) = amend(&vendor, &key, json!({"after": 50, "seats": 2})).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(": 51 by command line (seats 51)"),
        "{message}"
    );
    vendor.end().await;
}

async fn an_export_tells_each_amendment_once_license_by_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let store = &vendor.app.store;
    let lengths = [1, 700, 3, 800];
    let mut expected = BTreeMap::new();
    for length in lengths {
        let key = active(&vendor).await;
        lengthen(&vendor, &key, length).await;
        expected.insert(license(&vendor, &key).await.id, length);
    }
    let mut pieces = CsvPieces::of(AmendmentsExport::new(None));
    let mut text = Vec::new();
    while let Some(piece) = pieces.next(store).await.unwrap() {
        text.extend(piece);
    }
    let all = rows(&String::from_utf8(text).unwrap());
    let mut told = all.iter();
    for (id, length) in expected {
        for number in 1..=length {
            let row = told.next().unwrap();
            assert_eq!(
                (&row["licenseId"], &*row["number"]),
                (&id, &*number.to_string())
            );
            let seats = format!("seats {number}");
            assert!(number == 1 || row["changes"] == seats, "{row:?}");
        }
    }
    assert!(told.next().is_none());
    vendor.end().await;
}

async fn names_are_read_however_many_and_however_often_they_are_asked_for(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let db = vendor.app.store.reader();
    let (status, answer) = vendor
        .admin(
            reqwest::Method::POST,
            "/customers",
            json!({"name": "Harbour Ltd"}),
        )
        .await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let id = answer["id"].as_str().unwrap();
    let many = (0..40_000).map(|number| format!("no-customer-{number}"));
    let often = (0..40_000).map(|_| id.to_owned());
    let names = customers::names(db, many.chain(often)).await.unwrap();
    assert_eq!(
        names,
        BTreeMap::from([(id.to_owned(), "Harbour Ltd".to_owned())])
    );
    vendor.end().await;
}

/// The sizes of the pages of a list with all its rows.
async fn pages(vendor: &Vendor, path: &str, rows: &str) -> Vec<usize> {
    let (mut sizes, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = vendor.look(&format!("{path}limit=500{cursor}")).await;
        sizes.push(page[rows].as_array().unwrap().len());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return sizes,
        }
    }
}

async fn pages_are_bounded_by_bytes_as_well_as_by_rows(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let (db, id) = (vendor.app.store.reader(), license(&vendor, &key).await.id);
    let first = amendments::of_license(db, &id).await.unwrap().remove(0);
    let granted = FeatureKey::parse(&"x".repeat(100)).unwrap();
    let granted = Change::Grant(Entitlement::feature(granted));
    let change = vendor.app.change(Actor::CommandLine);
    let of_license = license(&vendor, &key).await;
    for number in 2..=40 {
        let amendment = Amendment {
            number,
            changes: vec![granted.clone(); 1000],
            ..first.clone()
        };
        amendments::insert(db, &id, &amendment).await.unwrap();
        let details = json!({"text": "x".repeat(150_000)});
        let noted = change.note(db, Action::Amended, &of_license, details);
        noted.await.unwrap();
    }
    let log = format!("/audit?license={key}&");
    for (path, rows, total) in [
        (format!("/licenses/{key}/amendments?"), "amendments", 40),
        (log, "entries", 41),
    ] {
        let sizes = pages(&vendor, &path, rows).await;
        assert_eq!(sizes.iter().sum::<usize>(), total, "{path} {sizes:?}");
        assert!(sizes.len() > 2, "{path} {sizes:?}");
    }
    vendor.end().await;
}

/// Takes all turns of sites to evaluate something, until these are dropped.
async fn occupied(vendor: &Vendor) -> Vec<Sender<()>> {
    let mut occupied = Vec::new();
    for _ in 0..2 {
        let (release, released) = channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let store = vendor.app.store.clone();
        tokio::spawn(async move {
            let work = move |_: &_| {
                begin.send(()).unwrap();
                released.recv().unwrap_err();
            };
            evaluated(&store, work).await.unwrap();
        });
        begun.await.unwrap();
        occupied.push(release);
    }
    occupied
}

async fn nothing_is_locked_while_the_amendment_of_a_site_waits_for_its_evaluation(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let other = active(&vendor).await;
    let add_on = cameras(&vendor, 16).await;
    let occupied = occupied(&vendor).await;
    let redeemed = word(&vendor, &key, &add_on, "machine");
    let others = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(50)).await;
            let start = Instant::now();
            let known = license(&vendor, &key).await;
            drop(vendor.app.store.hold(known).await.unwrap());
            // Calls of one license wait for each other, regardless of what is locked.
            assert_eq!(vendor.validate(&other, "machine").await.word(), "yes");
            // Staff have turns of their own.
            let body = json!({"preview": true, "seats": 7});
            assert_eq!(amend(&vendor, &key, body).await.0, StatusCode::OK);
            assert!(
                start.elapsed() < Duration::from_secs(2),
                "{:?}",
                start.elapsed()
            );
        }
        drop(occupied);
    };
    let (redeemed, ()) = tokio::join!(redeemed, others);
    assert_eq!(redeemed, "redeemed");
    vendor.end().await;
}

async fn a_preview_waits_for_no_lock_of_an_add_on_key_or_a_license(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = active(&vendor).await;
    let (first, second) = (cameras(&vendor, 16).await, cameras(&vendor, 16).await);
    assert_eq!(word(&vendor, &key, &first, "machine").await, "redeemed");
    let known = license(&vendor, &key).await;
    let (held, _) = vendor.app.store.hold(known).await.unwrap();
    let start = Instant::now();
    let redeem = (
        format!("/licenses/{key}/redeem"),
        json!({"addOnKey": second, "preview": true}),
    );
    let refund = (format!("/addons/{first}/refund"), json!({"preview": true}));
    for (path, body) in [redeem, refund] {
        let (status, answer) = vendor.admin(reqwest::Method::POST, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["amended"]["amendment"]["number"], 3, "{answer}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    drop(held);
    vendor.end().await;
}
