//! What may replace what is known.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::LicenseClaims;
use license_core::evidence::{Evidence, Failure};
use license_core::lapse::LapseReason;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::remembered::Remembered;
use license_core::standing::{Policy, Standing, standing};
use license_core::taking_over::{NotTakenOver, discredited, take_over, take_up};
use proptest::prelude::*;

use crate::signer::{KEY, SEQ, Signer, T0, at, denial_claims, license_claims, license_object};

const OTHER: &str = "FXSGHT-1111-2222-3333-4444";

/// Signed evidence about `key` with this number.
fn signed(key: &str, seq: u64) -> Evidence {
    let mut claims = LicenseClaims {
        seq,
        ..license_claims()
    };
    claims.license.insert("licenseKey".into(), key.into());
    let lease = Signer::vendor().lease(&claims);
    Evidence::default().activated(lease, T0)
}

/// The same, which was denied with this number since.
fn denied(key: &str, lease: u64, denial: u64) -> Evidence {
    let mut claims = denial_claims();
    claims.seq = denial;
    Evidence {
        denial: Some(Signer::vendor().verified_denial(&claims)),
        ..signed(key, lease)
    }
}

/// As version 1.0.0 leaves it, first seen at `start`.
fn unsigned(key: &str, start: DateTime<Utc>) -> Evidence {
    let license = License::new(license_object());
    Evidence {
        lease: Some(Lease::adopted(key, license, at(1000), start)),
        grace_started_at: Some(start),
        ..Evidence::default()
    }
}

fn remembered(seen: &[&Evidence]) -> Remembered {
    let nothing = Remembered::default();
    seen.iter()
        .fold(nothing, |all, evidence| all.with(evidence))
}

fn standing_of(evidence: &Evidence, now: DateTime<Utc>) -> Standing {
    let policy = Policy {
        grace: TimeDelta::hours(72),
        allow_unlicensed_core: true,
    };
    standing(evidence, now, &policy)
}

#[test]
fn what_is_known_gives_way_to_newer_documents_only() {
    let known = signed(KEY, SEQ);
    for (name, stored, why) in [
        ("a newer lease", signed(KEY, SEQ + 1), None),
        ("a newer denial", denied(KEY, SEQ, SEQ + 1), None),
        ("another license", signed(OTHER, 1), None),
        ("a deactivation", Evidence::default(), None),
        (
            "an older lease",
            signed(KEY, SEQ - 1),
            Some(NotTakenOver::Older),
        ),
        (
            "no signature",
            unsigned(KEY, T0),
            Some(NotTakenOver::Unsigned),
        ),
        (
            "another license without a signature",
            unsigned(OTHER, T0),
            Some(NotTakenOver::Unsigned),
        ),
        (
            "what is not genuine",
            discredited(&unsigned(KEY, T0), "it was changed", T0),
            Some(NotTakenOver::Unsigned),
        ),
    ] {
        let taken = take_over(&known, stored.clone(), &remembered(&[&known]), at(1));
        assert_eq!(taken.error, why, "{name}");
        let expected = if why.is_some() { &known } else { &stored };
        assert_eq!(taken.evidence, *expected, "{name}");
    }
    // A denial is not undone by the lease before it, nor by another license from before.
    let known = denied(KEY, SEQ, SEQ + 1);
    let past = remembered(&[&signed(OTHER, 7), &known]);
    for stored in [signed(KEY, SEQ), signed(OTHER, 7), signed(OTHER, 6)] {
        let taken = take_over(&known, stored, &past, at(1));
        assert_eq!(taken.error, Some(NotTakenOver::Older));
        assert_eq!(taken.evidence, known);
    }
    let again = signed(OTHER, 8);
    assert_eq!(
        take_over(&known, again.clone(), &past, at(1)).evidence,
        again
    );
}

