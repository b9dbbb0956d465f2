//! Which key is bound to a seat, and which calls are answered.

mod freshness;
mod honest_sites;
mod model;
mod table;

use chrono::{DateTime, Utc};
use license_core::binding::{
    BoundKey, JudgedCall, JudgedSeat, Refusal, SecurityEvent, SentProof, Served, decide,
};
use license_core::call::Call;
use license_core::installation_key::InstallationKey;
use license_core::proof::{
    CallAddress, Endpoint, ReceivedCall, Statement, VerifiedProof, create, verify,
};
use license_core::thumbprint::Thumbprint;

use crate::signer::{T0, at};

const CALLS: [Call; 6] = [
    Call::Activate,
    Call::Validate,
    Call::Heartbeat,
    Call::Deactivate,
    Call::Redeem,
    Call::Trial,
];

fn key(number: u8) -> InstallationKey {
    InstallationKey::from_seed(&[number; 32])
}

fn jkt(number: u8) -> Thumbprint {
    key(number).thumbprint()
}

/// What a site says in a proof.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    nonce: &'a str,
    seq: Option<u64>,
    challenge: Option<u64>,
    document: Option<&'a str>,
}

/// A verified proof of the key with this number.
fn proof_of(number: u8, said: Said<'_>) -> VerifiedProof {
    let proof = create(
        &key(number),
        &Statement {
            at_address: CallAddress::Http {
                method: "POST",
                url: "https://licenses.example/call",
            },
            body: b"",
            nonce: said.nonce,
            seq: said.seq,
            document: said.document,
            challenge: said.challenge,
            at: T0,
        },
    );
    let call = ReceivedCall {
        endpoint: Endpoint::Http {
            method: "POST",
            path: "/call",
            hosts: &[],
        },
        body: b"",
        nonce: said.nonce,
    };
    verify(&proof, &call).unwrap()
}

fn proof(number: u8, nonce: &str, seq: u64) -> VerifiedProof {
    proof_of(
        number,
        Said {
            nonce,
            seq: Some(seq),
            ..Said::default()
        },
    )
}

/// A call at [`T0`].
fn call(call: Call, proof: SentProof<'_>) -> JudgedCall<'_> {
    JudgedCall {
        call,
        is_by_file: false,
        proof,
        presents_newest: false,
        at: T0,
    }
}

/// A held seat with this key, whose newest number is 1000, and a license that was activated at 500
/// and has moves.
fn seat(bound: Option<&BoundKey>) -> JudgedSeat<'_> {
    JudgedSeat {
        former: None,
        is_new: false,
        bound,
        signed_until: Some(at(96)),
        issued: 1000,
        activated: 500,
        outdated_until: None,
        requires_proof: false,
        moves_left: 3,
    }
}

fn new_seat() -> JudgedSeat<'static> {
    JudgedSeat {
        is_new: true,
        issued: 0,
        activated: 0,
        ..seat(None)
    }
}

/// The key with this number, bound when the seat was taken.
fn bound(number: u8) -> BoundKey {
    let proof = proof(number, "first", 0);
    let served = decide(&new_seat(), &call(Call::Activate, SentProof::Valid(&proof)));
    served.unwrap().bound_key(Some(at(96))).unwrap()
}

/// The same, bound when licenses signed without it were valid until this time.
fn bound_later(number: u8, unproven_until: DateTime<Utc>) -> BoundKey {
    let proof = proof(number, "first", 0);
    let seat = JudgedSeat {
        signed_until: Some(unproven_until),
        ..seat(None)
    };
    let call = JudgedCall {
        presents_newest: true,
        ..call(Call::Validate, SentProof::Valid(&proof))
    };
    let served = decide(&seat, &call).unwrap();
    served.bound_key(Some(at(96))).unwrap()
}

fn no_contact(event: SecurityEvent) -> Result<Served, Refusal> {
    Err(Refusal::NoContact(event))
}

fn unbound(event: Option<SecurityEvent>) -> Result<Served, Refusal> {
    Ok(Served::Unbound { event })
}

fn is_lease(call: Call) -> bool {
    matches!(call, Call::Activate | Call::Validate | Call::Trial)
}

fn takes_seat(call: Call) -> bool {
    matches!(call, Call::Activate | Call::Trial)
}
