//! Each row of the table in `binding.rs`.

use chrono::TimeDelta;
use license_core::binding::{
    JudgedCall, JudgedSeat, Refusal, SecurityEvent, SentProof, Served, decide,
};
use license_core::call::Call;

use super::{
    CALLS, bound, bound_later, call, is_lease, jkt, new_seat, no_contact, proof, seat, takes_seat,
    unbound,
};
use crate::signer::{T0, at};

const MISSING: SecurityEvent = SecurityEvent::ProofMissing;
const INVALID: SecurityEvent = SecurityEvent::ProofInvalid;

#[test]
fn a_new_seat_binds_the_key_that_takes_it() {
    let valid = proof(1, "n", 0);
    for asked in [Call::Activate, Call::Trial, Call::Validate, Call::Heartbeat] {
        for is_by_file in [false, true] {
            let call = JudgedCall {
                is_by_file,
                ..call(asked, SentProof::Valid(&valid))
            };
            let served = decide(&new_seat(), &call).unwrap();
            assert!(matches!(served, Served::Bind(_)), "{asked:?}");
            assert_eq!(served.event(), None);
            let key = served.bound_key(Some(at(96))).unwrap();
            assert_eq!(key.jkt(), jkt(1));
            assert_eq!(key.unproven_until(), None);
        }
        let without = |proof| decide(&new_seat(), &call(asked, proof));
        assert_eq!(without(SentProof::Absent), unbound(None));
        assert_eq!(without(SentProof::Invalid), unbound(Some(INVALID)));
    }
}

#[test]
fn a_seat_that_is_taken_again_forgets_its_former_key() {
    let former = bound(1);
    let valid = proof(2, "n", 0);
    let seat = JudgedSeat {
        is_new: true,
        ..seat(Some(&former))
    };
    let served = decide(&seat, &call(Call::Activate, SentProof::Valid(&valid))).unwrap();
    assert_eq!(served.bound_key(None).map(|key| key.jkt()), Some(jkt(2)));
    assert_eq!(
        decide(&seat, &call(Call::Activate, SentProof::Absent)),
        unbound(None)
    );
}

#[test]
fn a_seat_without_a_key_binds_one_only_with_the_newest_license() {
    let valid = proof(1, "n", 1000);
    for asked in CALLS {
        let call = call(asked, SentProof::Valid(&valid));
        assert_eq!(decide(&seat(None), &call), unbound(None), "{asked:?}");
        let call = JudgedCall {
            presents_newest: true,
            ..call
        };
        let served = decide(&seat(None), &call).unwrap();
        if asked == Call::Deactivate {
            assert_eq!(served, Served::Unbound { event: None });
            continue;
        }
        let Served::Bind(key) = served else {
            panic!("{asked:?}: {served:?}");
        };
        assert_eq!(key.jkt(), jkt(1));
        assert_eq!(
            key.unproven_until(),
            Some(at(96)),
            "older licenses still run"
        );
    }
}

#[test]
fn a_seat_without_a_key_is_served_without_a_proof() {
    for asked in CALLS {
        let served = |proof| decide(&seat(None), &call(asked, proof));
        assert_eq!(served(SentProof::Absent), unbound(None), "{asked:?}");
        assert_eq!(
            served(SentProof::Invalid),
            unbound(Some(INVALID)),
            "{asked:?}"
        );
    }
}

#[test]
fn the_bound_key_may_do_everything() {
    let key = bound(1);
    for asked in CALLS {
        let valid = proof(1, "second", 1000);
        let served = decide(&seat(Some(&key)), &call(asked, SentProof::Valid(&valid))).unwrap();
        assert!(matches!(served, Served::Proven(_)), "{asked:?}: {served:?}");
        assert_eq!(served.event(), None);
        assert!(!served.spends_move());
        let stored = served.bound_key(Some(at(200))).unwrap();
        assert_eq!((stored.jkt(), stored.unproven_until()), (jkt(1), None));
    }
}

#[test]
fn other_calls_for_a_bound_seat_are_no_contact() {
    let key = bound(1);
    let other = proof(2, "n", 1000);
    for (proof, event) in [
        (SentProof::Absent, MISSING),
        (SentProof::Invalid, INVALID),
        (SentProof::Valid(&other), SecurityEvent::OtherKey),
    ] {
        for asked in CALLS.into_iter().filter(|asked| !takes_seat(*asked)) {
            for (is_by_file, presents_newest) in [(false, false), (false, true), (true, false)] {
                let call = JudgedCall {
                    is_by_file,
                    presents_newest,
                    ..call(asked, proof)
                };
                let refused = decide(&seat(Some(&key)), &call);
                assert_eq!(refused, no_contact(event), "{asked:?}");
                assert!(refused.unwrap_err().is_no_contact());
            }
        }
    }
}

