//! What holds in every history.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::feature::CORE_FEATURES;
use license_core::gate::{Entitlements, decide};
use license_core::lapse::LapseReason;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::schedule::jitter::Jitter;
use license_core::schedule::{next_validation, unsigned_validity};
use license_core::standing::{Policy, Standing, grace_end, standing};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::config;
use super::history::{History, Outcome, Step, World, history, parted, play, steps};
use crate::signer::{KEY, Signer, T0, at, exact, license_claims, license_object};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn core_features_are_never_off_except_unlicensed_with_the_setting_off(
        history in history(), later in 0..10_000_i64,
    ) {
        play(&history, |evidence, now, _| {
            for key in CORE_FEATURES {
                assert!(available(evidence, key, now, &history.policy));
                let much_later = now + TimeDelta::hours(later);
                assert!(available(evidence, key, much_later, &history.policy));
                let allow = history.policy.allow_unlicensed_core;
                let nothing = Evidence::default();
                assert_eq!(available(&nothing, key, now, &history.policy), allow);
            }
        });
    }

    #[test]
    fn what_replicas_know_is_joined_in_either_order_and_gives_nobody_more(
        history in history(), first in steps(), second in steps(), later in 0..200_i64,
    ) {
        let [(one, at_one), (two, at_two)] = parted(&history, &first, &second);
        let now = at_one.max(at_two) + TimeDelta::hours(later);
        let merged = one.merged(&two);
        prop_assert!(one.merged(&one) == one);
        prop_assert!(merged.merged(&two) == merged);
        let policy = &history.policy;
        // Either of two equal failures at the same instant may be kept.
        let other_way = two.merged(&one);
        prop_assert_eq!(standing(&merged, now, policy), standing(&other_way, now, policy));
        prop_assert_eq!(grace_end(&merged, policy), grace_end(&other_way, policy));
        let ends = [&one, &two].map(|evidence| grace_end(evidence, policy));
        prop_assert!(grace_end(&merged, policy) <= ends.into_iter().max().flatten());
        let anyone = [&one, &two].iter().any(|known| available(known, PAID, now, policy));
        prop_assert!(anyone || !available(&merged, PAID, now, policy));
        // The license of another site is not ours to change.
        let license = License::new(license_object());
        let lease = Some(Lease::adopted("another", license, at(0), at(0)));
        let unrelated = Evidence { lease, ..two };
        prop_assert!(one.merged(&unrelated) == one);
        prop_assert_eq!(Evidence::default().merged(&one), Evidence::default());
    }

    #[test]
    fn licensed_features_are_never_on_after_the_end_of_grace(
        history in history(), later in 0..400_i64,
    ) {
        play(&history, |evidence, now, _| {
            let end = grace_end(evidence, &history.policy).unwrap();
            let lease = evidence.lease.as_ref().unwrap();
            let last = end.max(lease.valid_until().min(lease.end().unwrap_or(end)));
            let after = last.max(now) + TimeDelta::seconds(1) + TimeDelta::hours(later);
            assert!(!available(evidence, PAID, after, &history.policy));
            if let Some(signed_end) = lease.end() {
                let after = signed_end + TimeDelta::seconds(1) + TimeDelta::hours(later);
                assert!(!available(evidence, PAID, after, &history.policy));
            }
            if let Some(since) = evidence.grace_started_at {
                assert!(end <= since + history.policy.grace);
            }
        });
    }

    #[test]
    fn a_license_that_nobody_signed_ends_where_keys_are_required(
        valid_until in -900..900_000_i64, grace in 0..900_000_i64, started in -900..900_000_i64,
        first_seen in -900..900_i64, later in 0..900_000_i64, is_noted in any::<bool>(),
    ) {
        let policy = Policy { grace: TimeDelta::hours(grace), allow_unlicensed_core: false };
        let license = License::new(license_object());
        let lease = Lease::adopted(KEY, license, at(valid_until), at(first_seen));
        let end = at(first_seen + 72);
        prop_assert_eq!(lease.end(), Some(end));
        let mut evidence = Evidence::default().activated(lease, at(0));
        evidence.grace_started_at = is_noted.then_some(at(started));
        prop_assert!(grace_end(&evidence, &policy).unwrap() <= end);
        let after = end + TimeDelta::milliseconds(1) + TimeDelta::hours(later);
        prop_assert!(!available(&evidence, PAID, after, &policy));
        for hour in [first_seen, first_seen + 71] {
            prop_assert_ne!(standing(&evidence, at(hour), &policy), Standing::Active);
        }
    }

    #[test]
    fn grace_never_grows_by_failing_more_often(
        history in history(), place in 0..12_usize, wait in 0..60_i64, later in 0..200_i64,
    ) {
        // The same history with one additional failed validation.
        let mut oftener = history.clone();
        let place = place % (history.steps.len() + 1);
        let mut wait = TimeDelta::hours(wait);
        if let Some(next) = oftener.steps.get_mut(place) {
            wait = wait.min(next.wait);
            next.wait -= wait;
        }
        oftener.steps.insert(place, Step { wait, outcome: Outcome::NoContact });

        let last = |history: &History| {
            let mut last = None;
            play(history, |evidence, now, _| last = Some((evidence.clone(), now)));
            last.unwrap()
        };
        let (rare, _) = last(&history);
        let (often, now) = last(&oftener);
        prop_assert!(grace_end(&often, &history.policy) <= grace_end(&rare, &history.policy));
        let later = now + TimeDelta::hours(later);
        if available(&often, PAID, later, &history.policy) {
            prop_assert!(available(&rare, PAID, later, &history.policy));
        }
    }

    #[test]
    fn a_site_whose_calls_all_succeed_is_never_in_grace(
        signed in any::<bool>(), jitters in prop::collection::vec(any::<u32>(), 1..20),
        interval in 1..200_i64, grace in 0..100_i64,
    ) {
        let policy = Policy { grace: TimeDelta::hours(grace), allow_unlicensed_core: true };
        let history = History { signed, policy, expires_after: None, steps: Vec::new() };
        let interval = TimeDelta::hours(interval);
        let mut world = World::of(&history);
        let mut evidence = world.activate();
        // The lease of the activation is as long as this interval requires.
        if let Some(Lease::Unsigned { valid_until, .. }) = &mut evidence.lease {
            *valid_until = T0 + unsigned_validity(interval);
        }
        let mut now = T0;
        for bits in jitters {
            let jitter = Jitter::from_bits(bits);
            let next = next_validation(&evidence, &Standing::Active, 0, now, interval, jitter);
            let next = next.unwrap();
            prop_assert!(next > now);
            for moment in [now, now + (next - now) / 2, next] {
                prop_assert_eq!(standing(&evidence, moment, &policy), Standing::Active);
            }
            now = next;
            let contact = world.contact(&evidence, Outcome::Confirmed, now);
            evidence = evidence.validated(&contact, now, unsigned_validity(interval));
        }
    }

    #[test]
    fn a_fresh_confirmation_is_active_and_only_a_verified_denial_denies(history in history()) {
        play(&history, |evidence, now, outcome| {
            let standing = standing(evidence, now, &history.policy);
            match outcome {
                Some(Outcome::Confirmed) => {
                    let expired = Standing::Lapsed(LapseReason::LicenseExpired);
                    assert!(standing == Standing::Active || standing == expired, "{standing:?}");
                }
                Some(Outcome::Denied) if history.signed => {
                    assert!(matches!(standing, Standing::Lapsed(LapseReason::Denied(_))));
                }
                _ => {}
            }
            if !history.signed {
                assert!(!matches!(standing, Standing::Lapsed(LapseReason::Denied(_))));
            }
        });
    }

    #[test]
    fn two_documents_that_cross_each_other_end_in_the_same_lease(seqs in (1..50_u64, 1..50_u64)) {
        let lease = |seq| {
            let mut claims = license_claims();
            claims.seq = seq;
            Signer::vendor().lease(&claims)
        };
        let after = |first, second| {
            let first = Evidence::default().activated(lease(first), T0);
            first.activated(lease(second), T0).lease.unwrap().seq()
        };
        prop_assert_eq!(after(seqs.0, seqs.1), after(seqs.1, seqs.0));
        prop_assert_eq!(after(seqs.0, seqs.1), Some(seqs.0.max(seqs.1)));
    }
}

