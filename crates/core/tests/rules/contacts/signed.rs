//! Where keys are trusted: only a signed answer to this very request counts.

use chrono::TimeDelta;
use license_core::document::{DenialClaims, DenialReason, DocumentError, LicenseClaims};
use license_core::lease::Lease;
use license_core::license_key::fingerprint;
use license_core::protocol;
use license_core::response::{Contact, Denial, Mismatch, NoContact, Question, Reply};
use serde_json::json;

use super::{Call, confirmation, denial, no_contact, word};
use crate::signer::{
    KEY, SEQ, Signer, T0, activation, answer, denial_claims, license_claims, license_object,
    question, validation,
};

/// The answer of a signing License Server to both calls.
pub(super) fn answers_of(jws: &str) -> [(Call, Reply); 2] {
    let mut license = license_object();
    license.insert("signature".into(), jws.into());
    let validated = protocol::confirmed(&license).to_string();
    let activated = protocol::activated(&license).to_string();
    [
        (activation as Call, answer(200, activated)),
        (validation, answer(200, validated)),
    ]
}

/// Why an answer with these signed claims is no contact for both calls.
fn rejected(question: &Question, change: impl FnOnce(&mut LicenseClaims)) -> NoContact {
    let vendor = Signer::vendor();
    let mut claims = license_claims();
    change(&mut claims);
    let [activated, validated] = answers_of(&vendor.license(&claims))
        .map(|(call, reply)| no_contact(call(&reply, question, &vendor.trust())));
    assert_eq!(activated, validated);
    activated
}

pub(super) fn denied(signature: Option<&str>) -> Reply {
    let claims = denial_claims();
    answer(
        200,
        protocol::denied(&claims.reason, &claims.message, signature).to_string(),
    )
}

/// Why an answer with these signed claims is no contact for a validation.
fn denial_rejected(question: &Question, change: impl FnOnce(&mut DenialClaims)) -> NoContact {
    let vendor = Signer::vendor();
    let mut claims = denial_claims();
    change(&mut claims);
    let reply = denied(Some(&vendor.denial(&claims)));
    no_contact(validation(&reply, question, &vendor.trust()))
}

#[test]
fn a_signed_answer_to_this_request_is_a_confirmation() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    for (call, reply) in answers_of(&jws) {
        let contact = call(&reply, &question(), &vendor.trust());
        let lease = confirmation(contact).lease(KEY, T0, TimeDelta::hours(999));
        let Some(Lease::Signed(document)) = lease else {
            panic!("the lease is not signed");
        };
        assert_eq!(document.jws(), jws);
        assert_eq!(*document.claims(), license_claims());
    }
}

#[test]
fn the_key_of_a_signed_license_may_be_spelled_otherwise() {
    let vendor = Signer::vendor();
    let question = Question {
        license_key: " fxsght aaaa bbbb cccc dddd ",
        ..question()
    };
    for (call, reply) in answers_of(&vendor.license(&license_claims())) {
        assert_eq!(word(&call(&reply, &question, &vendor.trust())), "yes");
    }
}

#[test]
fn a_signed_denial_of_this_request_is_a_denial() {
    let vendor = Signer::vendor();
    let jws = vendor.denial(&denial_claims());
    let claims = denial_claims();
    let refused = protocol::refused(&claims.reason, &claims.message, Some(&jws)).to_string();
    let cases = [
        (validation as Call, denied(Some(&jws))),
        (activation, answer(200, refused.clone())),
        (activation, answer(403, refused)),
        (
            validation,
            answer(200, json!({"isValid": false, "signature": jws}).to_string()),
        ),
    ];
    for (call, reply) in cases {
        let contact = call(&reply, &question(), &vendor.trust());
        let Denial::Signed(document) = denial(contact) else {
            panic!("the denial is not signed");
        };
        assert_eq!(*document.claims(), claims);
    }
}

#[test]
fn the_reason_of_a_signed_denial_is_the_signed_one() {
    let vendor = Signer::vendor();
    let jws = vendor.denial(&denial_claims());
    let body =
        json!({"isValid": false, "reason": "seat_limit", "message": "Full", "signature": jws});
    let contact = validation(&answer(200, body.to_string()), &question(), &vendor.trust());
    let denial = denial(contact);
    assert_eq!(denial.reason(), "revoked");
    assert_eq!(denial.message(), Some(denial_claims().message.as_str()));
}

