//! Which documents are accepted, and why all others are rejected.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use license_core::document::{
    DenialReason, DocumentError, LicenseClaims, MAX_BYTES, key_id, verify_denial, verify_license,
};
use serde_json::{Value, json};

use crate::signer::{KEY, Signer, denial_claims, just_after, license_claims};

fn refusal(jws: &str) -> DocumentError {
    verify_license(jws, &Signer::vendor().keyring()).unwrap_err()
}

/// A license with this header and a valid signature.
fn with_header(header: &Value) -> String {
    let payload = serde_json::to_string(&license_claims()).unwrap();
    Signer::vendor().raw(&header.to_string(), &payload)
}

/// A license with one claim changed or removed and a valid signature.
fn with_claim(name: &str, value: Option<Value>) -> String {
    let mut claims = serde_json::to_value(license_claims()).unwrap();
    let claims = claims.as_object_mut().unwrap();
    match value {
        Some(value) => claims.insert(name.into(), value),
        None => claims.remove(name),
    };
    let vendor = Signer::vendor();
    vendor.raw(
        &vendor.license_header(),
        &serde_json::to_string(claims).unwrap(),
    )
}

fn signed(change: impl FnOnce(&mut LicenseClaims)) -> String {
    let mut claims = license_claims();
    change(&mut claims);
    Signer::vendor().license(&claims)
}

fn parts(jws: &str) -> [&str; 3] {
    let parts: Vec<&str> = jws.split('.').collect();
    parts.try_into().unwrap()
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
fn a_license_has_the_signed_content() {
    let vendor = Signer::vendor();
    let jws = vendor.license(&license_claims());
    let document = verify_license(&jws, &vendor.keyring()).unwrap();
    assert_eq!(*document.claims(), license_claims());
    assert_eq!(document.jws(), jws);
    assert_eq!(document.license().license_key(), Some(KEY));
    assert_eq!(document.license().signature(), jws);
}

#[test]
fn a_denial_has_the_signed_content() {
    let vendor = Signer::vendor();
    let jws = vendor.denial(&denial_claims());
    let document = verify_denial(&jws, &vendor.keyring()).unwrap();
    assert_eq!(*document.claims(), denial_claims());
    assert_eq!(document.jws(), jws);
}

#[test]
fn an_unknown_reason_is_accepted() {
    let vendor = Signer::vendor();
    let mut claims = denial_claims();
    claims.reason = DenialReason::Other("embargo".into());
    let document = verify_denial(&vendor.denial(&claims), &vendor.keyring()).unwrap();
    assert_eq!(document.claims().reason.as_str(), "embargo");
}

#[test]
fn both_names_of_the_algorithm_are_accepted() {
    let vendor = Signer::vendor();
    for alg in ["EdDSA", "Ed25519"] {
        let jws =
            with_header(&json!({"alg": alg, "kid": vendor.kid, "typ": "foxsight-license+jwt"}));
        let document = verify_license(&jws, &vendor.keyring()).unwrap();
        assert_eq!(*document.claims(), license_claims(), "{alg}");
    }
}

#[test]
fn claims_and_header_members_of_later_servers_are_ignored() {
    let vendor = Signer::vendor();
    let jws = with_header(
        &json!({"alg": "EdDSA", "kid": vendor.kid, "typ": "foxsight-license+jwt", "x": 1}),
    );
    assert!(verify_license(&jws, &vendor.keyring()).is_ok());
    let jws = with_claim("later", Some(json!([1])));
    assert!(verify_license(&jws, &vendor.keyring()).is_ok());
}

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

#[test]
fn a_missing_or_malformed_claim_makes_the_payload_invalid() {
    let cases = [
        ("installationId", None, "missing field `installationId`"),
        ("hardwareId", None, "missing field `hardwareId`"),
        ("license", None, "missing field `license`"),
        ("seq", None, "missing field `seq`"),
        ("exp", None, "missing field `exp`"),
        ("validUntil", None, "missing field `validUntil`"),
        ("seq", Some(json!(-1)), "invalid value"),
        ("seq", Some(json!(1.5)), "invalid type"),
        ("exp", Some(json!("2026-03-01T00:00:00Z")), "invalid type"),
        ("exp", Some(json!(i64::MAX)), "legal timestamp"),
        ("license", Some(json!([])), "invalid type"),
        ("offline", Some(json!("false")), "invalid type"),
    ];
    for (name, value, expected) in cases {
        let refusal = refusal(&with_claim(name, value));
        let DocumentError::Payload(why) = &refusal else {
            panic!("{name}: {refusal}");
        };
        assert!(why.contains(expected), "{name}: {why}");
    }
}

#[test]
fn a_denial_without_a_reason_is_unreadable() {
    let vendor = Signer::vendor();
    let header = vendor.license_header().replace("license", "denial");
    let mut claims = serde_json::to_value(denial_claims()).unwrap();
    claims.as_object_mut().unwrap().remove("reason");
    let jws = vendor.raw(&header, &claims.to_string());
    let refusal = verify_denial(&jws, &vendor.keyring()).unwrap_err();
    assert!(
        matches!(&refusal, DocumentError::Payload(why) if why.contains("missing field `reason`")),
        "{refusal}"
    );
}

#[test]
fn times_out_of_order_are_refused_and_equal_ones_are_not() {
    assert_eq!(
        refusal(&signed(|claims| claims.iat = just_after(24))),
        DocumentError::TimesOutOfOrder
    );
    assert_eq!(
        refusal(&signed(|claims| claims.valid_until = just_after(96))),
        DocumentError::TimesOutOfOrder
    );
    let equal = signed(|claims| {
        claims.valid_until = claims.iat;
        claims.exp = claims.iat;
    });
    assert!(verify_license(&equal, &Signer::vendor().keyring()).is_ok());
}

#[test]
fn a_license_without_a_key_is_refused() {
    for key in [Value::Null, json!(7)] {
        let jws = signed(|claims| {
            claims.license.insert("licenseKey".into(), key);
        });
        assert_eq!(refusal(&jws), DocumentError::LicenseKeyMissing);
    }
    let absent = signed(|claims| {
        claims.license.remove("licenseKey");
    });
    assert_eq!(refusal(&absent), DocumentError::LicenseKeyMissing);
}

#[test]
fn a_license_with_an_invalid_expiry_is_refused() {
    for expiry in [json!("soon"), json!(""), json!(1_772_323_200), json!(false)] {
        let jws = signed(|claims| {
            claims.license.insert("expiresAt".into(), expiry);
        });
        assert_eq!(refusal(&jws), DocumentError::ExpiryUnreadable);
    }
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

#[test]
fn a_document_names_its_key_before_anything_is_verified() {
    let vendor = Signer::vendor();
    assert_eq!(key_id(&vendor.license(&license_claims())), Some(vendor.kid));
    assert_eq!(
        key_id(&Signer::untrusted().denial(&denial_claims())),
        Some(Signer::untrusted().kid)
    );
    for text in ["", "a.b.c", &with_header(&json!({"alg": "EdDSA"}))] {
        assert_eq!(key_id(text), None, "{text}");
    }
}