#[test]
fn an_activation_without_the_key_removes_it_while_moves_are_left() {
    let other = proof(2, "n", 1000);
    for key in [bound(1), bound_later(1, at(96))] {
        for asked in [Call::Activate, Call::Trial] {
            for (proof, event) in [
                (SentProof::Absent, MISSING),
                (SentProof::Invalid, INVALID),
                (SentProof::Valid(&other), SecurityEvent::OtherKey),
            ] {
                let served = decide(&seat(Some(&key)), &call(asked, proof)).unwrap();
                assert_eq!(
                    served,
                    Served::Unbind {
                        event,
                        spends_move: true
                    }
                );
                assert!(served.spends_move());
                assert_eq!(served.event(), Some(event));
                assert_eq!(served.bound_key(Some(at(96))), None);
            }
        }
    }
}

#[test]
fn without_moves_an_activation_without_the_key_is_refused_in_words() {
    let key = bound(1);
    let no_moves = JudgedSeat {
        moves_left: 0,
        ..seat(Some(&key))
    };
    let refused = decide(&no_moves, &call(Call::Activate, SentProof::Absent));
    assert_eq!(refused, Err(Refusal::NoMovesLeft(MISSING)));
    let refusal = refused.unwrap_err();
    assert!(!refusal.is_no_contact());
    assert_eq!(refusal.event(), Some(MISSING));
    assert_eq!(
        refusal.to_string(),
        "this machine's seat is bound to the key of another installation, and no moves are left \
         to replace it; restore the installation key of the License Client from a backup, or ask \
         your vendor for another move"
    );
    let key = bound_later(1, T0);
    let running = JudgedSeat {
        bound: Some(&key),
        ..no_moves
    };
    let served = decide(&running, &call(Call::Activate, SentProof::Absent)).unwrap();
    assert!(matches!(served, Served::Tolerated { event: MISSING, .. }));
}

#[test]
fn a_lease_is_served_without_the_key_until_all_unproven_licenses_have_ended() {
    let key = bound_later(1, at(10));
    let other = proof(2, "n", 1000);
    for (proof, event) in [
        (SentProof::Absent, MISSING),
        (SentProof::Invalid, INVALID),
        (SentProof::Valid(&other), SecurityEvent::OtherKey),
    ] {
        for asked in CALLS.into_iter().filter(|asked| !takes_seat(*asked)) {
            let at_time = |at| {
                let call = JudgedCall {
                    at,
                    ..call(asked, proof)
                };
                decide(&seat(Some(&key)), &call)
            };
            let after = at_time(at(10) + TimeDelta::milliseconds(1));
            assert_eq!(after, no_contact(event), "{asked:?}");
            if !is_lease(asked) {
                assert_eq!(at_time(at(10)), no_contact(event), "{asked:?}");
                continue;
            }
            let served = at_time(at(10)).unwrap();
            assert_eq!(served.event(), Some(event));
            assert!(!served.spends_move());
            // Each of these answers extends the time; a denial, which signs no license, does not.
            let denied = served.clone().bound_key(None).unwrap();
            assert_eq!(denied, key);
            let signed = served.bound_key(Some(at(106))).unwrap();
            assert_eq!(signed.jkt(), jkt(1));
            assert_eq!(signed.unproven_until(), Some(at(106)));
        }
    }
}

#[test]
fn a_license_may_require_a_proof() {
    let key = bound(1);
    for key in [None, Some(&key)] {
        for is_new in [false, true] {
            let strict = JudgedSeat {
                is_new,
                requires_proof: true,
                outdated_until: Some(at(1)),
                ..seat(key)
            };
            for (proof, event) in [(SentProof::Absent, MISSING), (SentProof::Invalid, INVALID)] {
                for asked in CALLS {
                    let expected = match takes_seat(asked) {
                        true => Refusal::ProofRequired(event),
                        false => Refusal::NoContact(event),
                    };
                    let refused = decide(&strict, &call(asked, proof));
                    assert_eq!(refused, Err(expected), "{asked:?}");
                    assert_eq!(expected.is_no_contact(), !takes_seat(asked));
                }
            }
        }
    }
    let strict = JudgedSeat {
        requires_proof: true,
        ..seat(None)
    };
    let valid = proof(1, "n", 1000);
    let served = decide(&strict, &call(Call::Validate, SentProof::Valid(&valid)));
    assert_eq!(served, unbound(None), "a key that is not bound yet");
}
