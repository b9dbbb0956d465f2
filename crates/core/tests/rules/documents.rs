//! Each reason not to believe a document, exactly.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use license_core::document::{
    DenialReason, DocumentError, DocumentType, MAX_BYTES, verify_denial, verify_license,
};
use serde_json::json;

use crate::signer::{Signer, denial_claims, license_claims};

const LICENSE: &str = "foxsight-license+jwt";

fn refused(jws: &str) -> DocumentError {
    verify_license(jws, &Signer::new(1).keyring()).unwrap_err()
}

fn header(alg: &str, typ: &str, kid: &str) -> String {
    json!({"alg": alg, "kid": kid, "typ": typ}).to_string()
}

/// A document with another header, rightly signed.
fn with_header(header: &str) -> String {
    let payload = serde_json::to_string(&license_claims()).unwrap();
    Signer::new(1).raw(header, &payload)
}

#[test]
fn a_genuine_document_is_believed_and_says_what_was_signed() {
    let signer = Signer::new(1);
    let verified = signer.license(&license_claims());
    assert_eq!(verified.claims(), &license_claims());
    assert_eq!(verified.license().signature(), verified.jws());
    assert_eq!(signer.denial(&denial_claims()).claims(), &denial_claims());
}

#[test]
fn both_names_of_the_algorithm_are_accepted_and_no_other() {
    let kid = Signer::new(1).kid();
    let accepted = |alg: &str| {
        let jws = with_header(&header(alg, LICENSE, &kid));
        verify_license(&jws, &Signer::new(1).keyring()).map(|_| ())
    };
    assert_eq!(accepted("EdDSA"), Ok(()));
    assert_eq!(accepted("Ed25519"), Ok(()));
    for alg in [
        "none", "None", "HS256", "ES256", "RS256", "Ed448", "eddsa", "",
    ] {
        let refused = Err(DocumentError::Algorithm(alg.into()));
        assert_eq!(accepted(alg), refused);
    }
}

#[test]
fn a_header_that_is_not_ours_is_refused_with_the_reason() {
    let kid = Signer::new(1).kid();
    let denial = header("EdDSA", "foxsight-denial+jwt", &kid);
    assert_eq!(
        refused(&with_header(&denial)),
        DocumentError::Type {
            expected: LICENSE,
            found: "foxsight-denial+jwt".into()
        }
    );
    let no_type = json!({"alg": "EdDSA", "kid": kid}).to_string();
    assert!(matches!(
        refused(&with_header(&no_type)),
        DocumentError::Type { .. }
    ));
    let no_kid = json!({"alg": "EdDSA", "typ": LICENSE}).to_string();
    assert_eq!(refused(&with_header(&no_kid)), DocumentError::KeyIdMissing);
    let unknown = header("EdDSA", LICENSE, "unknown");
    assert_eq!(
        refused(&with_header(&unknown)),
        DocumentError::UnknownKeyId("unknown".into())
    );
    let critical = json!({"alg": "EdDSA", "kid": kid, "typ": LICENSE, "crit": ["exp"]});
    assert_eq!(
        refused(&with_header(&critical.to_string())),
        DocumentError::CriticalExtension
    );
    for broken in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"alg":1}"#,
        r#"{"alg":"EdDSA","alg":"none"}"#,
    ] {
        assert!(
            matches!(refused(&with_header(broken)), DocumentError::Header(_)),
            "{broken}"
        );
    }
}

#[test]
fn a_document_by_a_strangers_key_with_a_trusted_id_is_refused() {
    let kid = Signer::new(1).kid();
    let payload = serde_json::to_string(&license_claims()).unwrap();
    let jws = Signer::new(2).raw(&header("EdDSA", LICENSE, &kid), &payload);
    assert_eq!(refused(&jws), DocumentError::SignatureMismatch);
}

#[test]
fn a_text_of_another_form_is_refused() {
    let jws = Signer::new(1).sign(DocumentType::License, &license_claims());
    let (input, signature) = jws.rsplit_once('.').unwrap();
    for text in [
        "",
        "x",
        "a.b",
        input,
        &format!("{jws}.x"),
        &format!("x.{jws}"),
    ] {
        assert_eq!(refused(text), DocumentError::NotCompact, "{text}");
    }
    for wrong in [
        "",
        "AAAA",
        &signature[1..],
        &format!("{signature}="),
        &format!("{signature}A"),
    ] {
        let jws = format!("{input}.{wrong}");
        assert_eq!(refused(&jws), DocumentError::SignatureMalformed, "{wrong}");
    }
    assert!(matches!(
        refused(&format!("={jws}")),
        DocumentError::Header(_)
    ));
    let long = format!("{jws}{}", "A".repeat(MAX_BYTES));
    assert_eq!(refused(&long), DocumentError::TooLong { bytes: long.len() });
}

