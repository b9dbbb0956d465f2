//! Announcements match the decisions of the client at every later instant, and with keys
//! never exceed a signed license.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::announcement::{Announcement, MAX_LATER, announce, constrained_by};
use license_core::document::{LicenseClaims, VerifiedLicense, verify_license};
use license_core::evidence::Evidence;
use license_core::feature::FeatureKey;
use license_core::gate::{Entitlements, decide};
use license_core::lease::Lease;
use license_core::limits::limits;
use license_core::standing::{Policy, standing};
use proptest::prelude::*;

use crate::signer::{Signer, T0, at, exact, just_after, license_claims, license_object, object};

const MAP_VIEW: &str = "module.map_view";
const ALARM: &str = "module.alarm_advanced";
const LIVE_VIEW: &str = "module.live_view";
const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};

fn known() -> BTreeSet<FeatureKey> {
    [MAP_VIEW, ALARM, LIVE_VIEW, "module.analytics_advanced"]
        .into_iter()
        .map(|key| FeatureKey::parse(key).unwrap())
        .collect()
}

fn entitlements(evidence: &Evidence) -> Entitlements {
    let lease = evidence.lease.as_ref();
    let granted = lease.map(|lease| lease.license().granted());
    let off = FeatureKey::parse("module.analytics_advanced").unwrap();
    Entitlements::new(granted.unwrap_or_default(), BTreeSet::from([off]))
}

fn told(evidence: &Evidence, now: DateTime<Utc>) -> Announcement {
    announce(
        evidence,
        &entitlements(evidence),
        &POLICY,
        &known(),
        exact(now),
    )
}

fn verified(claims: &LicenseClaims) -> VerifiedLicense {
    let vendor = Signer::vendor();
    verify_license(&vendor.license(claims), &vendor.keyring()).unwrap()
}

/// What is announced about a feature at an instant.
fn say<'a>(told: &'a Announcement, key: &str, at: DateTime<Utc>) -> (bool, &'a str) {
    let (_, features, unlisted) = told.state(at);
    let said = features.get(key).unwrap_or(unlisted);
    (said.available, said.reason.as_str())
}

fn expiring(hours: i64) -> LicenseClaims {
    let mut license = license_object();
    license.insert("expiresAt".into(), at(hours).to_rfc3339().into());
    LicenseClaims {
        license,
        ..license_claims()
    }
}

#[test]
fn many_changes_of_entitlements_leave_out_no_end_of_the_lease() {
    let starts = (1..200).map(|minute| {
        let from = (T0 + TimeDelta::minutes(minute)).to_rfc3339();
        serde_json::json!({"key": MAP_VIEW, "from": from})
    });
    let mut license = license_object();
    license.insert("entitlements".into(), starts.collect());
    let claims = LicenseClaims {
        license,
        ..license_claims()
    };
    let told = told(&Signer::vendor().evidence(&claims), T0);
    assert_eq!(told.then.len(), MAX_LATER + 2);
    assert_eq!(say(&told, MAP_VIEW, at(24)), (true, "licensed"));
    let lapsed = (false, "grace_period_expired");
    assert_eq!(say(&told, MAP_VIEW, just_after(96)), lapsed);
    let held = constrained_by(&told, Some(&verified(&claims)), exact(T0));
    assert!(!say(&held, MAP_VIEW, just_after(96)).0);
}

#[test]
fn every_known_end_is_announced_with_the_state_after_it() {
    let told = told(&Signer::vendor().evidence(&license_claims()), T0);
    assert_eq!(told.standing, "active");
    assert_eq!(told.holds_until, Some(at(24)));
    let then = told.then.iter();
    let then: Vec<_> = then
        .map(|later| (later.after, later.standing.as_str()))
        .collect();
    assert_eq!(then, [(at(24), "grace"), (at(96), "lapsed")]);
    assert_eq!(say(&told, MAP_VIEW, at(24)), (true, "licensed"));
    assert_eq!(say(&told, MAP_VIEW, just_after(24)), (true, "grace_period"));
    let lapsed = (false, "grace_period_expired");
    assert_eq!(say(&told, MAP_VIEW, just_after(96)), lapsed);
    assert_eq!(say(&told, LIVE_VIEW, just_after(96)), (true, "core"));
    let off = say(&told, "module.analytics_advanced", at(1));
    assert_eq!(off, (false, "switched_off"));
    assert_eq!(say(&told, "module.nope", at(1)), (false, "not_in_license"));
}

