//! What happens to honest sites, told as stories.

use chrono::TimeDelta;
use license_core::binding::{
    BoundKey, JudgedCall, JudgedSeat, Refusal, SentProof, Served, decide, outdated_until,
};
use license_core::call::Call;
use license_core::proof::VerifiedProof;
use license_core::restored::{LostNumbers, number_at};

use super::{Said, bound, bound_later, call, jkt, proof, proof_of, seat};
use crate::signer::{T0, at};

fn key_of(served: Result<Served, Refusal>) -> Option<BoundKey> {
    served.unwrap().bound_key(Some(at(96)))
}

#[test]
fn an_activation_whose_answer_was_lost_is_repeated() {
    let again = proof(1, "again", 0);
    let key = bound(1);
    let served = decide(
        &seat(Some(&key)),
        &call(Call::Activate, SentProof::Valid(&again)),
    );
    assert_eq!(key_of(served).map(|key| key.jkt()), Some(jkt(1)));
}

#[test]
fn two_replicas_share_one_key_and_one_is_a_number_behind() {
    let (first, second) = (proof(1, "a", 1000), proof(1, "b", 900));
    let ask = |key: &BoundKey, proof: &VerifiedProof| {
        let call = call(Call::Validate, SentProof::Valid(proof));
        decide(&seat(Some(key)), &call)
    };
    let key = key_of(ask(&bound(1), &first)).unwrap();
    assert_eq!(ask(&key, &second), Err(Refusal::Stale { newest: 1000 }));
    let again = Said {
        nonce: "c",
        seq: Some(900),
        challenge: Some(1000),
        ..Said::default()
    };
    let key = key_of(ask(&key, &proof_of(1, again))).unwrap();
    assert!(ask(&key, &proof(1, "d", 1000)).is_ok());
}

#[test]
fn a_rollback_soon_after_an_upgrade_needs_nothing() {
    let key = bound_later(1, at(96));
    let served = decide(&seat(Some(&key)), &call(Call::Validate, SentProof::Absent));
    let key = served.unwrap().bound_key(Some(at(120))).unwrap();
    assert_eq!(key.unproven_until(), Some(at(120)));
    // Forward again, with the same key.
    let forward = proof(1, "forward", 1000);
    let served = decide(
        &seat(Some(&key)),
        &call(Call::Validate, SentProof::Valid(&forward)),
    );
    assert!(matches!(served, Ok(Served::Proven(_))));
}

#[test]
fn a_later_rollback_and_the_way_forward_spend_one_move() {
    let key = bound(1);
    let rolled_back = decide(&seat(Some(&key)), &call(Call::Activate, SentProof::Absent)).unwrap();
    assert!(rolled_back.spends_move());
    assert_eq!(rolled_back.bound_key(Some(at(96))), None);
    let version_1 = decide(&seat(None), &call(Call::Validate, SentProof::Absent)).unwrap();
    assert_eq!(version_1.event(), None);
    // The license that version 1.0.0 stored is the newest one.
    let forward = proof(1, "forward", 1000);
    let upgraded = JudgedCall {
        presents_newest: true,
        ..call(Call::Validate, SentProof::Valid(&forward))
    };
    let served = decide(&seat(None), &upgraded).unwrap();
    assert!(!served.spends_move());
    assert!(matches!(served, Served::Bind(_)));
}

#[test]
fn a_reinstalled_site_activates_and_binds_its_new_key() {
    let key = bound(1);
    let activation = proof(2, "new", 0);
    let served = decide(
        &seat(Some(&key)),
        &call(Call::Activate, SentProof::Valid(&activation)),
    );
    let served = served.unwrap();
    assert!(served.spends_move());
    assert_eq!(served.bound_key(Some(at(96))), None);
    let validation = proof(2, "next", 1000);
    let presenting = JudgedCall {
        presents_newest: true,
        ..call(Call::Validate, SentProof::Valid(&validation))
    };
    let bound = key_of(decide(&seat(None), &presenting)).unwrap();
    assert_eq!(bound.jkt(), jkt(2));
}