#[test]
fn the_license_that_counts_is_the_signed_one() {
    let vendor = Signer::vendor();
    let tampered = json!({
        "licenseKey": "FXSGHT-ZZZZ-ZZZZ-ZZZZ-ZZZZ",
        "tier": "enterprise",
        "maxCameras": 100_000,
        "enabledFeatures": ["module.health_monitoring"],
        "expiresAt": "2999-01-01T00:00:00Z",
        "signature": vendor.license(&license_claims()),
    });
    let body = protocol::confirmed(tampered.as_object().unwrap()).to_string();
    let contact = validation(&answer(200, body), &question(), &vendor.trust());
    let lease = confirmation(contact)
        .lease(KEY, T0, TimeDelta::hours(24))
        .unwrap();
    let license = lease.license();
    assert_eq!(license.license_key(), Some(KEY));
    assert_eq!(license.tier(), Some("professional"));
    assert_eq!(license.max_cameras(), Some(64));
    assert_eq!(license.expires_at_text(), None);
    let listed: Vec<String> = license
        .features()
        .keys
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        listed,
        [
            "acme.drone_dock",
            "module.analytics_advanced",
            "module.map_view"
        ]
    );
}

#[test]
fn an_unsigned_confirmation_is_no_contact_where_keys_are_trusted() {
    let trust = Signer::vendor().trust();
    for signature in [json!(""), json!(null), json!(7)] {
        let mut license = license_object();
        license.insert("signature".into(), signature);
        let reply = answer(200, protocol::confirmed(&license).to_string());
        let why = no_contact(validation(&reply, &question(), &trust));
        assert_eq!(why, NoContact::ServerDoesNotSign);
        assert_eq!(why.code(), "server_does_not_sign");
        assert!(!why.is_suspicious());
    }
}

#[test]
fn an_unsigned_denial_is_no_contact_where_keys_are_trusted() {
    let trust = Signer::vendor().trust();
    let why = no_contact(validation(&denied(None), &question(), &trust));
    assert_eq!(why, NoContact::ServerDoesNotSign);
}

#[test]
fn an_answer_to_another_request_is_no_contact() {
    let expected = NoContact::NotForUs(Mismatch::Nonce);
    let wrong = |nonce: Option<&str>| {
        let nonce = nonce.map(str::to_owned);
        rejected(&question(), |claims| claims.nonce = nonce)
    };
    assert_eq!(wrong(Some("another")), expected);
    assert_eq!(wrong(Some("")), expected);
    let why = denial_rejected(&question(), |claims| claims.nonce = Some("another".into()));
    assert_eq!(why, expected);
    // A proxy may have removed the nonce from the request.
    let expected = NoContact::NotForUs(Mismatch::NoNonce);
    assert_eq!(wrong(None), expected);
    let why = denial_rejected(&question(), |claims| claims.nonce = None);
    assert_eq!(why, expected);
    assert!(why.to_string().contains("request header X-License-Nonce"));
    assert_eq!(why.code(), "not_for_us");
    assert!(why.is_suspicious());
}

#[test]
fn an_answer_for_another_installation_is_no_contact() {
    let found = || "0d2c".to_owned();
    let expected = NoContact::NotForUs(Mismatch::Installation { found: found() });
    assert_eq!(
        rejected(&question(), |claims| claims.installation_id = found()),
        expected
    );
    assert_eq!(
        denial_rejected(&question(), |claims| claims.installation_id = found()),
        expected
    );
}

#[test]
fn an_answer_for_another_machine_is_no_contact() {
    let expected = NoContact::NotForUs(Mismatch::Hardware);
    assert_eq!(
        rejected(&question(), |claims| claims.hardware_id = "0d2c".into()),
        expected
    );
    assert_eq!(
        denial_rejected(&question(), |claims| claims.hardware_id = "0d2c".into()),
        expected
    );
}

#[test]
fn an_answer_about_another_key_is_no_contact() {
    let why = rejected(&question(), |claims| {
        let other = "FXSGHT-ZZZZ-ZZZZ-ZZZZ-ZZZZ";
        claims.license.insert("licenseKey".into(), other.into());
    });
    assert_eq!(why, NoContact::NotForUs(Mismatch::LicenseKey));
}

