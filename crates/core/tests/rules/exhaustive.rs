//! Every single-bit change, every truncation and every replay.
//!
//! A normal run covers a part of them; `GOLDEN_DOCUMENTS` and `REPLAYS` set how many
//! (`cargo xtask prove` covers all).

use chrono::TimeDelta;
use license_core::document::{DenialReason, verify_denial, verify_license};
use license_core::response::{Contact, NoContact, Question, Reply};
use license_core::rotation::{KeySetClaims, follow};
use serde_json::json;

use crate::signer::{
    KEY, NONCE, SEQ, Signer, T0, activation, at, denial_claims, license_claims, question,
    validation,
};

#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn size(variable: &str, default: usize) -> usize {
    let size = std::env::var(variable).ok();
    size.map_or(default, |size| size.parse().unwrap())
}

/// Twenty documents with different content.
fn golden() -> Vec<String> {
    let vendor = Signer::vendor();
    let mut documents = Vec::new();
    for number in 0..8_u64 {
        let mut claims = license_claims();
        claims.seq += number;
        claims.offline = number % 2 == 1;
        claims.nonce = (number % 3 != 0).then(|| format!("nonce-{number}"));
        claims.key_set = Some(number);
        let features: Vec<String> = (0..number).map(|n| format!("acme.{n}")).collect();
        claims
            .license
            .insert("enabledFeatures".into(), features.into());
        documents.push(vendor.license(&claims));
    }
    for (number, reason) in [
        DenialReason::Revoked,
        DenialReason::Suspended,
        DenialReason::Expired,
        DenialReason::HardwareMismatch,
        DenialReason::SeatLimit,
        DenialReason::UnknownLicense,
        DenialReason::Deactivated,
        DenialReason::AddOnElsewhere,
        DenialReason::Redeemed,
        DenialReason::Other("later".into()),
    ]
    .into_iter()
    .enumerate()
    {
        let mut claims = denial_claims();
        claims.reason = reason;
        claims.message = "é".repeat(number);
        documents.push(vendor.denial(&claims));
    }
    for number in 0..4_u8 {
        documents.push(
            vendor.key_set(&KeySetClaims {
                iss: "https://licenses.example".into(),
                iat: at(number.into()),
                version: 2,
                keys: (0..=number)
                    .flat_map(|n| Signer::numbered(n).jwk_set().keys)
                    .collect(),
                revoked: (0..number).map(|n| format!("key-{n}")).collect(),
            }),
        );
    }
    documents
}

fn is_believed(text: &str) -> bool {
    let keyring = Signer::vendor().keyring();
    verify_license(text, &keyring).is_ok()
        || verify_denial(text, &keyring).is_ok()
        || follow(&keyring, text).is_ok()
}

#[test]
fn no_flipped_bit_and_no_truncation_of_a_golden_document_is_accepted() {
    let documents = golden();
    assert_eq!(documents.len(), 22);
    let taken = size("GOLDEN_DOCUMENTS", 2).min(documents.len());
    let (mut flips, mut truncations) = (0, 0);
    // Takes some of each kind, up to the number.
    for document in documents.iter().step_by(documents.len() / taken) {
        assert!(is_believed(document));
        for length in 0..document.len() {
            assert!(!is_believed(&document[..length]), "{length} of {document}");
            truncations += 1;
        }
        let mut bytes = document.clone().into_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                // Invalid UTF-8 is not a document.
                if let Ok(text) = std::str::from_utf8(&bytes) {
                    assert!(!is_believed(text), "byte {at}, bit {bit} of {document}");
                }
                bytes[at] ^= 1 << bit;
                flips += 1;
            }
        }
    }
    println!(
        "{taken} documents: {flips} flipped bits and {truncations} truncations, none believed"
    );
}

#[test]
fn no_recorded_answer_counts_again() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let recorded = recorded_answers(&vendor);
    let replays = size("REPLAYS", 2_000);
    for number in 0..replays {
        let (reply, own_nonce, seq) = &recorded[number % recorded.len()];
        let turn = number / recorded.len();
        let other_nonce = format!("{NONCE}-{}", 1000 + number);
        let base = question();
        // To another request; to the same one again; to another installation, machine or license
        // that was given the nonce of this one.
        let asked = match turn % 5 {
            0 => Question {
                nonce: &other_nonce,
                ..base
            },
            1 => Question {
                nonce: own_nonce,
                newest_seq: Some(*seq),
                ..base
            },
            2 => Question {
                nonce: own_nonce,
                installation_id: "other",
                ..base
            },
            3 => Question {
                nonce: own_nonce,
                hardware_id: "other",
                ..base
            },
            _ => Question {
                nonce: own_nonce,
                newest_seq: Some(SEQ + 1000 + number as u64),
                ..base
            },
        };
        for contact in [
            validation(reply, &asked, &trust),
            activation(reply, &asked, &trust),
        ] {
            assert!(
                matches!(
                    contact,
                    Contact::None(NoContact::NotForUs(_) | NoContact::Unexpected { .. })
                ),
                "{number}: {contact:?}"
            );
        }
        // It counts for its own request.
        if number < recorded.len() {
            let first = Question {
                nonce: own_nonce,
                ..base
            };
            assert!(!matches!(
                validation(reply, &first, &trust),
                Contact::None(_)
            ));
        }
    }
    println!("{replays} replays, none counted");
}

/// Confirmations and denials, each with the nonce of its request and its sequence number.
fn recorded_answers(vendor: &Signer) -> Vec<(Reply, String, u64)> {
    let mut recorded = Vec::new();
    for number in 0..20_u64 {
        let mut claims = license_claims();
        claims.seq += 2 * number;
        claims.nonce = Some(format!("{NONCE}-{number}"));
        claims.iat = T0 + TimeDelta::hours(i64::try_from(number).unwrap());
        (claims.valid_until, claims.exp) = (
            claims.iat + TimeDelta::days(1),
            claims.iat + TimeDelta::days(4),
        );
        let license = json!({"licenseKey": KEY, "signature": vendor.license(&claims)});
        let yes = json!({"success": true, "data": {"isValid": true, "license": license}});
        let mut denial = denial_claims();
        denial.seq = claims.seq + 1;
        denial.nonce.clone_from(&claims.nonce);
        let no = json!({"success": true, "data": {"isValid": false, "signature": vendor.denial(&denial)}});
        for (answer, seq) in [(yes, claims.seq), (no, denial.seq)] {
            let body = answer.to_string().into_bytes();
            let nonce = claims.nonce.clone().unwrap();
            recorded.push((Reply::Answer { status: 200, body }, nonce, seq));
        }
    }
    recorded
}