#[test]
fn what_stands_beside_a_known_document_says_nothing() {
    let known = signed(KEY, SEQ);
    let long_ago: DateTime<Utc> = "-4712-01-01T00:00:00Z".parse().unwrap();
    for start in [None, Some(long_ago), Some(at(1)), Some(at(1000))] {
        for known in [
            known.clone(),
            Evidence {
                grace_started_at: Some(at(2)),
                ..known.clone()
            },
        ] {
            let stored = Evidence {
                grace_started_at: start,
                confirmed_at: start,
                server_in_grace: true,
                activated_at: None,
                ..known.clone()
            };
            let taken = take_over(&known, stored, &remembered(&[&known]), at(3));
            assert_eq!((taken.evidence, taken.error), (known, None), "{start:?}");
        }
    }
}

#[test]
fn a_process_that_knows_nothing_goes_by_what_its_installation_remembers() {
    let nothing = Evidence::default();
    let gone = signed(KEY, SEQ);
    let past = remembered(&[&gone]);
    let lapsed = Standing::Lapsed(LapseReason::GracePeriodExpired);
    // The very document counts, and newer ones, and other licenses.
    for stored in [signed(KEY, SEQ), signed(KEY, SEQ + 1), signed(OTHER, 1)] {
        let taken = take_over(&nothing, stored.clone(), &past, at(1));
        assert_eq!((taken.evidence, taken.error), (stored, None));
    }
    for (stored, why) in [
        (signed(KEY, SEQ - 1), NotTakenOver::Older),
        (unsigned(KEY, at(1)), NotTakenOver::Unsigned),
        (unsigned(OTHER, at(1)), NotTakenOver::Unsigned),
    ] {
        let taken = take_over(&nothing, stored.clone(), &past, at(1));
        assert_eq!(taken.error, Some(why));
        assert_eq!(standing_of(&taken.evidence, at(1)), lapsed);
        let failure = taken.evidence.last_failure.as_ref().unwrap();
        assert_eq!(failure.reason(), "not_genuine");
        assert_eq!(taken.evidence.license_key(), stored.license_key());
        // What counts for nothing already is not found again and again.
        let again = take_over(&nothing, taken.evidence.clone(), &past, at(2));
        assert_eq!((again.evidence, again.error), (taken.evidence, None));
    }
    // Without any past, what version 1.0.0 has left is adopted.
    let left = unsigned(KEY, at(1));
    let taken = take_over(&nothing, left.clone(), &Remembered::default(), at(1));
    assert_eq!((taken.evidence, taken.error), (left, None));
}

#[test]
fn a_deactivated_license_comes_back_with_a_newer_document_only() {
    let nothing = Evidence::default();
    let past = remembered(&[&signed(OTHER, 3), &signed(KEY, SEQ)]).without(KEY);
    // Also after it was stored, and in a place that has missed it.
    let text = serde_json::to_string(&past).unwrap();
    let read: Remembered = serde_json::from_str(&text).unwrap();
    assert_eq!(read, past);
    let missed = remembered(&[&signed(KEY, SEQ)]).joined(past.clone());
    let older = remembered(&[&signed(KEY, SEQ - 1)]).joined(past.clone());
    let other = remembered(&[&signed(OTHER, 3)]).joined(past.clone());
    let knows_other = remembered(&[&signed(OTHER, 9)]).joined(past.clone());
    for past in [past, missed, older, other, knows_other] {
        for seq in [SEQ - 1, SEQ] {
            let taken = take_over(&nothing, signed(KEY, seq), &past, at(1));
            assert_eq!(taken.error, Some(NotTakenOver::GivenUp), "{seq}");
            let standing = standing_of(&taken.evidence, at(1));
            assert!(matches!(standing, Standing::Lapsed(_)), "{standing:?}");
        }
        let newer = signed(KEY, SEQ + 1);
        let taken = take_over(&nothing, newer.clone(), &past, at(1));
        assert_eq!((taken.evidence, taken.error), (newer.clone(), None));
        // Then that document is the last one.
        let past = past.with(&newer);
        let taken = take_over(&nothing, newer.clone(), &past, at(1));
        assert_eq!((taken.evidence, taken.error), (newer, None));
    }
    // Others are not affected, and a process that has it continues.
    let past = remembered(&[&signed(OTHER, 3), &signed(KEY, SEQ)]).without(KEY);
    let taken = take_over(&nothing, signed(OTHER, 3), &past, at(1));
    assert_eq!(taken.error, None);
    let known = signed(KEY, SEQ);
    let taken = take_over(&known, known.clone(), &past, at(1));
    assert_eq!((taken.evidence, taken.error), (known, None));
}

