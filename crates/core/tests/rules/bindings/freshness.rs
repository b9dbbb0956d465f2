//! Proofs are used once.

use license_core::binding::{
    BoundKey, JudgedCall, JudgedSeat, MAX_NONCES, Refusal, SecurityEvent, SentProof, Served, decide,
};
use license_core::call::Call;
use license_core::proof::VerifiedProof;

use super::{CALLS, Said, bound, call, no_contact, proof, proof_of, seat};
use crate::signer::at;

const REPLAYED: SecurityEvent = SecurityEvent::ProofReplayed;

fn ask(key: &BoundKey, asked: Call, proof: &VerifiedProof) -> Result<Served, Refusal> {
    decide(&seat(Some(key)), &call(asked, SentProof::Valid(proof)))
}

fn accepted(key: &BoundKey, asked: Call, proof: &VerifiedProof) -> BoundKey {
    let served = ask(key, asked, proof).unwrap();
    served.bound_key(Some(at(96))).unwrap()
}

#[test]
fn a_proof_is_refused_when_it_is_repeated() {
    let first = proof(1, "first", 0);
    let key = bound(1);
    assert_eq!(ask(&key, Call::Activate, &first), no_contact(REPLAYED));
    let second = proof(1, "second", 700);
    let key = accepted(&key, Call::Heartbeat, &second);
    for asked in CALLS {
        assert_eq!(ask(&key, asked, &second), no_contact(REPLAYED), "{asked:?}");
    }
    // Once the site knows a newer number, the nonce is forgotten, and the number is too old.
    let key = accepted(&key, Call::Validate, &proof(1, "third", 800));
    let stale = Err(Refusal::Stale { newest: 1000 });
    assert_eq!(ask(&key, Call::Heartbeat, &second), stale);
    assert_eq!(ask(&key, Call::Heartbeat, &first), stale);
}

#[test]
fn a_site_whose_answers_are_lost_repeats_its_number() {
    let mut key = bound(1);
    for call in 0..20 {
        key = accepted(
            &key,
            Call::Validate,
            &proof(1, &format!("call {call}"), 600),
        );
    }
}

#[test]
fn a_site_with_an_old_number_is_told_the_newest_one() {
    let key = accepted(&bound(1), Call::Validate, &proof(1, "before", 1000));
    for seq in [None, Some(0), Some(999), Some(1001), Some(u64::MAX)] {
        for asked in CALLS {
            let said = Said {
                nonce: "restored",
                seq,
                ..Said::default()
            };
            let refused = ask(&key, asked, &proof_of(1, said));
            assert_eq!(
                refused,
                Err(Refusal::Stale { newest: 1000 }),
                "{asked:?} {seq:?}"
            );
            let refusal = refused.unwrap_err();
            assert!(refusal.is_no_contact());
            assert_eq!(refusal.event(), None);
            let again = Said {
                nonce: "again",
                challenge: Some(1000),
                ..said
            };
            let key = accepted(&key, asked, &proof_of(1, again));
            assert_eq!(ask(&key, asked, &proof_of(1, again)), no_contact(REPLAYED));
        }
    }
}

#[test]
fn a_number_that_was_not_issued_yet_is_no_supply_of_proofs() {
    // Someone in between names a number of the future, and keeps the proof for later.
    let kept = proof_of(
        1,
        Said {
            nonce: "kept",
            seq: Some(900),
            challenge: Some(5000),
            ..Said::default()
        },
    );
    let key = accepted(&bound(1), Call::Validate, &proof(1, "newer", 1000));
    assert_eq!(
        ask(&key, Call::Validate, &kept),
        Err(Refusal::Stale { newest: 1000 })
    );
}

#[test]
fn a_deactivation_from_before_the_activation_is_refused() {
    let key = bound(1);
    let ask = |seq, asked| {
        let proof = proof(1, "late", seq);
        ask(&key, asked, &proof)
    };
    assert_eq!(
        ask(499, Call::Deactivate),
        Err(Refusal::Stale { newest: 1000 })
    );
    assert!(matches!(ask(500, Call::Deactivate), Ok(Served::Proven(_))));
    assert!(matches!(ask(499, Call::Validate), Ok(Served::Proven(_))));
    assert!(matches!(ask(499, Call::Heartbeat), Ok(Served::Proven(_))));
}

