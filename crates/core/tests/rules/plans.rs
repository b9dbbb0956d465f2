//! What a license is that is sold as a plan, and after it was amended to another one.

mod first_activation;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::amendment::{
    Amendment, AmendmentError, Change, Contents, PlanVersion, Terms, UpdateRule, check, contents,
};
use license_core::catalogue::{Catalogue, CatalogueEntry, Kind};
use license_core::entitlement::{Entitlement, Quantity};
use license_core::feature::FeatureKey;
use license_core::license_state::Decided;
use license_core::plan::{LicenseEnd, Order, Plan, PlanChoice, issued, replaced};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::signer::{at, exact};

const ANALYTICS: &str = "module.analytics_advanced";

fn key(key: &str) -> FeatureKey {
    FeatureKey::parse(key).unwrap()
}

fn plan(json: Value) -> Plan {
    serde_json::from_value(json).unwrap()
}

fn standard() -> Plan {
    plan(json!({
        "title": "Standard", "terms": {"seats": 1},
        "entitlements": [
            {"key": "module.map_view"},
            {"key": "cameras", "quantity": 16},
            {"key": ANALYTICS, "for": "P30D"},
        ],
    }))
}

fn parking() -> Plan {
    plan(json!({
        "title": "Parking", "trial": true, "duration": "P1Y",
        "terms": {"seats": 2, "leaseHours": 48, "updatesFor": "P1Y", "updates": "enforce"},
        "entitlements": [
            {"key": "module.map_view"},
            {"key": "anpr_lanes", "quantity": 8},
            {"key": "cameras", "quantity": "unlimited"},
        ],
    }))
}

fn version(name: &str) -> PlanVersion {
    PlanVersion {
        name: name.to_owned(),
        version: 1,
    }
}

fn amendment(number: u32, hours: i64, changes: Vec<Change>) -> Amendment {
    Amendment {
        number,
        author: "ana".to_owned(),
        reason: None,
        order: None,
        recorded_at: at(hours),
        effective_at: at(hours),
        undoes: None,
        changes,
    }
}

fn first(order: Order) -> Amendment {
    let plan = standard();
    let changes = issued(version("standard"), &plan, order, at(0)).unwrap();
    amendment(1, 0, changes)
}

/// The changes of an amendment to another plan.
fn to_plan(name: &str, plan: &Plan, from: DateTime<Utc>) -> Vec<Change> {
    let granted = plan.granted(from).unwrap().into_iter();
    let mut changes: Vec<Change> = granted.map(Change::Grant).collect();
    changes.push(Change::Plan(version(name)));
    changes
}

/// What is granted, in any order.
fn granted(contents: &Contents) -> BTreeSet<Entitlement> {
    contents.granted.values().cloned().collect()
}

fn catalogue() -> Catalogue {
    let entry = |key: &str, kind| CatalogueEntry {
        key: key.to_owned(),
        kind,
        name: key.to_owned(),
        unit: String::new(),
        description: String::new(),
    };
    let entries = [
        entry("module.map_view", Kind::Feature),
        entry(ANALYTICS, Kind::Feature),
        entry("cameras", Kind::Count),
        entry("anpr_lanes", Kind::Count),
    ];
    entries.iter().collect()
}

#[test]
fn a_license_consists_of_its_plan_and_the_differences_from_it() {
    let order = Order {
        customer: "harbour".to_owned(),
        end: LicenseEnd::At(Some(at(900))),
        quantities: BTreeMap::from([
            (key("cameras"), Quantity::Of(24)),
            (key("users"), Quantity::Of(5)),
        ]),
        without: BTreeSet::from([key("module.map_view")]),
        with: vec![key("module.extra"), key(ANALYTICS), key(ANALYTICS)],
        ..Order::default()
    };
    let first = first(order);
    assert_eq!(check(&[], &first, Decided::Valid), Ok(()));
    let contents = contents(&[first], at(0));
    assert_eq!(contents.plan, Some(version("standard")));
    assert_eq!(contents.customer, "harbour");
    assert_eq!(contents.expires_at, Some(at(900)));
    assert_eq!(contents.terms, Terms::default());
    let mut analytics = Entitlement::feature(key(ANALYTICS));
    analytics.period.until = Some(at(30 * 24) - TimeDelta::seconds(1));
    let expected = BTreeSet::from([
        Entitlement::count(key("cameras"), Quantity::Of(24)),
        Entitlement::count(key("users"), Quantity::Of(5)),
        Entitlement::feature(key("module.extra")),
        // The plan grants it for a time, and the order for good.
        Entitlement::feature(key(ANALYTICS)),
        analytics,
    ]);
    assert_eq!(contents.granted.len(), expected.len());
    assert_eq!(granted(&contents), expected);
}