#[test]
fn all_adopted_licenses_have_the_grace_period_of_the_first() {
    let past = remembered(&[&unsigned(KEY, at(5)), &unsigned(OTHER, at(9))]);
    assert_eq!(past.adopted_at(), Some(at(5)));
    assert!(!past.has_signed());
    // What was not genuine was never adopted.
    let nobody = discredited(&unsigned(KEY, T0), "it was changed", T0);
    assert_eq!(remembered(&[&nobody]), Remembered::default());
    // A place without the memory of the other gets it, and of each license, the newer one counts.
    let other = remembered(&[&signed(KEY, SEQ + 9), &signed(OTHER, 3)]);
    let joined = past.with(&signed(KEY, SEQ)).joined(other);
    assert_eq!(joined.adopted_at(), Some(at(5)));
    let nothing = Evidence::default();
    for (stored, why) in [
        (signed(KEY, SEQ + 9), None),
        (signed(KEY, SEQ), Some(NotTakenOver::Older)),
        (signed(OTHER, 2), Some(NotTakenOver::Older)),
    ] {
        assert_eq!(take_over(&nothing, stored, &joined, at(1)).error, why);
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut past = Remembered::default();
    for number in 0..200 {
        past = past.with(&signed(&format!("key-{number}"), 1));
    }
    let text = serde_json::to_string(&past).unwrap();
    assert!(text.len() < 64 * 60 + 100, "{}", text.len());
    assert!(!text.contains("key-1"), "keys are hashed");
    let read: Remembered = serde_json::from_str(&text).unwrap();
    assert_eq!(read, past);
}

#[test]
fn the_newest_license_is_remembered_and_forgotten_ones_do_not_come_back() {
    let nothing = Evidence::default();
    let key = |number: u64| format!("key-{number}");
    let mut past = Remembered::default();
    for number in 1..=100 {
        past = past.with(&signed(&key(number), 1_000 + number));
        assert_eq!(past.newest_seq(&key(number)), Some(1_000 + number));
    }
    // The last one was deactivated, the first ones were forgotten.
    let past = past.without(&key(100));
    for (number, why) in [
        (1, NotTakenOver::Older),
        (36, NotTakenOver::Older),
        (37, NotTakenOver::Older),
        (100, NotTakenOver::GivenUp),
    ] {
        let seq = 1_000 + number - u64::from(number == 37);
        let taken = take_over(&nothing, signed(&key(number), seq), &past, at(1));
        assert_eq!(taken.error, Some(why), "{number}");
    }
    // Another unknown license counts if it is newer than all that were forgotten.
    for (seq, why) in [(1_036, Some(NotTakenOver::Older)), (1_037, None)] {
        let taken = take_over(&nothing, signed("other", seq), &past, at(1));
        assert_eq!(taken.error, why, "{seq}");
    }
    // The newest license stays, also if its number is the lowest.
    let past = past.with(&signed("low", 1_037)).with(&signed(KEY, 1_037));
    assert_eq!(past.newest_seq(KEY), Some(1_037));
}

#[test]
fn an_older_document_lowers_no_number() {
    let newer = remembered(&[&signed(KEY, SEQ + 5)]);
    let older = newer.clone().with(&signed(KEY, SEQ));
    assert_eq!(older, newer);
    let given_up = newer.clone().without(KEY);
    assert_eq!(given_up.clone().with(&signed(KEY, SEQ)), given_up);
    let missed = remembered(&[&signed(KEY, SEQ)]);
    for joined in [
        missed.clone().joined(newer.clone()),
        newer.clone().joined(missed),
    ] {
        assert_eq!(joined, newer);
    }
}

/// Instants from long before the document to long after it, and none.
fn instants() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    prop::option::of((-900_000..900_000_i64).prop_map(at))
}

