//! What an add-on key adds to a license, and what a refund takes away.

use chrono::{DateTime, Utc};
use license_core::add_on::{AddOn, AddOnGrant, Redeem, RedeemRefusal, Redemption};
use license_core::amendment::{Amendment, Change, check, contents, is_undone_from};
use license_core::entitlement::{Entitlement, Quantity};
use license_core::license_state::Decided;
use proptest::prelude::*;

use crate::amendments::{amendment, history, undoing};
use crate::signer::at;

fn grant(key: &str, quantity: Option<u64>) -> AddOnGrant {
    AddOnGrant {
        key: key.to_owned(),
        quantity: quantity.map(Quantity::Of),
        from: None,
        until: None,
        duration: None,
    }
}

fn add_on(grants: Vec<AddOnGrant>) -> AddOn {
    AddOn {
        grants,
        ..AddOn::default()
    }
}

fn granted(redeem: Redeem) -> Vec<Entitlement> {
    let Redeem::Amend(changes) = redeem else {
        panic!("{redeem:?}");
    };
    let grants = changes.into_iter().map(|change| match change {
        Change::Grant(entitlement) => entitlement,
        other => panic!("{other:?}"),
    });
    grants.collect()
}

fn day(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_duration_is_counted_from_the_redemption_or_the_start_of_the_license() {
    let mut analytics = grant("module.analytics_advanced", None);
    analytics.duration = Some("P90D".parse().unwrap());
    let add_on = add_on(vec![analytics, grant("cameras", Some(16))]);
    let at = day("2026-11-27T12:00:00Z");
    let ends = |starts_at| {
        let granted = granted(add_on.redeem("license", starts_at, at).unwrap());
        assert_eq!(granted[1].period, license_core::entitlement::Period::ALWAYS);
        granted[0].period.until.unwrap()
    };
    assert_eq!(ends(None), day("2027-02-25T11:59:59Z"));
    assert_eq!(
        ends(Some(day("2026-01-01T00:00:00Z"))),
        day("2027-02-25T11:59:59Z")
    );
    assert_eq!(
        ends(Some(day("2027-01-01T00:00:00Z"))),
        day("2027-03-31T23:59:59Z")
    );
}

#[test]
fn the_first_reason_against_a_redemption_counts() {
    let mut add_on = add_on(vec![AddOnGrant {
        until: Some(at(10)),
        ..grant("cameras", Some(16))
    }]);
    add_on.redeem_by = Some(at(5));
    let redeem = |add_on: &AddOn, hours| add_on.redeem("one", None, at(hours));
    assert!(
        matches!(redeem(&add_on, 5), Ok(Redeem::Amend(_))),
        "the last instant is included"
    );
    assert_eq!(
        redeem(&add_on, 6),
        Err(RedeemRefusal::TooLate { redeem_by: at(5) })
    );
    add_on.redeem_by = None;
    assert_eq!(
        redeem(&add_on, 11),
        Err(RedeemRefusal::Ended { until: at(10) })
    );
    add_on.redeemed = Some(Redemption {
        license: "one".to_owned(),
        amendment: 7,
    });
    // It counts, however late it is repeated.
    assert_eq!(redeem(&add_on, 11), Ok(Redeem::Again { amendment: 7 }));
    assert_eq!(
        add_on.redeem("other", None, at(1)),
        Err(RedeemRefusal::Elsewhere)
    );
    add_on.is_refunded = true;
    assert_eq!(redeem(&add_on, 1), Err(RedeemRefusal::Refunded));
}

fn grants() -> impl Strategy<Value = Vec<AddOnGrant>> {
    let bound = || proptest::option::of(0_i64..60);
    let one = (
        prop_oneof![Just("a"), Just("n_a")],
        0_u64..100,
        bound(),
        bound(),
        any::<bool>(),
    );
    let one = one.prop_map(|(key, quantity, from, until, is_limited)| AddOnGrant {
        key: key.to_owned(),
        quantity: (key == "n_a").then_some(Quantity::Of(quantity)),
        from: from.map(at),
        until: until.map(|until| at(until + from.unwrap_or_default())),
        duration: is_limited.then(|| "P1D".parse().unwrap()),
    });
    proptest::collection::vec(one, 1..4)
}

/// The history with a refund of the amendment with this number at `now`, as it is recorded.
fn refunded(history: &[Amendment], number: u32, now: DateTime<Utc>) -> Vec<Amendment> {
    let mut all = history.to_vec();
    if !is_undone_from(history, number, now) {
        let next = Amendment {
            recorded_at: now,
            effective_at: now,
            ..undoing(u32::try_from(all.len()).unwrap() + 1, 0, number)
        };
        assert_eq!(
            check(&all, &next, Decided::Valid),
            Ok(()),
            "{all:?} {next:?}"
        );
        all.push(next);
    }
    all
}

proptest! {
    /// Whatever became of the license since, nothing of the key is left, and nothing else is
    /// different.
    #[test]
    fn a_refund_ends_exactly_what_a_redemption_granted(
        history in history(), which in any::<u32>(), now in 0_i64..60, hours in 0_i64..70,
    ) {
        let count = u32::try_from(history.len()).unwrap();
        prop_assume!(count > 1);
        let number = 2 + which % (count - 1);
        // A redemption grants something, and undoes nothing.
        let mut history = history;
        let redemption = history.iter_mut().find(|it| it.number == number).unwrap();
        redemption.undoes = None;
        redemption.changes.retain(|it| matches!(it, Change::Grant(_)));
        let refunded = refunded(&history, number, at(now));
        let then = at(now + hours);
        let granted = contents(&refunded, then).granted;
        prop_assert!(granted.keys().all(|origin| origin.amendment != number));
        // As if it had granted nothing, whatever else was done.
        let mut without = refunded.clone();
        let redemption = without.iter_mut().find(|it| it.number == number).unwrap();
        redemption.changes.clear();
        prop_assert_eq!(contents(&refunded, then), contents(&without, then));
        prop_assert_eq!(
            contents(&without, then),
            contents(&without[..history.len()], then),
            "nothing else is different"
        );
        // Once is enough.
        prop_assert!(is_undone_from(&refunded, number, at(now)));
    }

    #[test]
    fn a_redemption_adds_what_the_key_grants_and_nothing_else(
        grants in grants(), now in 0_i64..60, hours in 0_i64..70,
    ) {
        let add_on = add_on(grants.clone());
        let redeemed = add_on.redeem("license", None, at(now));
        let Ok(redeem) = redeemed else {
            // All of it is over.
            let is_over = |it: &AddOnGrant| it.until.is_some_and(|until| until < at(now))
                || it.duration.is_some();
            prop_assert!(grants.iter().all(is_over), "{redeemed:?}");
            return Ok(());
        };
        for entitlement in granted(redeem) {
            let is_its = |it: &&AddOnGrant| it.key == entitlement.key.as_str()
                && it.quantity == entitlement.quantity;
            let its: Vec<&AddOnGrant> = grants.iter().filter(is_its).collect();
            let then = at(now + hours);
            if entitlement.period.contains(then) {
                let may_be = |it: &&&AddOnGrant| it.from.is_none_or(|from| from <= then)
                    && it.until.is_none_or(|until| then <= until);
                prop_assert!(its.iter().any(|it| may_be(&it)), "{entitlement:?}");
            }
        }
    }

    #[test]
    fn two_licenses_never_both_have_a_key(
        grants in grants(), now in 0_i64..10, which in any::<bool>(),
    ) {
        let mut add_on = add_on(grants);
        let licenses = if which { ["one", "other"] } else { ["other", "one"] };
        let mut amended = Vec::new();
        for (number, license) in (2..).zip(licenses.iter().chain(&licenses)) {
            match add_on.redeem(license, None, at(now)) {
                Ok(Redeem::Amend(_)) => {
                    amended.push(*license);
                    add_on.redeemed = Some(Redemption {
                        license: (*license).to_owned(),
                        amendment: number,
                    });
                }
                Ok(Redeem::Again { amendment }) => prop_assert_eq!(amendment, 2),
                Err(_) => {}
            }
        }
        prop_assert!(amended.len() <= 1, "{amended:?}");
    }
}

#[test]
fn an_amendment_that_is_undone_later_is_undone_now_and_stays_so() {
    let key = license_core::feature::FeatureKey::parse("cameras").unwrap();
    let camera = Change::Grant(Entitlement::count(key, Quantity::Of(1)));
    let history = [
        amendment(1, 0, Vec::new()),
        amendment(2, 1, vec![camera]),
        undoing(3, 50, 2),
    ];
    assert!(!is_undone_from(&history, 2, at(10)) && is_undone_from(&history, 2, at(50)));
    assert_eq!(refunded(&history, 2, at(10)).len(), 4);
    let now_undone = [history[0].clone(), history[1].clone(), undoing(3, 5, 2)];
    assert_eq!(refunded(&now_undone, 2, at(10)).len(), 3);
    // Restored later.
    let restored = [&now_undone[..], &[undoing(4, 50, 3)]].concat();
    assert!(!is_undone_from(&restored, 2, at(10)));
    assert_eq!(refunded(&restored, 2, at(10)).len(), 5);
}