#[test]
fn another_plan_ends_what_the_former_one_granted_and_nothing_else() {
    let added = Change::Grant(Entitlement::count(key("cameras"), Quantity::Of(32)));
    let with = Order {
        with: vec![key("module.extra")],
        // The plan does not count users.
        quantities: BTreeMap::from([
            (key("cameras"), Quantity::Of(24)),
            (key("users"), Quantity::Of(5)),
        ]),
        ..Order::default()
    };
    let mut history = vec![first(with), amendment(2, 1, vec![added])];
    history.push(amendment(3, 2, to_plan("parking", &parking(), at(2))));
    let expected = BTreeSet::from([
        Entitlement::feature(key("module.extra")),
        Entitlement::count(key("users"), Quantity::Of(5)),
        Entitlement::feature(key("module.map_view")),
        Entitlement::count(key("cameras"), Quantity::Of(32)),
        Entitlement::count(key("cameras"), Quantity::Unlimited),
        Entitlement::count(key("anpr_lanes"), Quantity::Of(8)),
    ]);
    assert_eq!(granted(&contents(&history, at(2))), expected);
    // And back: what was added is still there.
    history.push(amendment(4, 3, to_plan("standard", &standard(), at(3))));
    let back = contents(&history, at(3));
    assert_eq!(back.granted.len(), 6);
    assert_eq!(
        back.sold().count("cameras", exact(at(3))),
        Some(Quantity::Of(16 + 32))
    );
    assert_eq!(back.sold().count("anpr_lanes", exact(at(3))), None);
}

#[test]
fn terms_and_ends_of_a_license_stay_and_those_of_the_plan_do_not() {
    let (standard, parking) = (standard(), parking());
    let mut before = contents(&[first(Order::default())], at(0));
    before.terms.moves = 7;
    let (terms, end) = replaced(&before, Some(&standard), &parking, at(2)).unwrap();
    let year = at(2 + 365 * 24) - TimeDelta::seconds(1);
    let expected = Terms {
        seats: 2,
        moves: 7,
        lease_hours: Some(48),
        updates_until: Some(year),
        updates: UpdateRule::Enforce,
        ..Terms::default()
    };
    assert_eq!((&terms, end.at()), (&expected, Some(year)));
    // A perpetual plan after one with a duration: no end, and updates without one.
    before.terms = terms;
    before.expires_at = end.at();
    let (terms, end) = replaced(&before, Some(&parking), &standard, at(3)).unwrap();
    let expected = Terms {
        moves: 7,
        ..Terms::default()
    };
    assert_eq!((terms, end), (expected, LicenseEnd::At(None)));
    // An end that no plan has set, and terms of a plan that is not known.
    before.expires_at = Some(at(900));
    for former in [Some(&standard), None] {
        let (_, end) = replaced(&before, former, &standard, at(3)).unwrap();
        assert_eq!(end, LicenseEnd::At(Some(at(900))));
    }
    let (terms, _) = replaced(&before, None, &standard, at(3)).unwrap();
    assert_eq!(terms, before.terms);
}

#[test]
fn the_first_amendment_has_terms_and_a_customer_and_applies_immediately() {
    let whole = first(Order::default());
    let without = |is_left_out: fn(&Change) -> bool| {
        let mut changes = whole.changes.clone();
        changes.retain(|it| !is_left_out(it));
        amendment(1, 0, changes)
    };
    let late = Amendment {
        effective_at: at(1),
        ..whole.clone()
    };
    for incomplete in [
        without(|it| matches!(it, Change::Terms(_))),
        without(|it| matches!(it, Change::Customer(_))),
        late,
    ] {
        let checked = check(&[], &incomplete, Decided::Valid);
        assert_eq!(checked, Err(AmendmentError::Incomplete), "{incomplete:?}");
    }
    assert_eq!(contents(&[], at(0)).terms.seats, 1);
}

/// Whether a license may get other terms.
fn with_terms(change: impl Fn(&mut Terms)) -> Result<(), AmendmentError> {
    let mut terms = Terms::default();
    change(&mut terms);
    let next = amendment(2, 1, vec![Change::Terms(terms)]);
    check(&[first(Order::default())], &next, Decided::Valid)
}

