//! Which releases a license covers, and what is off at a site that runs another one.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::announcement::{announce, constrained_by};
use license_core::document::{DocumentError, ReleaseClaims, VerifiedRelease, verify_release};
use license_core::feature::{CORE_FEATURES, FeatureKey};
use license_core::gate::{Entitlements, decide};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::release::{
    Consequence, Coverage, PRODUCT, Release, coverage, parse_released, parse_version,
};
use license_core::standing::{Policy, standing};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::signer::{
    Signer, T0, at, exact, just_after, license_claims, license_object, object, release_claims,
};

const MAP_VIEW: &str = "module.map_view";
const UNLISTED: &str = "module.health_monitoring";
const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};

/// The default license with other members.
fn license(change: Value) -> License {
    let mut license = license_object();
    license.extend(object(change));
    License::new(license)
}

fn released(at: DateTime<Utc>) -> Release {
    Release {
        version: "3.2.0".to_owned(),
        released: at,
        exempt: false,
    }
}

fn verified(claims: &ReleaseClaims) -> Result<VerifiedRelease, DocumentError> {
    let vendor = Signer::vendor();
    verify_release(&vendor.release(claims), &vendor.keyring())
}

#[test]
fn a_license_covers_what_was_released_until_its_last_second() {
    let until = license(json!({"updatesUntil": at(0)}));
    let second = TimeDelta::seconds(1);
    let not_covered = Coverage::NotCovered { until: at(0) };
    for (release, expected) in [
        (released(at(0) - second), Coverage::Covered),
        (released(at(0)), Coverage::Covered),
        (released(at(0) + second), not_covered),
    ] {
        assert_eq!(coverage(Some(&until), &release), expected, "{release:?}");
        let exempt = Release {
            exempt: true,
            ..release
        };
        assert_eq!(coverage(Some(&until), &exempt), Coverage::Covered);
    }
    let without = license(json!({}));
    assert_eq!(
        coverage(Some(&without), &released(at(0))),
        Coverage::Covered
    );
}

#[test]
fn nothing_follows_from_what_is_not_known() {
    let odd = license(json!({"updatesUntil": "soon", "updates": "enforce"}));
    assert_eq!(odd.unreadable(), ["updatesUntil"]);
    for license in [None, Some(&odd)] {
        assert_eq!(coverage(license, &released(at(0))), Coverage::Unknown);
        assert_eq!(
            Consequence::of(license, &released(at(0))),
            Consequence::None
        );
    }
    let rule = |rule: Value| license(json!({"updatesUntil": at(0), "updates": rule}));
    for (updates, expected, unreadable) in [
        (json!("enforce"), Consequence::FeaturesOff, vec![]),
        (json!("warn"), Consequence::Warning, vec![]),
        (Value::Null, Consequence::Warning, vec![]),
        (json!("Enforce"), Consequence::Warning, vec!["updates"]),
        (json!(true), Consequence::Warning, vec!["updates"]),
    ] {
        let license = rule(updates);
        let release = released(at(1));
        assert_eq!(Consequence::of(Some(&license), &release), expected);
        assert_eq!(license.unreadable(), unreadable);
        assert_eq!(
            Consequence::of(Some(&license), &released(at(0))),
            Consequence::None
        );
    }
}

#[test]
fn versions_and_dates_are_read_strictly() {
    for version in ["3", "3.2.0", "2027.1-rc.1+build_7", &"3".repeat(64)] {
        assert_eq!(parse_version(version).as_deref(), Ok(version));
    }
    for other in [
        "",
        "v3",
        " 3.2",
        "3.2 ",
        "3,2",
        "3/2",
        "３",
        &"3".repeat(65),
    ] {
        let error = parse_version(other).unwrap_err().to_string();
        assert!(error.contains("is not a version"), "{error}");
    }
    for (date, expected) in [
        ("2026-03-01", T0),
        ("2026-03-01T00:00:00Z", T0),
        ("2026-03-01T02:00:00.9+02:00", T0),
    ] {
        assert_eq!(parse_released(date), Ok(expected), "{date}");
    }
    for other in [
        "",
        "soon",
        "2026-3-1",
        "2026-13-01",
        "2026-03-01T00:00",
        "1772323200",
    ] {
        let error = parse_released(other).unwrap_err().to_string();
        assert!(error.contains("is not a date"), "{error}");
    }
}

