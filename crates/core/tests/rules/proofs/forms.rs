//! Every change of a proof, and every other call that it is moved to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::installation_key::InstallationKey;
use license_core::offline::Purpose;
use license_core::proof::{
    CallAddress, Endpoint, MAX_NONCE_CHARS, MAX_PROOF_BYTES, ProofError, ReceivedCall, Statement,
    create, verify,
};
use license_core::protocol::{
    ACTIVATE, DEACTIVATE, HEARTBEAT, OFFLINE, PREVIEW, REDEEM, TRIAL, VALIDATE,
};

use super::{
    BODY, URL, endpoint, key, parts, proof, received, refusal, signed, statement, verified,
};

#[test]
fn every_flipped_bit_invalidates_a_proof() {
    let proof = proof();
    for (index, bit) in (0..proof.len()).flat_map(|index| (0..7).map(move |bit| (index, bit))) {
        let mut bytes = proof.clone().into_bytes();
        bytes[index] ^= 1 << bit;
        let flipped = String::from_utf8(bytes).unwrap();
        assert!(verified(&flipped).is_err(), "bit {bit} of {index}");
    }
}

#[test]
fn every_truncation_and_every_addition_invalidates_a_proof() {
    let proof = proof();
    for length in 0..proof.len() {
        assert!(verified(&proof[..length]).is_err(), "{length}");
        let last = &proof[proof.len() - length..];
        assert!(verified(last).is_err(), "last {length}");
    }
    for added in [".", "=", " ", "A", ".A", "\n"] {
        assert!(verified(&format!("{proof}{added}")).is_err(), "{added:?}");
        assert!(verified(&format!("{added}{proof}")).is_err(), "{added:?}");
    }
    for text in ["", ".", "..", "...", "a.b.c", "a.b"] {
        assert!(verified(text).is_err(), "{text}");
    }
}

#[test]
fn a_proof_that_is_moved_to_another_call_is_refused() {
    let moved = |call: ReceivedCall<'_>| verify(&proof(), &call).unwrap_err();
    for path in [
        ACTIVATE, DEACTIVATE, HEARTBEAT, OFFLINE, PREVIEW, REDEEM, TRIAL,
    ] {
        let error = moved(ReceivedCall {
            endpoint: endpoint("POST", path),
            ..received()
        });
        assert_eq!(error, ProofError::OtherPath, "{path}");
    }
    for method in ["GET", "PUT", "post", "", "FILE"] {
        let error = moved(ReceivedCall {
            endpoint: endpoint(method, VALIDATE),
            ..received()
        });
        assert_eq!(error, ProofError::OtherMethod, "{method}");
    }
    let longer = [BODY, b" "].concat();
    for body in [&BODY[1..], &longer, b""] {
        let error = moved(ReceivedCall { body, ..received() });
        assert_eq!(error, ProofError::OtherBody, "{body:?}");
    }
    for nonce in ["another", &super::NONCE[1..]] {
        let error = moved(ReceivedCall {
            nonce,
            ..received()
        });
        assert_eq!(error, ProofError::OtherNonce, "{nonce}");
    }
    for purpose in Purpose::ALL {
        let error = moved(ReceivedCall {
            endpoint: Endpoint::File(purpose),
            ..received()
        });
        assert_eq!(error, ProofError::OtherMethod, "{purpose:?}");
    }
}

#[test]
fn a_proof_that_is_moved_to_another_server_is_refused_if_names_are_configured() {
    let of = |host: &str| {
        let hosts = [host.to_owned()];
        let call = ReceivedCall {
            endpoint: Endpoint::Http {
                method: "POST",
                path: VALIDATE,
                hosts: &hosts,
            },
            ..received()
        };
        verify(&proof(), &call).map(|_| ())
    };
    assert_eq!(of("Licenses.Example"), Ok(()));
    let error = ProofError::OtherHost("licenses.example".to_owned());
    assert_eq!(of("other.example"), Err(error));
}

#[test]
fn a_proof_with_another_key_in_its_header_is_refused() {
    let ours = proof();
    let theirs = create(&InstallationKey::from_seed(&[4; 32]), &statement());
    let [our_header, our_payload, our_signature] = parts(&ours);
    let [their_header, their_payload, their_signature] = parts(&theirs);
    assert_eq!(our_payload, their_payload);
    for mixed in [
        format!("{their_header}.{our_payload}.{our_signature}"),
        format!("{our_header}.{our_payload}.{their_signature}"),
    ] {
        assert_eq!(refusal(&mixed), ProofError::SignatureMismatch);
    }
    // It is a proof of the other key, which is not that of the seat.
    let said = verified(&theirs).unwrap();
    assert_ne!(said.thumbprint(), key().thumbprint());
}

#[test]
fn a_signature_of_another_length_is_malformed() {
    let proof = proof();
    let (input, signature) = proof.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let longer = [&signature[..], &[0]].concat();
    for wrong in [&signature[..63], &signature[..0], &longer] {
        let wrong = URL_SAFE_NO_PAD.encode(wrong);
        assert_eq!(
            refusal(&format!("{input}.{wrong}")),
            ProofError::SignatureMalformed
        );
    }
}

/// RFC 8032, section 5.1.7: as in documents, one proof has one spelling.
#[test]
fn a_second_spelling_of_a_valid_signature_is_invalid() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let proof = proof();
    let (input, signature) = proof.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    let second = URL_SAFE_NO_PAD.encode(signature);
    assert_eq!(
        refusal(&format!("{input}.{second}")),
        ProofError::SignatureMismatch
    );
}

#[test]
fn the_size_of_a_proof_is_bounded() {
    let proofs: Vec<String> = (2000..3000)
        .map(|length| {
            let prefix = "a".repeat(length);
            let url = URL.replace("/api", &format!("/{prefix}"));
            let address = CallAddress::Http {
                method: "POST",
                url: &url,
            };
            create(
                &key(),
                &Statement {
                    at_address: address,
                    ..statement()
                },
            )
        })
        .collect();
    let (short, long): (Vec<_>, Vec<_>) = proofs.iter().partition(|it| it.len() <= MAX_PROOF_BYTES);
    let longest = short.last().unwrap();
    assert!(longest.len() >= MAX_PROOF_BYTES - 1, "{}", longest.len());
    assert!(verified(longest).is_ok());
    let bytes = long[0].len();
    assert_eq!(refusal(long[0]), ProofError::TooLong { bytes });
    let huge = signed(&"a".repeat(10_000_000), "{}");
    assert!(matches!(refusal(&huge), ProofError::TooLong { .. }));
}

#[test]
fn a_call_needs_a_nonce_of_bounded_length() {
    for (length, expected) in [
        (0, Err(ProofError::NoNonce)),
        (1, Ok(())),
        (MAX_NONCE_CHARS, Ok(())),
        (MAX_NONCE_CHARS + 1, Err(ProofError::NoNonce)),
    ] {
        let nonce = "n".repeat(length);
        let statement = Statement {
            nonce: &nonce,
            ..statement()
        };
        let call = ReceivedCall {
            nonce: &nonce,
            ..received()
        };
        let result = verify(&create(&key(), &statement), &call);
        assert_eq!(result.map(|_| ()), expected, "{length}");
    }
}
