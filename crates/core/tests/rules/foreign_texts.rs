//! Untrusted text never reaches an error or a denial unchanged.

use license_core::document::{DenialReason, DocumentError, verify_denial, verify_license};
use license_core::evidence::Failure;
use license_core::folded_text::folded;
use license_core::foreign_text::{MAX_IDENTIFIER_CHARS, MAX_MESSAGE_CHARS};
use license_core::license::License;
use license_core::license_key::{MAX_KEY_CHARS, bounded, mask};
use license_core::response::{Contact, NoContact, Reply, TransportFailure, Trust};
use serde_json::{Value, json};

use crate::signer::{
    KEY, Signer, T0, activation, answer, denial_claims, license_claims, license_object, question,
    validation,
};

/// Text that an attacker in the License Server's place may send.
fn hostile() -> Vec<String> {
    let lower = KEY.to_lowercase();
    vec![
        "x\nERROR forged".to_owned(),
        "x\r\nforged".to_owned(),
        "\u{202e}desrever".to_owned(),
        "x\u{2028}forged\u{2029}y".to_owned(),
        "x\0y".to_owned(),
        "\u{1b}[2J\u{1b}[31mred\u{9b}0m".to_owned(),
        "x".repeat(40_000),
        "\n".repeat(20_000),
        KEY.to_owned(),
        lower.replace('-', ""),
        KEY.replace('-', " "),
        KEY.replace('-', "\n"),
        KEY.replace('-', "\u{200b}."),
        format!("glued{}glued", &lower.replace('-', "")[6..]),
        format!("{} {KEY}", "x".repeat(80)),
    ]
}

fn assert_presentable(shown: &str, max_chars: usize) {
    let short: String = shown.chars().take(200).collect();
    assert!(shown.chars().count() <= max_chars, "{short:?}");
    let is_odd = |c: char| c.is_control() || "\u{202e}\u{2028}\u{2029}\u{200b}".contains(c);
    assert!(!shown.contains(is_odd), "{short:?}");
    let letters = shown.chars().filter(|c| c.is_alphanumeric());
    let letters: String = letters.flat_map(char::to_uppercase).collect();
    let body = KEY[7..].replace('-', "");
    // Ten characters are most of a key.
    assert!(!letters.contains(&body[..10]), "{short:?}");
}

fn header(name: &str, value: &str) -> String {
    let mut header: Value = serde_json::from_str(&Signer::vendor().license_header()).unwrap();
    header[name] = value.into();
    header.to_string()
}

#[test]
fn a_document_error_shows_no_raw_text_of_the_header() {
    let vendor = Signer::vendor();
    let payload = serde_json::to_string(&license_claims()).unwrap();
    for text in hostile() {
        for name in ["kid", "alg", "typ"] {
            let jws = vendor.raw(&header(name, &text), &payload);
            let error = verify_license(&jws, &vendor.keyring()).unwrap_err();
            let (DocumentError::UnknownKeyId(shown)
            | DocumentError::Algorithm(shown)
            | DocumentError::Type { found: shown, .. }) = &error
            else {
                panic!("{error:?}");
            };
            assert!(shown.chars().count() <= MAX_IDENTIFIER_CHARS, "{name}");

            // The answer to a call about a key does not show it in any spelling.
            let body = json!({"success": true, "data": {"isValid": true, "license":
                {"licenseKey": KEY, "signature": jws}}});
            let body = body.to_string();
            let contact = validation(&answer(200, body), &question(), &vendor.trust());
            let Contact::None(NoContact::NotGenuine(error)) = contact else {
                panic!("{contact:?}");
            };
            assert_presentable(&error.to_string(), MAX_IDENTIFIER_CHARS + 100);
        }
        // The library repeats a member of another type.
        let jws = vendor.raw(&json!({"alg": {text.clone(): 1}}).to_string(), &payload);
        let error = verify_license(&jws, &vendor.keyring()).unwrap_err();
        assert_presentable(&error.to_string(), MAX_MESSAGE_CHARS + 100);
        let crit = json!({"alg": "EdDSA", "kid": [text]}).to_string();
        let error = verify_license(&vendor.raw(&crit, &payload), &vendor.keyring()).unwrap_err();
        assert_presentable(&error.to_string(), MAX_MESSAGE_CHARS + 100);
    }
}

#[test]
fn a_denial_shows_no_raw_text_of_the_answer() {
    for text in hostile() {
        for body in [
            json!({"success": false, "error": {"code": text, "message": text}}),
            json!({"success": false, "error": text}),
            json!({"success": false, "data": {"reason": text, "message": text}}),
            json!({"success": true, "data": {"isValid": false, "reason": text, "message": text}}),
            json!({"isValid": false, "reason": text, "message": text}),
        ] {
            let reply = answer(200, body.to_string());
            for call in [activation, validation] {
                let Contact::Denied(denial) = call(&reply, &question(), &Trust::Unsigned) else {
                    panic!("{body}");
                };
                assert_presentable(denial.reason(), MAX_IDENTIFIER_CHARS);
                assert_presentable(denial.message().unwrap_or_default(), MAX_MESSAGE_CHARS);
            }
        }
    }
}