#[test]
fn a_signed_payload_that_contradicts_itself_is_refused() {
    let signer = Signer::new(1);
    let change = |change: &dyn Fn(&mut license_core::document::LicenseClaims)| {
        let mut claims = license_claims();
        change(&mut claims);
        refused(&signer.sign(DocumentType::License, &claims))
    };
    assert_eq!(
        change(&|c| c.exp = c.valid_until - TimeDelta::seconds(1)),
        DocumentError::TimesOutOfOrder
    );
    assert_eq!(
        change(&|c| c.valid_until = c.iat - TimeDelta::seconds(1)),
        DocumentError::TimesOutOfOrder
    );
    assert_eq!(
        change(&|c| {
            c.license.remove("licenseKey");
        }),
        DocumentError::LicenseKeyMissing
    );
    assert_eq!(
        change(&|c| {
            c.license.insert("expiresAt".into(), "soon".into());
        }),
        DocumentError::ExpiryUnreadable
    );
    let kid = signer.kid();
    let mut claims = serde_json::to_value(license_claims()).unwrap();
    for field in [
        "seq",
        "exp",
        "validUntil",
        "iat",
        "installationId",
        "hardwareId",
        "license",
    ] {
        let kept = claims[field].take();
        claims.as_object_mut().unwrap().remove(field);
        let jws = signer.raw(&header("EdDSA", LICENSE, &kid), &claims.to_string());
        assert!(
            matches!(refused(&jws), DocumentError::Payload(_)),
            "{field}"
        );
        for odd in [json!(null), json!("x"), json!(-1.5), json!(1e300)] {
            claims[field] = odd;
            let jws = signer.raw(&header("EdDSA", LICENSE, &kid), &claims.to_string());
            let error = verify_license(&jws, &signer.keyring());
            if claims[field] != "x" || !field.ends_with("Id") {
                assert!(matches!(error, Err(DocumentError::Payload(_))), "{field}");
            }
        }
        claims[field] = kept;
    }
}

#[test]
fn a_denial_for_a_reason_of_the_future_is_a_denial() {
    let mut claims = denial_claims();
    claims.reason = DenialReason::Other("export_ban".into());
    let verified = Signer::new(1).denial(&claims);
    assert_eq!(verified.claims().reason.as_str(), "export_ban");
    for reason in [
        DenialReason::Revoked,
        DenialReason::Suspended,
        DenialReason::Expired,
        DenialReason::HardwareMismatch,
        DenialReason::SeatLimit,
        DenialReason::UnknownLicense,
    ] {
        claims.reason = reason.clone();
        assert_eq!(Signer::new(1).denial(&claims).claims().reason, reason);
    }
    assert!(verify_denial("a.b.c", &Signer::new(1).keyring()).is_err());
}

#[test]
fn every_single_flipped_bit_and_every_truncation_is_refused() {
    let jws = Signer::new(1).sign(DocumentType::License, &license_claims());
    let keyring = Signer::new(1).keyring();
    let mut tried = 0;
    for index in 0..jws.len() {
        for bit in 0..8 {
            let mut bytes = jws.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(
                verify_license(&text, &keyring).is_err(),
                "bit {bit} of {index}"
            );
            tried += 1;
        }
        assert!(
            verify_license(&jws[..index], &keyring).is_err(),
            "cut at {index}"
        );
    }
    assert!(tried > jws.len() * 6);
}

#[test]
fn a_signature_with_other_trailing_bits_is_not_the_same_text() {
    let jws = Signer::new(1).sign(DocumentType::License, &license_claims());
    // 64 bytes are 85 and a third characters: the last one has spare bits.
    let (head, last) = jws.split_at(jws.len() - 1);
    let decoded = URL_SAFE_NO_PAD
        .decode(jws.rsplit_once('.').unwrap().1)
        .unwrap();
    assert_eq!(decoded.len(), 64);
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        if last != other.to_string() {
            assert!(verify_license(&format!("{head}{other}"), &Signer::new(1).keyring()).is_err());
        }
    }
}