/// Anyone who knows the license key and the hardware id of a site without a key gets its newest
/// license, and can bind a key with it.
#[test]
fn a_key_that_was_bound_first_with_leaked_data_cuts_nobody_off() {
    let theirs = bound_later(66, at(96));
    // The site is of version 1.0.0, or it has a key.
    let own = proof(1, "own", 900);
    for proof in [SentProof::Absent, SentProof::Valid(&own)] {
        let mut key = theirs.clone();
        for day in 0..30 {
            let call = JudgedCall {
                at: at(24 * day),
                ..call(Call::Validate, proof)
            };
            let served = decide(&seat(Some(&key)), &call).unwrap();
            assert!(served.event().is_some(), "the vendor's staff see it");
            key = served.bound_key(Some(at(24 * day + 96))).unwrap();
        }
        // Its operator can remove the key.
        let served = decide(&seat(Some(&key)), &call(Call::Activate, proof)).unwrap();
        assert!(served.spends_move());
    }
}

#[test]
fn a_database_from_a_backup_may_know_a_former_key() {
    let lost = LostNumbers::noticed(number_at(at(-24)), T0);
    let until = outdated_until(&lost, TimeDelta::hours(96));
    assert_eq!(until, Some(at(96)));
    let former = bound(1);
    let restored = JudgedSeat {
        outdated_until: until,
        ..seat(Some(&former))
    };
    let own = proof(2, "own", 5000);
    for proof in [SentProof::Absent, SentProof::Valid(&own)] {
        let ask = |asked, hour| {
            let call = JudgedCall {
                at: at(hour),
                ..call(asked, proof)
            };
            decide(&restored, &call)
        };
        assert!(matches!(
            ask(Call::Validate, 96),
            Ok(Served::Tolerated { .. })
        ));
        assert!(ask(Call::Validate, 97).is_err());
        assert!(ask(Call::Deactivate, 0).is_err());
    }
    // The site of the key that the backup knows has a number that the database lost.
    let known = proof(1, "known", 5000);
    let ask =
        |proof: &VerifiedProof| decide(&restored, &call(Call::Validate, SentProof::Valid(proof)));
    assert_eq!(ask(&known), Err(Refusal::Stale { newest: 1000 }));
    let again = Said {
        nonce: "again",
        seq: Some(5000),
        challenge: Some(1000),
        ..Said::default()
    };
    assert!(matches!(ask(&proof_of(1, again)), Ok(Served::Proven(_))));
    let forever = LostNumbers {
        after: 0,
        until: u64::MAX,
    };
    assert!(outdated_until(&forever, TimeDelta::MAX).is_some());
}

#[test]
fn a_site_that_changes_its_license_knows_numbers_of_the_former_one() {
    let key = bound(1);
    let number_of_another = Said {
        nonce: "other license",
        seq: Some(2_000_000),
        ..Said::default()
    };
    let ask = |proof: &VerifiedProof| {
        decide(
            &seat(Some(&key)),
            &call(Call::Activate, SentProof::Valid(proof)),
        )
    };
    let refused = ask(&proof_of(1, number_of_another));
    assert_eq!(refused, Err(Refusal::Stale { newest: 1000 }));
    let again = Said {
        nonce: "again",
        challenge: Some(1000),
        ..number_of_another
    };
    assert!(matches!(ask(&proof_of(1, again)), Ok(Served::Proven(_))));
    // A new seat binds the key nevertheless.
    let taken = proof_of(1, number_of_another);
    let served = decide(
        &super::new_seat(),
        &call(Call::Activate, SentProof::Valid(&taken)),
    );
    let key = key_of(served).unwrap();
    let next = proof(1, "next", 10);
    let seat = JudgedSeat {
        issued: 10,
        ..seat(Some(&key))
    };
    let served = decide(&seat, &call(Call::Validate, SentProof::Valid(&next)));
    assert!(matches!(served, Ok(Served::Proven(_))));
}