prop_compose! {
    /// What users of a database can write beside a document.
    fn beside()(
        activated_at in instants(), confirmed_at in instants(), grace_started_at in instants(),
        server_in_grace in any::<bool>(), message in prop::option::of(".{0,2000}"),
    ) -> Evidence {
        let last_failure = message.map(|text| Failure::new(at(1), &text, &text, true));
        Evidence { activated_at, confirmed_at, grace_started_at, server_in_grace, last_failure,
            ..Evidence::default() }
    }
}

proptest! {
    // Every step signs a document.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_number_ever_decreases(
        steps in prop::collection::vec((0..90_u64, 1..500_u64, 0..4_u8), 70..150),
    ) {
        let key = |number: u64| format!("key-{number}");
        let mut past = Remembered::default();
        let mut elsewhere = Remembered::default();
        for (number, seq, step) in steps {
            let before = past.clone();
            past = match step {
                0 => past.without(&key(number)),
                1 => past.joined(elsewhere.clone()),
                2 => {
                    elsewhere = elsewhere.with(&signed(&key(number), seq));
                    past
                }
                _ => past.with(&signed(&key(number), seq)),
            };
            for number in 0..90 {
                let numbers = [&before, &past].map(|it| it.newest_seq(&key(number)));
                prop_assert!(numbers[0] <= numbers[1], "{number} {numbers:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_document_that_comes_back_says_what_it_says_alone(
        beside in beside(), is_denied in any::<bool>(),
    ) {
        let nothing = Evidence::default();
        let seen = if is_denied { denied(KEY, SEQ, SEQ + 1) } else { signed(KEY, SEQ) };
        let past = remembered(&[&seen]);
        let back = Evidence { lease: seen.lease.clone(), denial: seen.denial.clone(), ..beside };
        let taken = take_over(&nothing, back.clone(), &past, at(1));
        prop_assert_eq!(taken.error, None);
        let expected = take_over(&nothing, seen.clone(), &past, at(1)).evidence;
        prop_assert_eq!(&taken.evidence, &expected);
        prop_assert_eq!(&taken.evidence.lease, &seen.lease);
        prop_assert_eq!(&taken.evidence.denial, &seen.denial);
        prop_assert_eq!(taken.evidence.license_key(), KEY);
        prop_assert_eq!(&taken.evidence.last_failure, &None);
        // A process that has just started finds the same in its own files.
        let taken = take_up(back.clone(), &past, at(1));
        prop_assert_eq!((taken.evidence, taken.error), (back, None));
    }

    #[test]
    fn the_key_of_a_signed_license_is_that_of_its_document(beside in beside(), seq in 0..9_u64) {
        let lease = signed(OTHER, SEQ - 4 + seq).lease;
        let stored = Evidence { lease, ..beside };
        for known in [Evidence::default(), signed(OTHER, SEQ), denied(OTHER, SEQ, SEQ + 1)] {
            let past = remembered(&[&known, &signed(OTHER, SEQ)]);
            for taken in [take_over(&known, stored.clone(), &past, at(1)),
                take_over(&known, stored.clone(), &past.without(OTHER), at(1))] {
                prop_assert_eq!(taken.evidence.license_key(), OTHER);
            }
        }
    }
}

#[test]
fn files_of_the_service_do_not_bring_back_older_documents() {
    let past = remembered(&[&signed(KEY, SEQ)]);
    let taken = take_up(signed(KEY, SEQ - 1), &past, at(1));
    assert_eq!(taken.error, Some(NotTakenOver::Older));
    let taken = take_up(signed(KEY, SEQ), &past.without(KEY), at(1));
    assert_eq!(taken.error, Some(NotTakenOver::GivenUp));
}