#[test]
fn proofs_from_before_a_seat_was_taken_again_are_too_old() {
    let retaken = JudgedSeat {
        is_new: true,
        ..seat(None)
    };
    let activation = proof(1, "again", 0);
    for is_by_file in [false, true] {
        let call = JudgedCall {
            is_by_file,
            ..call(Call::Activate, SentProof::Valid(&activation))
        };
        let key = decide(&retaken, &call).unwrap().bound_key(Some(at(96)));
        let old = proof(1, "old", 999);
        let stale = Err(Refusal::Stale { newest: 1000 });
        assert_eq!(ask(&key.unwrap(), Call::Deactivate, &old), stale);
    }
}

#[test]
fn files_arrive_late_and_are_signed_again() {
    let key = accepted(&bound(1), Call::Validate, &proof(1, "newer", 1000));
    let late = proof(1, "file", 400);
    for asked in CALLS {
        let by_file = JudgedCall {
            is_by_file: true,
            ..call(asked, SentProof::Valid(&late))
        };
        for _ in 0..2 {
            let served = decide(&seat(Some(&key)), &by_file);
            assert_eq!(served, Ok(Served::Proven(key.clone())), "{asked:?}");
        }
    }
}

fn seat_with(key: &BoundKey, issued: u64) -> JudgedSeat<'_> {
    JudgedSeat {
        issued,
        ..seat(Some(key))
    }
}

#[test]
fn a_seat_stays_small_and_its_site_is_never_locked_out() {
    let mut key = bound(1);
    let mut sent = Vec::new();
    let mut issued = 1000;
    let mut known = 600;
    let mut told = 0;
    for number in 0..1000_u64 {
        let nonce = format!("call {number}");
        let mut said = Said {
            nonce: &nonce,
            seq: Some(known),
            ..Said::default()
        };
        // No answer but the question for a newer number reaches the site.
        issued += 1;
        let mut proof = proof_of(1, said);
        let mut served = decide(
            &seat_with(&key, issued),
            &call(Call::Heartbeat, SentProof::Valid(&proof)),
        );
        if let Err(Refusal::Stale { newest }) = served {
            told += 1;
            known = newest;
            said.challenge = Some(newest);
            proof = proof_of(1, said);
            served = decide(
                &seat_with(&key, issued),
                &call(Call::Heartbeat, SentProof::Valid(&proof)),
            );
        }
        key = served.unwrap().bound_key(None).unwrap();
        sent.push(proof);
        let size = serde_json::to_string(&key).unwrap().len();
        assert!(size < 2048, "{size} bytes");
        if number % 100 == 99 {
            for old in &sent {
                let replayed = decide(
                    &seat_with(&key, issued),
                    &call(Call::Heartbeat, SentProof::Valid(old)),
                );
                assert!(replayed.is_err());
            }
        }
    }
    let expected = 1000 / MAX_NONCES;
    assert!((expected - 2..=expected + 1).contains(&told), "{told}");
}

#[test]
fn a_seat_whose_numbers_stand_still_forgets_the_oldest_nonce() {
    let mut key = accepted(&bound(1), Call::Validate, &proof(1, "newest", 1000));
    for number in 0..MAX_NONCES + 8 {
        key = accepted(&key, Call::Heartbeat, &proof(1, &format!("{number}"), 1000));
    }
    let last = proof(1, &(MAX_NONCES + 7).to_string(), 1000);
    assert_eq!(ask(&key, Call::Heartbeat, &last), no_contact(REPLAYED));
    assert!(serde_json::to_string(&key).unwrap().len() < 2048);
}

#[test]
fn a_stored_key_is_read_back() {
    for key in [bound(1), super::bound_later(1, at(96))] {
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(
            serde_json::from_str::<BoundKey>(&json).unwrap(),
            key,
            "{json}"
        );
    }
}
