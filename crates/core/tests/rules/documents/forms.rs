//! Headers, encodings and sizes that are refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::document::{DocumentError, MAX_BYTES, verify_denial, verify_license};
use serde_json::json;

use super::{parts, refusal, signed, with_header};
use crate::signer::{Signer, denial_claims, license_claims};

#[test]
fn no_other_algorithm_is_accepted() {
    let kid = Signer::vendor().kid;
    for alg in [
        "none", "None", "HS256", "ES256", "RS256", "Ed448", "eddsa", "",
    ] {
        let header = json!({"alg": alg, "kid": kid, "typ": "foxsight-license+jwt"});
        assert_eq!(
            refusal(&with_header(&header)),
            DocumentError::Algorithm(alg.into())
        );
    }
}

#[test]
fn a_document_without_a_signature_is_refused_for_its_algorithm() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    assert_eq!(
        refusal(&format!("{header}.e30.")),
        DocumentError::Algorithm("none".into())
    );
}

#[test]
fn a_header_without_an_algorithm_cannot_be_read() {
    let kid = Signer::vendor().kid;
    let refusal = refusal(&with_header(
        &json!({"kid": kid, "typ": "foxsight-license+jwt"}),
    ));
    assert!(matches!(refusal, DocumentError::Header(why) if why.contains("missing field `alg`")));
}

#[test]
fn a_header_that_names_a_member_twice_cannot_be_read() {
    let vendor = Signer::vendor();
    let header = vendor.license_header().replace('}', r#","alg":"Ed25519"}"#);
    let refusal = refusal(&vendor.raw(&header, "{}"));
    assert!(matches!(refusal, DocumentError::Header(why) if why.contains("duplicate field `alg`")));
}

#[test]
fn a_header_that_is_no_json_object_cannot_be_read() {
    for header in ["", "7", "null", "{", "{} {}", "\u{feff}{}"] {
        let refusal = refusal(&Signer::vendor().raw(header, "{}"));
        assert!(
            matches!(refusal, DocumentError::Header(_)),
            "{header}: {refusal}"
        );
    }
}

#[test]
fn a_document_by_an_unknown_key_is_refused() {
    let untrusted = Signer::untrusted();
    assert_eq!(
        refusal(&untrusted.license(&license_claims())),
        DocumentError::UnknownKeyId(untrusted.kid)
    );
}

#[test]
fn a_document_that_names_no_key_is_refused() {
    let header = json!({"alg": "EdDSA", "typ": "foxsight-license+jwt"});
    assert_eq!(refusal(&with_header(&header)), DocumentError::KeyIdMissing);
}

#[test]
fn a_document_of_another_type_is_refused() {
    let kid = Signer::vendor().kid;
    for found in [
        "JWT",
        "foxsight-keyset+jwt",
        "FOXSIGHT-LICENSE+JWT",
        "license",
    ] {
        let header = json!({"alg": "EdDSA", "kid": kid, "typ": found});
        assert_eq!(
            refusal(&with_header(&header)),
            DocumentError::Type {
                expected: "foxsight-license+jwt",
                found: found.into()
            }
        );
    }
}

#[test]
fn a_document_without_a_type_is_refused() {
    let header = json!({"alg": "EdDSA", "kid": Signer::vendor().kid});
    let expected = "foxsight-license+jwt";
    let found = String::new();
    assert_eq!(
        refusal(&with_header(&header)),
        DocumentError::Type { expected, found }
    );
}

#[test]
fn a_denial_is_not_a_license_and_a_license_is_not_a_denial() {
    let vendor = Signer::vendor();
    assert_eq!(
        refusal(&vendor.denial(&denial_claims())),
        DocumentError::Type {
            expected: "foxsight-license+jwt",
            found: "foxsight-denial+jwt".into()
        }
    );
    assert_eq!(
        verify_denial(&vendor.license(&license_claims()), &vendor.keyring()),
        Err(DocumentError::Type {
            expected: "foxsight-denial+jwt",
            found: "foxsight-license+jwt".into()
        })
    );
}

#[test]
fn a_document_that_requires_an_extension_is_refused() {
    let kid = Signer::vendor().kid;
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!("exp")] {
        let header =
            json!({"alg": "EdDSA", "kid": kid, "typ": "foxsight-license+jwt", "crit": crit});
        assert_eq!(
            refusal(&with_header(&header)),
            DocumentError::CriticalExtension
        );
    }
}