#[test]
fn a_site_without_a_license_has_no_later_states() {
    let told = told(&Evidence::default(), T0);
    assert!(told.then.is_empty());
    assert_eq!(say(&told, MAP_VIEW, at(1000)), (false, "no_license"));
    assert_eq!(say(&told, "module.nope", T0), (false, "no_license"));
}

#[test]
fn it_survives_the_wire() {
    let told = told(&Signer::vendor().evidence(&license_claims()), T0);
    let text = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Announcement>(&text).unwrap(), told);
    // An older License Client announces no limits of later states: they stay as they are.
    assert!(told.then.iter().all(|later| later.limits.is_none()));
    // Some of the fields are for people and programs in other languages.
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["limits"]["cameras"], 64);
    assert_eq!(value["then"][0]["standing"], "grace");
}

#[test]
fn limits_change_on_time() {
    let mut license = license_object();
    license.insert(
        "entitlements".into(),
        serde_json::json!([
            {"key": "cameras", "quantity": 64},
            {"key": "anpr_lanes", "quantity": 8, "from": at(2), "until": at(5)},
        ]),
    );
    let claims = LicenseClaims {
        license,
        ..license_claims()
    };
    let told = told(&Signer::vendor().evidence(&claims), T0);
    let held = constrained_by(&told, Some(&verified(&claims)), exact(T0));
    for announcement in [&told, &held] {
        for (instant, lanes) in [
            (at(0), 0),
            (at(2), 8),
            (at(5), 8),
            (just_after(5), 0),
            (at(30), 0),
        ] {
            let limits = announcement.limits(instant);
            assert_eq!(limits["anpr_lanes"], Some(lanes), "{instant}");
            assert_eq!(limits["cameras"], Some(64), "{instant}");
        }
        // Only what changes is sent.
        let changes = announcement.then.iter().map(|later| later.limits.is_some());
        let changes: Vec<_> = changes.collect();
        assert_eq!(changes[..2], [true, true]);
        assert!(!changes[2..].contains(&true), "{changes:?}");
    }
    let nothing = constrained_by(&told, None, exact(T0));
    assert_eq!(nothing.limits(at(3))["anpr_lanes"], Some(0));
}

#[test]
fn announcements_beyond_the_signed_license_are_not_trusted() {
    let mut told = told(&Signer::vendor().evidence(&license_claims()), T0);
    for later in &mut told.then {
        later.features.clone_from(&told.features);
    }
    told.features.get_mut(ALARM).unwrap().available = true;
    told.features.get_mut(ALARM).unwrap().reason = "core".to_owned();
    told.unlisted.available = true;
    let held = constrained_by(&told, Some(&verified(&license_claims())), exact(T0));
    assert_eq!(say(&held, ALARM, T0), (false, "not_signed"));
    assert!(!say(&held, "module.nope", T0).0);
    assert_eq!(say(&held, MAP_VIEW, at(96)), (true, "licensed"));
    let ended = (false, "grace_period_expired");
    assert_eq!(say(&held, MAP_VIEW, just_after(96)), ended);

    let nothing = constrained_by(&told, None, exact(T0));
    assert_eq!(say(&nothing, MAP_VIEW, T0), (false, "not_signed"));
    assert_eq!(say(&nothing, LIVE_VIEW, at(1000)), (true, "core"));
}

#[test]
fn a_signed_license_ends_on_time_regardless_of_the_announcement() {
    let told = told(&Signer::vendor().evidence(&license_claims()), T0);
    let held = constrained_by(&told, Some(&verified(&expiring(10))), exact(T0));
    assert_eq!(say(&held, MAP_VIEW, at(10)), (true, "licensed"));
    assert_eq!(
        say(&held, MAP_VIEW, just_after(10)),
        (false, "license_expired")
    );
    let past = constrained_by(&told, Some(&verified(&expiring(10))), exact(at(11)));
    assert_eq!(say(&past, MAP_VIEW, at(11)), (false, "license_expired"));
}

#[test]
fn the_announcement_of_an_honest_client_is_not_reduced() {
    for claims in [license_claims(), expiring(30), expiring(1)] {
        let evidence = Signer::vendor().evidence(&claims);
        for hour in [0, 5, 23, 24, 25, 95, 96, 97, 500] {
            let told = told(&evidence, at(hour));
            let held = constrained_by(&told, Some(&verified(&claims)), exact(at(hour)));
            for later in hour..hour + 120 {
                for key in known() {
                    let key = key.as_str();
                    let both = [say(&told, key, at(later)), say(&held, key, at(later))];
                    assert_eq!(both[0], both[1], "{key} told at {hour} about {later}");
                }
            }
        }
    }
}

