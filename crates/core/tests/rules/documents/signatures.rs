//! Signatures that do not fit.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::document::{DocumentError, verify_denial, verify_license};

use super::{parts, refusal, signed};
use crate::signer::{Signer, denial_claims, license_claims};

#[test]
fn a_signature_of_another_length_is_malformed() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let (input, _) = jws.rsplit_once('.').unwrap();
    let signature = vendor.signature(input);
    let longer = [&signature[..], &[0]].concat();
    for wrong in [&signature[..63], &signature[..0], &longer] {
        let wrong = URL_SAFE_NO_PAD.encode(wrong);
        assert_eq!(
            refusal(&format!("{input}.{wrong}")),
            DocumentError::SignatureMalformed
        );
    }
}

#[test]
fn a_signature_by_another_key_under_a_trusted_name_is_wrong() {
    let impostor = Signer::untrusted().posing_as(&Signer::vendor());
    assert_eq!(
        refusal(&impostor.license(&license_claims())),
        DocumentError::SignatureMismatch
    );
}

#[test]
fn the_signature_of_another_document_is_wrong() {
    let ours = signed(|_| ());
    let other = signed(|claims| claims.seq += 1);
    let [header, payload, _] = parts(&ours);
    let [_, _, signature] = parts(&other);
    assert_eq!(
        refusal(&format!("{header}.{payload}.{signature}")),
        DocumentError::SignatureMismatch
    );
}

/// RFC 8032, section 5.1.7: S must be below the order of the group, otherwise one document
/// would have several valid spellings.
#[test]
fn a_second_spelling_of_a_valid_signature_is_invalid() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let (input, _) = jws.rsplit_once('.').unwrap();
    let mut signature = vendor.signature(input);
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    let second = URL_SAFE_NO_PAD.encode(signature);
    assert_eq!(
        refusal(&format!("{input}.{second}")),
        DocumentError::SignatureMismatch
    );
}

#[test]
fn every_flipped_bit_invalidates_a_document() {
    let vendor = Signer::vendor();
    let keyring = vendor.keyring();
    let documents = [
        vendor.license(&license_claims()),
        vendor.denial(&denial_claims()),
    ];
    for jws in documents {
        // With the eighth bit the text would not be UTF-8, which the types rule out here; see the
        // raw answers in `contacts.rs`.
        for (index, bit) in (0..jws.len()).flat_map(|index| (0..7).map(move |bit| (index, bit))) {
            let mut bytes = jws.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let flipped = String::from_utf8(bytes).unwrap();
            assert!(
                verify_license(&flipped, &keyring).is_err(),
                "bit {bit} of {index}"
            );
            assert!(
                verify_denial(&flipped, &keyring).is_err(),
                "bit {bit} of {index}"
            );
        }
    }
}

#[test]
fn every_flipped_bit_of_the_payload_invalidates_the_signature() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let [header, payload, signature] = parts(&jws);
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    for index in 0..payload.len() {
        let mut flipped = payload.clone();
        flipped[index] ^= 1 << (index % 8);
        let flipped = URL_SAFE_NO_PAD.encode(flipped);
        assert_eq!(
            refusal(&format!("{header}.{flipped}.{signature}")),
            DocumentError::SignatureMismatch
        );
    }
}

#[test]
fn every_truncation_invalidates_a_document() {
    let keyring = Signer::vendor().keyring();
    let jws = signed(|_| ());
    for length in 0..jws.len() {
        assert!(
            verify_license(&jws[..length], &keyring).is_err(),
            "{length}"
        );
        assert!(
            verify_license(&jws[jws.len() - length..], &keyring).is_err(),
            "last {length}"
        );
    }
}