#[test]
fn padding_is_refused_in_every_part() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let [header, payload, signature] = parts(&jws);
    assert!(matches!(
        refusal(&vendor.raw_parts(&format!("{header}="), payload)),
        DocumentError::Header(_)
    ));
    assert!(matches!(
        refusal(&vendor.raw_parts(header, &format!("{payload}="))),
        DocumentError::Payload(_)
    ));
    assert_eq!(
        refusal(&format!("{header}.{payload}.{signature}==")),
        DocumentError::SignatureMalformed
    );
}

#[test]
fn the_standard_alphabet_of_base64_is_refused() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let [header, payload, signature] = parts(&jws);
    let signature = signature.replace('-', "+").replace('_', "/");
    assert!(signature.contains(['+', '/']));
    assert_eq!(
        refusal(&format!("{header}.{payload}.{signature}")),
        DocumentError::SignatureMalformed
    );
}

#[test]
fn insignificant_bits_are_refused_in_every_part() {
    let vendor = Signer::vendor();
    let payload = serde_json::to_string(&license_claims()).unwrap();
    // Insignificant space gives each part a length with spare bits.
    let spare = |text: &str| {
        let spaces = usize::from(text.len().is_multiple_of(3));
        URL_SAFE_NO_PAD.encode(format!("{text}{}", " ".repeat(spaces)))
    };
    let header = spare(&vendor.license_header());
    let payload = spare(&payload);
    let jws = vendor.raw_parts(&header, &payload);
    assert!(verify_license(&jws, &vendor.keyring()).is_ok());

    assert!(matches!(
        refusal(&vendor.raw_parts(&with_trailing_bits(&header), &payload)),
        DocumentError::Header(_)
    ));
    assert!(matches!(
        refusal(&vendor.raw_parts(&header, &with_trailing_bits(&payload))),
        DocumentError::Payload(_)
    ));
    let signature = with_trailing_bits(parts(&jws)[2]);
    assert_eq!(
        refusal(&format!("{header}.{payload}.{signature}")),
        DocumentError::SignatureMalformed
    );
}

/// The same bits with another last character: only insignificant bits
/// differ.
fn with_trailing_bits(part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(part.len() % 4, 0, "this part has no trailing bits");
    let (rest, last) = part.split_at(part.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    format!("{rest}{}", &ALPHABET[value + 1..value + 2])
}

#[test]
fn two_or_four_parts_are_not_a_document() {
    let jws = signed(|_| ());
    let (two, _) = jws.rsplit_once('.').unwrap();
    for text in [
        two,
        &format!("{jws}.e30"),
        &format!("{jws}."),
        "",
        "license",
    ] {
        assert_eq!(refusal(text), DocumentError::NotCompact, "{text}");
    }
}

#[test]
fn space_around_a_document_is_refused() {
    let jws = signed(|_| ());
    assert!(matches!(
        refusal(&format!(" {jws}")),
        DocumentError::Header(_)
    ));
    assert_eq!(
        refusal(&format!("{jws}\n")),
        DocumentError::SignatureMalformed
    );
}

#[test]
fn a_document_of_the_maximum_size_is_read_and_one_byte_more_is_not() {
    let vendor = Signer::vendor();
    let padded = |spaces: usize| {
        let payload = serde_json::to_string(&license_claims()).unwrap();
        vendor.raw(
            &vendor.license_header(),
            &format!("{payload}{}", " ".repeat(spaces)),
        )
    };
    let most = (MAX_BYTES - padded(0).len()) * 3 / 4;
    let longest = (most - 3..=most + 3)
        .map(padded)
        .rfind(|jws| jws.len() <= MAX_BYTES)
        .unwrap();
    assert!(verify_license(&longest, &vendor.keyring()).is_ok());
    let too_long = format!("{longest}{}", "A".repeat(MAX_BYTES + 1 - longest.len()));
    assert_eq!(
        refusal(&too_long),
        DocumentError::TooLong {
            bytes: MAX_BYTES + 1
        }
    );
}