const PAID: &str = "module.map_view";

fn available(evidence: &Evidence, key: &str, now: DateTime<Utc>, policy: &Policy) -> bool {
    let granted = evidence
        .lease
        .as_ref()
        .map(|lease| lease.license().granted());
    let entitlements = Entitlements::new(granted.unwrap_or_default(), BTreeSet::new());
    let standing = standing(evidence, now, policy);
    decide(key, exact(now), &standing, &entitlements, policy).available
}

/// Without this, the histories above might prove nothing.
#[test]
fn the_histories_reach_every_standing() {
    let mut runner = TestRunner::deterministic();
    let (mut grace, mut lapsed, mut denied, mut expired) = (0, 0, 0, 0);
    for _ in 0..200 {
        let history = history().new_tree(&mut runner).unwrap().current();
        let mut seen = BTreeSet::new();
        play(&history, |evidence, now, _| {
            seen.insert(match standing(evidence, now, &history.policy) {
                Standing::Grace { .. } => "grace",
                Standing::Lapsed(LapseReason::GracePeriodExpired) => "lapsed",
                Standing::Lapsed(LapseReason::Denied(_)) => "denied",
                Standing::Lapsed(LapseReason::LicenseExpired) => "expired",
                Standing::Active | Standing::Unlicensed => "other",
            });
        });
        grace += u32::from(seen.contains("grace"));
        lapsed += u32::from(seen.contains("lapsed"));
        denied += u32::from(seen.contains("denied"));
        expired += u32::from(seen.contains("expired"));
    }
    assert!(grace > 100, "{grace}");
    assert!(lapsed > 50, "{lapsed}");
    assert!(denied > 15, "{denied}");
    assert!(expired > 5, "{expired}");
}