#[test]
fn a_document_says_what_was_signed() {
    let signed = verified(&release_claims()).unwrap();
    let Release {
        version,
        released,
        exempt,
    } = signed.release();
    assert_eq!((version.as_str(), *released, *exempt), ("3.2.0", T0, false));
    let claims = |change: fn(&mut ReleaseClaims)| {
        let mut claims = release_claims();
        change(&mut claims);
        verified(&claims)
    };
    assert!(claims(|it| it.exempt = true).unwrap().release().exempt);
    assert_eq!(
        claims(|it| it.product = format!("{PRODUCT}-2")),
        Err(DocumentError::OtherProduct(format!("{PRODUCT}-2")))
    );
    assert_eq!(
        claims(|it| it.released = just_after(0)),
        Err(DocumentError::TimesOutOfOrder)
    );
    let bad_version = claims(|it| it.version = "three".to_owned());
    assert!(matches!(bad_version, Err(DocumentError::Payload(_))));
    let vendor = Signer::vendor();
    let other = Signer::untrusted();
    for (document, expected) in [
        (
            other.release(&release_claims()),
            DocumentError::UnknownKeyId(other.kid),
        ),
        (
            Signer::untrusted()
                .posing_as(&vendor)
                .release(&release_claims()),
            DocumentError::SignatureMismatch,
        ),
        (
            vendor.license(&license_claims()),
            DocumentError::Type {
                expected: "foxsight-release+jwt",
                found: "foxsight-license+jwt".to_owned(),
            },
        ),
    ] {
        assert_eq!(verify_release(&document, &vendor.keyring()), Err(expected));
    }
}

#[test]
fn a_release_that_is_not_covered_is_announced_and_no_gate_allows_more() {
    let vendor = Signer::vendor();
    let mut claims = license_claims();
    let terms = json!({"updatesUntil": T0 - TimeDelta::seconds(1), "updates": "enforce"});
    claims.license.extend(object(terms));
    let evidence = vendor.evidence(&claims);
    let lease = evidence.lease.as_ref().unwrap();
    let installed = verified(&release_claims()).unwrap();
    let entitlements = Entitlements::new(lease.license().granted(), BTreeSet::new())
        .with_installed_release(Some(lease.license()), Some(&installed));
    let known = [MAP_VIEW, UNLISTED, CORE_FEATURES[0]];
    let known = known.map(|key| FeatureKey::parse(key).unwrap()).into();
    let told = announce(&evidence, &entitlements, &POLICY, &known, exact(T0));
    let signed =
        license_core::document::verify_license(&vendor.license(&claims), &vendor.keyring());
    for told in [
        told.clone(),
        constrained_by(&told, Some(&signed.unwrap()), exact(T0)),
    ] {
        for (hour, off) in [
            (0, "update_not_covered"),
            (95, "update_not_covered"),
            (97, "grace_period_expired"),
        ] {
            let (_, features, _) = told.state(at(hour));
            let say = |key: &str| (features[key].available, features[key].reason.as_str());
            assert_eq!(say(MAP_VIEW), (false, off), "{hour}");
            assert_eq!(say(UNLISTED), (false, "not_in_license"));
            assert_eq!(say(CORE_FEATURES[0]), (true, "core"));
        }
    }
}

proptest! {
    #[test]
    fn only_an_uncovered_release_with_a_document_switches_off_and_never_core_features(
        released in -100..100_i64, until in prop::option::of(-100..100_i64),
        exempt in any::<bool>(), has_document in any::<bool>(),
        rule in prop::option::of(prop::sample::select(vec!["warn", "enforce", "other"])),
        hour in 0..200_i64, is_licensed in any::<bool>(),
    ) {
        let vendor = Signer::vendor();
        let mut claims = license_claims();
        let terms = json!({"updatesUntil": until.map(at), "updates": rule});
        claims.license.extend(object(terms));
        let evidence = match is_licensed {
            true => vendor.evidence(&claims),
            false => Default::default(),
        };
        let license = evidence.lease.as_ref().map(Lease::license);
        let document = ReleaseClaims {
            iat: at(1000),
            released: at(released),
            exempt,
            ..release_claims()
        };
        let document = has_document.then(|| verified(&document).unwrap());
        let granted = license.map(License::granted).unwrap_or_default();
        let plain = Entitlements::new(granted, BTreeSet::new());
        let installed = plain.clone().with_installed_release(license, document.as_ref());
        let standing = standing(&evidence, at(hour), &POLICY);
        let decided = |key: &str, entitlements: &Entitlements| {
            decide(key, exact(at(hour)), &standing, entitlements, &POLICY).available
        };
        for key in CORE_FEATURES {
            prop_assert!(decided(key, &installed));
        }
        let is_off = is_licensed && has_document && !exempt && rule == Some("enforce")
            && until.is_some_and(|until| until < released);
        prop_assert_eq!(decided(MAP_VIEW, &installed), decided(MAP_VIEW, &plain) && !is_off);
        prop_assert!(!decided(UNLISTED, &installed));
    }
}