#[test]
fn a_transport_failure_shows_no_raw_text() {
    for detail in hostile() {
        for failure in [
            TransportFailure::Unreachable {
                detail: detail.clone(),
            },
            TransportFailure::Tls {
                detail: detail.clone(),
            },
            TransportFailure::MalformedHead {
                detail: detail.clone(),
            },
        ] {
            let reply = Reply::Failure(failure);
            let Contact::None(why) = validation(&reply, &question(), &Trust::Unsigned) else {
                panic!("a failure is no contact");
            };
            assert_presentable(&why.to_string(), MAX_MESSAGE_CHARS + 200);
        }
    }
}

#[test]
fn a_signed_denial_is_presentable_too() {
    let vendor = Signer::vendor();
    let mut claims = denial_claims();
    claims.message = format!("no\nkey {KEY}\0");
    claims.reason = DenialReason::Other("new\n".repeat(1000).into());
    let denial = verify_denial(&vendor.denial(&claims), &vendor.keyring()).unwrap();
    assert_eq!(denial.claims().message, format!("no key {}", mask(KEY)));
    assert_presentable(denial.claims().reason.as_str(), MAX_IDENTIFIER_CHARS);
}

#[test]
fn a_search_finds_a_text_in_every_spelling() {
    for (one, other) in [
        ("MÜLLER", "müller"),
        ("Müller", "Mu\u{308}ller"),
        ("Straße", "STRASSE"),
        ("STRAẞE", "Straße"),
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΥΣΣΕΑΣ", "οδυσσεας"),
        ("İzmir", "i\u{307}zmir"),
        ("ＡＢＣ", "abc"),
        ("ﬁne", "FINE"),
        ("Łódź", "ŁÓDŹ"),
        ("ЁЖ", "е\u{308}ж"),
    ] {
        assert_eq!(folded(one), folded(other), "{one}");
        assert_eq!(folded(&folded(one)), folded(one), "{one}");
    }
    assert_ne!(folded("Muller"), folded("Müller"));
    // A part of it, also where a small sigma ends a word.
    assert!(folded("ΟΔΟΣΗΜΟ").contains(&folded("οδος")));
    let longest = folded(&"\u{fdfa}".repeat(255));
    assert!(longest.chars().count() <= 255 * 18);
}

#[test]
fn a_failure_is_presentable_when_it_is_made_and_when_it_is_read() {
    // A key within a word is masked only where the key is known: in answers, when they are read.
    let is_within_word = |text: &String| text.starts_with("glued");
    for text in hostile().into_iter().filter(|text| !is_within_word(text)) {
        let made = Failure::new(T0, &text, &text, true);
        let stored = json!({"at": T0, "reason": text, "message": text, "denied": true});
        let read: Failure = serde_json::from_value(stored).unwrap();
        assert_eq!(read, made);
        assert_presentable(made.reason(), MAX_IDENTIFIER_CHARS);
        assert_presentable(made.message(), MAX_MESSAGE_CHARS);
        let stored = serde_json::to_string(&made).unwrap();
        assert_eq!(serde_json::from_str::<Failure>(&stored).unwrap(), made);
    }
}

#[test]
fn long_texts_of_a_license_count_as_absent() {
    let of = |text: String| {
        let mut data = license_object();
        for field in ["licenseKey", "tier", "status", "expiresAt", "signature"] {
            data.insert(field.into(), text.clone().into());
        }
        License::new(data)
    };
    let long = of("ü".repeat(MAX_MESSAGE_CHARS + 1));
    assert_eq!((long.license_key(), long.tier()), (None, None));
    assert_eq!((long.expires_at_text(), long.status()), (None, "active"));
    assert_eq!(long.signature().chars().count(), MAX_MESSAGE_CHARS + 1);
    let text = "ü".repeat(MAX_MESSAGE_CHARS);
    let longest = of(text.clone());
    assert_eq!(longest.tier(), Some(&*text));
    assert_eq!(longest.license_key(), Some(&*text));
}

#[test]
fn a_stored_key_is_changed_only_if_it_is_longer_than_any_key() {
    for key in [
        KEY,
        " fxsght aaaa-bbbb ",
        "another vendor's key",
        &"k".repeat(MAX_KEY_CHARS),
    ] {
        assert_eq!(bounded(key), key);
    }
    assert_eq!(bounded(&format!("{KEY}{}", "-".repeat(1_000))), KEY);
    let long = "ü".repeat(1_000_000);
    assert_eq!(bounded(&long), "ü".repeat(MAX_KEY_CHARS));
}
