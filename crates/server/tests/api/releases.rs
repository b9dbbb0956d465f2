//! Until when a license covers releases, and the documents of releases.

use chrono::{SubsecRound as _, TimeDelta};
use license_core::amendment::{Amendment, Change, Terms, UpdateRule, contents};
use license_core::document::verify_release;
use license_core::release::Release;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use license_server::licensing::look_up::look_up;
use license_server::store::{amendments, licenses};
use license_service::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::harness::Vendor;
use crate::told::Told;

on_both_engines! {
    a_license_is_signed_with_the_updates_in_force;
    the_document_of_a_release_is_signed_by_command;
}

/// Adds amendments of the terms, each in force from so many hours from now on.
async fn amend(vendor: &Vendor, key: &str, terms: &[(i64, Option<&str>, UpdateRule)]) {
    let store = &vendor.app.store;
    let license = look_up(store, key).await.unwrap();
    let (transaction, license) = store.hold(license).await.unwrap();
    let known = amendments::of_license(&transaction, &license.id).await;
    let mut all = known.unwrap();
    let now = vendor.clock.now().trunc_subsecs(0);
    for (hours, until, updates) in terms {
        let terms = Terms {
            updates_until: until.map(|until| until.parse().unwrap()),
            updates: *updates,
            ..contents(&all, now).terms
        };
        let amendment = Amendment {
            number: all.last().unwrap().number + 1,
            author: "test".to_owned(),
            reason: None,
            order: None,
            recorded_at: now,
            effective_at: now + TimeDelta::hours(*hours),
            undoes: None,
            changes: vec![Change::Terms(terms)],
        };
        let inserted = amendments::insert(&transaction, &license.id, &amendment);
        inserted.await.unwrap();
        all.push(amendment);
    }
    let license = licenses::judged(&transaction, license, &all, vendor.permitted())
        .await
        .unwrap();
    licenses::save(&transaction, &license).await.unwrap();
    transaction.commit().await.unwrap();
}

/// `updatesUntil` and `updates` of the answer to a validation.
async fn signed(vendor: &Vendor, key: &str) -> [Value; 2] {
    let Told::License(document, _) = vendor.validate(key, "machine").await else {
        panic!("no license");
    };
    let license = &document.claims().license;
    ["updatesUntil", "updates"].map(|it| license.get(it).cloned().unwrap_or_default())
}

async fn a_license_is_signed_with_the_updates_in_force(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let key = vendor.issue(IssueRequest::of(Tier::Professional)).await;
    vendor.activate(&key, "machine").await;
    assert_eq!(signed(&vendor, &key).await, [Value::Null, Value::Null]);

    let (first, second) = ("2028-04-30T23:59:59Z", "2029-04-30T23:59:59Z");
    let terms = [
        (0, Some(first), UpdateRule::Warn),
        (2, Some(second), UpdateRule::Enforce),
        (4, None, UpdateRule::Enforce),
    ];
    amend(&vendor, &key, &terms).await;
    for expected in [
        [json!(first), json!("warn")],
        [json!(second), json!("enforce")],
        [Value::Null, Value::Null],
    ] {
        assert_eq!(signed(&vendor, &key).await, expected);
        vendor.clock.advance(TimeDelta::hours(2));
    }
    vendor.end().await;
}

async fn the_document_of_a_release_is_signed_by_command(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let sign = ["release", "sign", "--version", "3.2.0", "--released"];
    let signed = json(&vendor, &[&sign[..], &["2026-01-15"]].concat()).await;
    let document = signed["document"].as_str().unwrap();
    let verified = verify_release(document, &vendor.keyring()).unwrap();
    let expected = Release {
        version: "3.2.0".to_owned(),
        released: "2026-01-15T00:00:00Z".parse().unwrap(),
        exempt: false,
    };
    assert_eq!(*verified.release(), expected);

    let file = vendor.storage().state_dir.join("release.jwt");
    let output = ["2026-01-15T12:00:00Z", "--exempt", "--output"];
    let output = [&sign[..], &output, &[file.to_str().unwrap()]].concat();
    let wrote = said(&run(&vendor, &output).await);
    assert!(
        wrote.contains("Wrote the document of release 3.2.0"),
        "{wrote}"
    );
    let written = std::fs::read_to_string(&file).unwrap();
    let verified = verify_release(written.trim(), &vendor.keyring()).unwrap();
    assert!(verified.release().exempt);

    let tomorrow = (SystemClock.now() + TimeDelta::days(1)).to_rfc3339();
    for (arguments, code, expected) in [
        (&[&sign[..], &[&tomorrow]].concat(), 1, "in the future"),
        (&[&sign[..], &["soon"]].concat(), 2, "'soon' is not a date"),
        (
            &[
                "release",
                "sign",
                "--version",
                "v3",
                "--released",
                "2026-01-15",
            ]
            .to_vec(),
            2,
            "'v3' is not a version",
        ),
    ] {
        let refused = run(&vendor, arguments).await;
        assert_eq!(refused.status.code(), Some(code));
        assert!(said(&refused).contains(expected), "{}", said(&refused));
    }
    let audit = vendor.audit("").await;
    let entries = audit.as_array().unwrap().iter();
    let signed: Vec<_> = entries
        .filter(|it| it["action"] == "release_signed")
        .collect();
    assert_eq!(signed.len(), 2, "{audit}");
    assert_eq!(signed[0]["subject"], "3.2.0");
    let details = json!({"released": "2026-01-15T12:00:00Z", "exempt": true});
    assert_eq!(signed[0]["details"], details);
    vendor.end().await;
}