/// Hours from the start, including one nanosecond before and after whole hours.
fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    (-2..200_i64, -1..2_i64)
        .prop_map(|(hours, nanoseconds)| at(hours) + TimeDelta::nanoseconds(nanoseconds))
}

fn claims() -> impl Strategy<Value = LicenseClaims> {
    let lists =
        prop::sample::subsequence(vec![MAP_VIEW, ALARM, "module.analytics_advanced"], 0..=3);
    let expiry = prop::option::of(-1..120_i64);
    let bound = || prop::option::of(-1..120_i64);
    let granted = prop_oneof![
        (
            prop::sample::select(vec!["cameras", "anpr_lanes"]),
            (1..9_u64).prop_map(Some)
        ),
        (prop::sample::select(vec![MAP_VIEW, ALARM]), Just(None)),
    ];
    let entitlements = prop::collection::vec((granted, bound(), bound()), 0..5);
    // Older servers send no such list.
    let entitlements = prop::option::of(entitlements);
    (lists, expiry, any::<bool>(), entitlements).prop_map(|(lists, expiry, offline, listed)| {
        let time = |hours: i64| at(hours).to_rfc3339();
        let entry = |((key, quantity), from, until): &((&str, Option<u64>), _, Option<i64>)| {
            let from: &Option<i64> = from;
            serde_json::json!({
                "key": key, "quantity": quantity, "from": from.map(time), "until": until.map(time),
            })
        };
        let listed: Option<Vec<_>> = listed.map(|all| all.iter().map(entry).collect());
        LicenseClaims {
            offline,
            license: object(serde_json::json!({
                "licenseKey": crate::signer::KEY,
                "enabledFeatures": lists,
                "maxCameras": 64,
                "entitlements": listed,
                "expiresAt": expiry.map(time),
            })),
            ..license_claims()
        }
    })
}

proptest! {
    #![proptest_config(proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::with_cases(512)
    })]

    #[test]
    fn what_is_told_at_one_instant_is_what_is_decided_at_any_later_one(
        claims in claims(), now in moments(), later in moments(),
        grace_started in prop::option::of(moments()),
    ) {
        prop_assume!(later >= now);
        let evidence = Evidence {
            grace_started_at: grace_started,
            ..Signer::vendor().evidence(&claims)
        };
        let told = told(&evidence, now);
        let standing = standing(&evidence, later, &POLICY);
        prop_assert_eq!(told.state(later).0, standing.as_str());
        for key in [MAP_VIEW, ALARM, LIVE_VIEW, "module.analytics_advanced", "module.nope"] {
            let decided = decide(key, exact(later), &standing, &entitlements(&evidence), &POLICY);
            let expected = (decided.available, decided.reason.code());
            prop_assert_eq!(say(&told, key, later), expected);
        }
        let license = evidence.lease.as_ref().map(Lease::license);
        let limits = limits(license, &entitlements(&evidence), exact(later));
        prop_assert_eq!(told.limits(later), &limits);
    }

    #[test]
    fn what_is_held_against_a_license_is_never_more_than_either_says(
        told_of in claims(), signed in claims(), now in moments(), later in moments(),
    ) {
        prop_assume!(later >= now);
        let told = told(&Signer::vendor().evidence(&told_of), now);
        let held = constrained_by(&told, Some(&verified(&signed)), exact(now));
        let proof = Signer::vendor().evidence(&signed);
        let proven = standing(&proof, later, &Policy { grace: TimeDelta::MAX, ..POLICY });
        let lists = Entitlements::new(
            proof.lease.as_ref().unwrap().license().granted(), BTreeSet::new(),
        );
        for key in [MAP_VIEW, ALARM, LIVE_VIEW, "module.analytics_advanced", "module.nope"] {
            let both = say(&told, key, later).0
                && decide(key, exact(later), &proven, &lists, &POLICY).available;
            prop_assert_eq!(say(&held, key, later).0, both, "{}", key);
        }
        let proven = limits(proof.lease.as_ref().map(Lease::license), &lists, exact(later));
        for key in ["cameras", "anpr_lanes", "doors"] {
            // What is missing is not granted, and a missing number is no limit.
            let of = |limits: &BTreeMap<_, _>| limits.get(key).copied().unwrap_or(Some(0));
            let (held, proven) = (of(held.limits(later)), of(&proven));
            prop_assert!(proven.is_none_or(|most| held.is_some_and(|it| it <= most)), "{}", key);
        }
    }
}