#[test]
fn an_answer_that_is_not_newer_than_the_newest_is_no_contact() {
    let question = Question {
        newest_seq: Some(SEQ),
        ..question()
    };
    for found in [0, SEQ - 1, SEQ] {
        let expected = NoContact::NotForUs(Mismatch::Sequence { found, newest: SEQ });
        assert_eq!(rejected(&question, |claims| claims.seq = found), expected);
        assert_eq!(
            denial_rejected(&question, |claims| claims.seq = found),
            expected
        );
    }
    let vendor = Signer::vendor();
    let mut claims = license_claims();
    claims.seq = SEQ + 1;
    for (call, reply) in answers_of(&vendor.license(&claims)) {
        assert_eq!(word(&call(&reply, &question, &vendor.trust())), "yes");
    }
}

#[test]
fn an_invalid_document_is_no_contact() {
    let vendor = Signer::vendor();
    let untrusted = Signer::untrusted();
    let cases = [
        (
            untrusted.license(&license_claims()),
            DocumentError::UnknownKeyId(untrusted.kid),
        ),
        (
            Signer::untrusted()
                .posing_as(&vendor)
                .license(&license_claims()),
            DocumentError::SignatureMismatch,
        ),
        (
            vendor.denial(&denial_claims()),
            DocumentError::Type {
                expected: "foxsight-license+jwt",
                found: "foxsight-denial+jwt".into(),
            },
        ),
        ("sig-0001".to_owned(), DocumentError::NotCompact),
    ];
    for (jws, error) in cases {
        for (call, reply) in answers_of(&jws) {
            let why = no_contact(call(&reply, &question(), &vendor.trust()));
            assert_eq!(why, NoContact::NotGenuine(error.clone()));
            assert_eq!(why.code(), "not_genuine");
            assert!(why.is_suspicious());
        }
    }
}

/// An attacker between site and vendor may ask about another license with the site's nonce.
/// The vendor's answer is genuine, but does not answer the site's call.
#[test]
fn a_denial_of_another_license_key_is_no_contact() {
    let asked = question();
    for spelled in [
        asked.license_key.to_lowercase(),
        asked.license_key.replace('-', " "),
    ] {
        let vendor = Signer::vendor();
        let mut claims = denial_claims();
        claims.license_key_hash = Some(fingerprint(&spelled));
        let reply = denied(Some(&vendor.denial(&claims)));
        denial(validation(&reply, &asked, &vendor.trust()));
    }
    let why = denial_rejected(&asked, |claims| {
        claims.reason = DenialReason::UnknownLicense;
        claims.license_key_hash = Some(fingerprint("FXSGHT-2222-2222-2222-2222"));
    });
    assert_eq!(why, NoContact::NotForUs(Mismatch::LicenseKey));
    assert!(why.is_suspicious());
}

#[test]
fn an_invalid_denial_is_no_contact() {
    let vendor = Signer::vendor();
    let untrusted = Signer::untrusted();
    let cases = [
        (
            untrusted.denial(&denial_claims()),
            DocumentError::UnknownKeyId(untrusted.kid),
        ),
        (
            Signer::untrusted()
                .posing_as(&vendor)
                .denial(&denial_claims()),
            DocumentError::SignatureMismatch,
        ),
        (
            vendor.license(&license_claims()),
            DocumentError::Type {
                expected: "foxsight-denial+jwt",
                found: "foxsight-license+jwt".into(),
            },
        ),
    ];
    for (jws, error) in cases {
        let why = no_contact(validation(
            &denied(Some(&jws)),
            &question(),
            &vendor.trust(),
        ));
        assert_eq!(why, NoContact::NotGenuine(error));
    }
}

#[test]
fn an_unsigned_denial_beside_a_signed_license_does_not_count() {
    let vendor = Signer::vendor();
    let mut license = license_object();
    license.insert("signature".into(), vendor.license(&license_claims()).into());
    let body = json!({"success": true, "data": {"isValid": false, "license": license}});
    let why = no_contact(validation(
        &answer(200, body.to_string()),
        &question(),
        &vendor.trust(),
    ));
    assert_eq!(why, NoContact::ServerDoesNotSign);
}

#[test]
fn every_flipped_bit_of_a_signature_is_no_contact() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let jws = vendor.license(&license_claims());
    let [_, (call, reply)] = answers_of(&jws);
    let Reply::Answer { body, .. } = reply else {
        panic!("no answer");
    };
    let start = body
        .windows(jws.len())
        .position(|window| window == jws.as_bytes())
        .unwrap();
    for index in start..start + jws.len() {
        for bit in 0..8 {
            let mut flipped = body.clone();
            flipped[index] ^= 1 << bit;
            let contact = call(&answer(200, flipped), &question(), &trust);
            assert!(
                matches!(contact, Contact::None(_)),
                "bit {bit} of byte {index}: {contact:?}"
            );
        }
    }
}