#[test]
fn terms_have_bounds() {
    let bounded = |name, from, to| Err(AmendmentError::Term { name, from, to });
    for (seats, expected) in [(0, bounded("seats", 1, 1_000_000)), (1, Ok(()))] {
        assert_eq!(with_terms(|it| it.seats = seats), expected);
    }
    let refused = bounded("leaseHours", 1, 2160);
    for (hours, is_fine) in [(0, false), (1, true), (2160, true), (2161, false)] {
        let expected = if is_fine { Ok(()) } else { refused.clone() };
        assert_eq!(with_terms(|it| it.lease_hours = Some(hours)), expected);
    }
    let refused = bounded("graceHours", 0, 720);
    for (hours, is_fine) in [(0, true), (720, true), (721, false)] {
        let expected = if is_fine { Ok(()) } else { refused.clone() };
        assert_eq!(with_terms(|it| it.grace_hours = Some(hours)), expected);
    }
    let refused = bounded("offlineDays", 1, 3650);
    for (days, is_fine) in [(0, false), (1, true), (3650, true), (3651, false)] {
        let expected = if is_fine { Ok(()) } else { refused.clone() };
        assert_eq!(with_terms(|it| it.offline_days = Some(days)), expected);
    }
}

#[test]
fn an_invalid_plan_is_refused_with_its_field() {
    assert_eq!(parking().check(&catalogue()), Ok(()));
    for (pointer, value, field) in [
        ("/title", json!(""), "title"),
        ("/title", json!("x".repeat(101)), "title"),
        ("/description", json!("x".repeat(1001)), "description"),
        ("/terms/seats", json!(0), "terms"),
        ("/terms/leaseHours", json!(2161), "terms"),
        ("/entitlements/0/key", json!(""), "entitlements[0].key"),
        (
            "/entitlements/0/key",
            json!("module.x"),
            "entitlements[0].key",
        ),
        (
            "/entitlements/2/key",
            json!("anpr_lanes"),
            "entitlements[2].key",
        ),
        (
            "/entitlements/1/quantity",
            json!(null),
            "entitlements[1].quantity",
        ),
        (
            "/entitlements/0/key",
            json!("cameras"),
            "entitlements[0].quantity",
        ),
    ] {
        let mut changed = serde_json::to_value(parking()).unwrap();
        changed["description"] = json!("");
        *changed.pointer_mut(pointer).unwrap() = value;
        let refused = plan(changed).check(&catalogue()).unwrap_err();
        assert_eq!(refused.field, field, "{pointer}: {refused}");
    }
    for invalid in [
        json!({"title": "x", "terms": {"seats": -1}}),
        json!({"title": "x", "terms": {"seats": 1}, "duration": "P1"}),
        json!({"title": "x", "terms": {"seats": 1}, "period": "P1Y"}),
        json!({"title": "x", "terms": {"seats": 1},
               "entitlements": [{"key": "cameras", "quantity": -1}]}),
    ] {
        assert!(
            serde_json::from_value::<Plan>(invalid.clone()).is_err(),
            "{invalid}"
        );
    }
}

#[test]
fn a_plan_is_named_with_or_without_its_version() {
    let choice = |name: &str, version| PlanChoice {
        name: name.to_owned(),
        version,
    };
    assert_eq!("a-plan_2".parse(), Ok(choice("a-plan_2", None)));
    assert_eq!("parking@12".parse(), Ok(choice("parking", Some(12))));
    for invalid in [
        "",
        "@1",
        "A",
        "a b",
        "a@",
        "a@0",
        "a@-1",
        "a@1@2",
        "ä",
        &"a".repeat(65),
    ] {
        assert!(invalid.parse::<PlanChoice>().is_err(), "{invalid}");
    }
}

proptest! {
    #[test]
    fn a_plan_that_is_undone_leaves_no_trace(
        additions in proptest::collection::vec((0_u64..100, any::<bool>()), 0..6),
        undone_at in 20_i64..40, later in 0_i64..100,
    ) {
        let mut history = vec![first(Order::default())];
        for (number, (quantity, is_lane)) in (2_u32..).zip(additions) {
            let key = key(if is_lane { "anpr_lanes" } else { "cameras" });
            let added = Change::Grant(Entitlement::count(key, Quantity::Of(quantity)));
            history.push(amendment(number, 1, vec![added]));
        }
        let number = u32::try_from(history.len()).unwrap() + 1;
        let mut longer = history.clone();
        longer.push(amendment(number, 10, to_plan("parking", &parking(), at(10))));
        let after = contents(&longer, at(10));
        let sum = |contents: &Contents, key| contents.sold().count(key, exact(at(10)));
        let lanes = match sum(&contents(&history, at(10)), "anpr_lanes") {
            Some(Quantity::Of(added)) => added + 8,
            _ => 8,
        };
        prop_assert_eq!(sum(&after, "anpr_lanes"), Some(Quantity::Of(lanes)));
        prop_assert_eq!(sum(&after, "cameras"), Some(Quantity::Unlimited));
        longer.push(Amendment {
            undoes: Some(number),
            ..amendment(number + 1, undone_at, Vec::new())
        });
        let then = at(undone_at + later);
        prop_assert_eq!(contents(&longer, then), contents(&history, then));
    }
}
