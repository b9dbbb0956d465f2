//! How an unsigned answer is read.

use chrono::TimeDelta;
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::response::{Contact, Denial, NoContact, Question, Trust};
use serde_json::{Value, json};

use super::{
    CALLS, Call, HTML, NO, REFUSED, YES, confirmation, denial, no_contact, word, word_with_keys,
};
use crate::signer::{
    KEY, Signer, T0, activation, answer, deactivation, heartbeat, license_object, question,
    validation,
};

/// The body in every encoding that Python's `json` accepts, with and without a byte order
/// mark.
fn encodings(body: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for text in [body.to_owned(), format!("\u{feff}{body}")] {
        all.push(text.clone().into_bytes());
        all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        all.push(
            text.chars()
                .flat_map(|c| u32::from(c).to_le_bytes())
                .collect(),
        );
        all.push(
            text.chars()
                .flat_map(|c| u32::from(c).to_be_bytes())
                .collect(),
        );
    }
    all
}

#[test]
fn an_answer_is_read_in_every_encoding_of_version_1() {
    for body in encodings(YES) {
        for call in CALLS {
            let contact = call(&answer(200, body.clone()), &question(), &Trust::Unsigned);
            assert_eq!(word(&contact), "yes", "{body:x?}");
        }
    }
    for body in encodings(NO) {
        let contact = validation(&answer(200, body.clone()), &question(), &Trust::Unsigned);
        assert_eq!(word(&contact), "no: revoked", "{body:x?}");
    }
    let receipts = encodings(r#"{"success":true}"#);
    for body in receipts {
        let contact = deactivation(&answer(200, body), &question(), &Trust::Unsigned);
        assert!(matches!(contact, Contact::Confirmed(_)), "{contact:?}");
    }
}

#[test]
fn an_answer_without_a_license_confirms_the_cached_one() {
    let validity = TimeDelta::hours(30);
    let license = License::new(license_object());
    let valid_until = T0 + validity;
    let lease = Lease::Unsigned {
        license_key: KEY.into(),
        license: license.clone(),
        valid_until,
    };
    let known = Evidence::default().activated(lease, T0);
    let in_grace = known.validated(
        &validation(&answer(503, ""), &question(), &Trust::Unsigned),
        T0 + TimeDelta::hours(20),
        validity,
    );
    assert!(in_grace.grace_started_at.is_some());
    let bare = r#"{"success":true,"data":{"isValid":true,"gracePeriodActive":true}}"#;
    let yes = validation(&answer(200, bare), &question(), &Trust::Unsigned);
    let now = T0 + TimeDelta::hours(21);
    let confirmed = in_grace.validated(&yes, now, validity);
    let valid_until = now + validity;
    assert_eq!(
        confirmed.lease,
        Some(Lease::Unsigned {
            license_key: KEY.into(),
            license,
            valid_until
        })
    );
    assert_eq!(confirmed.confirmed_at, Some(now));
    assert_eq!(confirmed.grace_started_at, None);
    assert!(confirmed.server_in_grace);
    // Where keys are trusted, nothing proves it.
    let why = no_contact(validation(
        &answer(200, bare),
        &question(),
        &Signer::vendor().trust(),
    ));
    assert_eq!(why, NoContact::ServerDoesNotSign);
}

/// Status, body, result as an activation, result as a validation.
const ODD: &str = "none: unexpected_answer";
const REVOKED: &str = "no: revoked";
const DENIED: &str = "no: denied";

/// Status, body, and what the answer means for an activation and a validation.
#[rustfmt::skip]
const FORMS: &[(u16, &str, &str, &str)] = &[
    // Not JSON, or not an object.
    (200, HTML, ODD, ODD),
    (403, HTML, ODD, ODD),
    (404, HTML, ODD, ODD),
    (200, "", ODD, ODD),
    (204, "", ODD, ODD),
    (200, "\u{feff}{}", ODD, ODD),
    (200, r#"{"success":false"#, ODD, ODD),
    (200, "[]", ODD, ODD),
    (200, r#"[{"success":false}]"#, ODD, ODD),
    (200, "null", ODD, ODD),
    (200, "false", ODD, ODD),
    (200, r#""isValid:false""#, ODD, ODD),
    // Objects that are neither a confirmation nor a denial.
    (200, "{}", ODD, ODD),
    (404, "{}", ODD, ODD),
    (404, r#"{"detail":"Not Found"}"#, ODD, ODD),
    (401, r#"{"error":{"code":"unauthorized"}}"#, "none: proxy_sign_in", "none: proxy_sign_in"),
    (200, r#"{"success":true}"#, ODD, ODD),
    (200, r#"{"success":true,"data":null}"#, ODD, ODD),
    (200, r#"{"success":true,"data":[]}"#, ODD, ODD),
    (200, r#"{"success":true,"data":{}}"#, ODD, ODD),
    (200, r#"{"success":true,"data":{"license":null}}"#, ODD, ODD),
    (200, r#"{"success":true,"data":{"license":"L"}}"#, ODD, ODD),
    (200, r#"{"success":true,"data":{"isValid":true,"license":"K"}}"#, ODD, ODD),
    (200, r#"{"success":true,"data":{"isValid":true,"license":null}}"#, ODD, ODD),
    (200, r#"{"isValid":true,"license":null}"#, ODD, ODD),
    (200, r#"{"success":"true","data":{"isValid":true,"license":{"licenseKey":"K"}}}"#, ODD, ODD),
    (200, r#"{"success":"false","data":{"isValid":true,"license":{"licenseKey":"K"}}}"#, ODD, ODD),
    (200, r#"{"success":null,"data":{"isValid":true,"license":{"licenseKey":"K"}}}"#, ODD, ODD),
    (200, r#"{"success":1,"data":{"isValid":true,"license":{"licenseKey":"K"}}}"#, ODD, ODD),
    (200, r#"{"isValid":"true"}"#, ODD, ODD),
    (200, r#"{"isValid":true,"license":{"tier":"basic"}}"#, ODD, ODD),
    (200, r#"{"data":{"isValid":true,"license":{"licenseKey":7}}}"#, ODD, ODD),
    (200, r#"{"isValid":"false"}"#, ODD, ODD),
    (200, r#"{"isValid":0,"success":0}"#, ODD, ODD),
    (200, r#"{"success":null,"data":{"isValid":null}}"#, ODD, ODD),
    // A confirmation with the status of a denial is neither.
    (400, YES, ODD, ODD),
    (403, YES, ODD, ODD),
    (404, r#"{"isValid":true,"license":{"licenseKey":"K"}}"#, ODD, ODD),
    // A confirmation of only an activation, only a validation, or both.
    (200, r#"{"success":true,"data":{"licenseKey":"K"}}"#, "yes", ODD),
    (200, r#"{"success":true,"data":{"license":{"licenseKey":"K"}}}"#, "yes", ODD),
    (201, r#"{"success":true,"data":{"license":{"licenseKey":"K"}}}"#, "yes", ODD),
    (200, r#"{"isValid":true,"license":{"licenseKey":"K"}}"#, ODD, "yes"),
    (200, YES, "yes", "yes"),
    (200, r#"{"success":true,"data":{"isValid":true}}"#, ODD, "yes"),
    (200, r#"{"isValid":true}"#, ODD, "yes"),
    (200, "\u{feff}{\"isValid\":true}", ODD, "yes"),
    (200, "\u{feff}{\"success\":true,\"data\":{\"licenseKey\":\"K\"}}", "yes", ODD),
    (200, "\u{feff}{\"isValid\":false,\"reason\":\"revoked\"}", REVOKED, REVOKED),
    // A denial.
    (200, NO, REVOKED, REVOKED),
    (200, r#"{"isValid":false,"reason":"revoked"}"#, REVOKED, REVOKED),
    (200, r#"{"isValid":false}"#, DENIED, DENIED),
    (200, r#"{"data":{"isValid":false}}"#, DENIED, DENIED),
    (400, r#"{"isValid":false}"#, DENIED, DENIED),
    (403, r#"{"data":{"isValid":false}}"#, DENIED, DENIED),
    (200, REFUSED, REVOKED, REVOKED),
    // A proxy that requires a sign-in, or a conflicting call.
    (401, REFUSED, "none: proxy_sign_in", "none: proxy_sign_in"),
    (409, REFUSED, "none: server_busy", "none: server_busy"),
    (403, REFUSED, REVOKED, REVOKED),
    (404, REFUSED, REVOKED, REVOKED),
    (422, REFUSED, REVOKED, REVOKED),
    (404, r#"{"success":false}"#, DENIED, DENIED),
    (404, r#"{"success":false,"data":null,"error":null}"#, DENIED, DENIED),
    (200, r#"{"success":false,"error":"No seat"}"#, DENIED, DENIED),
    (200, r#"{"success":false,"error":{"code":7,"message":null}}"#, DENIED, DENIED),
    (200, r#"{"success":false,"error":{"code":""}}"#, DENIED, DENIED),
    // An answer that both confirms and denies is a denial.
    (200, r#"{"success":false,"data":{"isValid":true,"license":{"licenseKey":"K"}}}"#, DENIED, DENIED),
    (200, r#"{"success":true,"data":{"isValid":false,"license":{"licenseKey":"K"}}}"#, DENIED, DENIED),
];

#[test]
fn an_unsigned_answer_is_classified_by_its_form() {
    let keys = Signer::vendor().trust();
    for &(status, body, activated, validated) in FORMS {
        let reply = answer(status, body);
        for (call, expected) in [(activation as Call, activated), (validation, validated)] {
            let unsigned = call(&reply, &question(), &Trust::Unsigned);
            assert_eq!(word(&unsigned), expected, "{status} with {body}");
            let keyed = call(&reply, &question(), &keys);
            assert_eq!(
                word(&keyed),
                word_with_keys(expected),
                "{status} with {body}, keyed"
            );
        }
    }
}

#[test]
fn the_message_of_a_denial_is_found_in_every_place() {
    let standard = "The License Server denied the license";
    let cases = [
        (
            r#"{"isValid":false,"reason":"expired","message":"Over"}"#,
            "expired",
            "Over",
        ),
        (
            r#"{"success":false,"error":{"code":"seat_limit","message":"Full"}}"#,
            "seat_limit",
            "Full",
        ),
        (r#"{"success":false,"error":"Full"}"#, "denied", "Full"),
        (
            r#"{"isValid":false,"reason":7,"message":null}"#,
            "denied",
            standard,
        ),
        (r#"{"isValid":false,"message":""}"#, "denied", standard),
    ];
    for (body, reason, message) in cases {
        let contact = validation(&answer(200, body), &question(), &Trust::Unsigned);
        let Denial::Unsigned(refusal) = denial(contact) else {
            panic!("{body} is signed");
        };
        assert_eq!(
            (refusal.reason(), refusal.message()),
            (reason, message),
            "{body}"
        );
    }
}

#[test]
fn the_message_of_a_denial_is_cut_at_one_thousand_characters() {
    let body = json!({"success": false, "error": "é".repeat(1001)}).to_string();
    let contact = validation(&answer(200, body), &question(), &Trust::Unsigned);
    assert_eq!(denial(contact).message(), Some("é".repeat(1000)).as_deref());
}

#[test]
fn an_unsigned_license_with_another_spelling_of_the_key_is_accepted() {
    let contact = validation(&answer(200, YES), &question(), &Trust::Unsigned);
    let lease = confirmation(contact)
        .lease(KEY, T0, TimeDelta::hours(30))
        .unwrap();
    assert_eq!(lease.license().license_key(), Some("K"));
    assert_eq!(lease.valid_until(), T0 + TimeDelta::hours(30));
    assert_eq!((lease.end(), lease.seq()), (None, None));
}

#[test]
fn the_servers_own_grace_period_is_passed_on() {
    for (value, expected) in [
        (json!(true), true),
        (json!(false), false),
        (json!("true"), false),
    ] {
        let body =
            json!({"isValid": true, "license": {"licenseKey": "K"}, "gracePeriodActive": value});
        let contact = validation(
            &answer(200, body.to_string()),
            &question(),
            &Trust::Unsigned,
        );
        assert_eq!(confirmation(contact).server_in_grace, expected);
    }
}

#[test]
fn an_acknowledgement_needs_no_signature() {
    let trust = Signer::vendor().trust();
    let read = |status, body| heartbeat(&answer(status, body), &question(), &trust);
    let why = |status, body| match read(status, body) {
        Contact::None(why) => why,
        other => panic!("{other:?}"),
    };
    for yes in [r#"{"success":true}"#, "{}"] {
        assert!(matches!(read(200, yes), Contact::Confirmed(_)), "{yes}");
    }
    let Contact::Denied(no) = read(403, REFUSED) else {
        panic!("a refusal");
    };
    assert_eq!((no.reason(), no.message()), ("revoked", Some("No")));
    assert_eq!(why(503, REFUSED), NoContact::ServerFault { status: 503 });
    assert_eq!(why(200, HTML), NoContact::NotJson { status: 200 });
    let what = "neither a success nor a refusal";
    assert_eq!(why(404, "{}"), NoContact::Unexpected { status: 404, what });
}

#[test]
fn a_denial_reads_the_same_with_null_and_absent_members() {
    let message_null = json!({"success": true, "data": {"isValid": false, "message": Value::Null}});
    let reply = answer(200, message_null.to_string());
    let contact = validation(&reply, &question(), &Trust::Unsigned);
    assert_eq!(denial(contact).message(), None);
}

#[test]
fn a_license_key_in_a_refusal_is_masked_and_a_nul_is_left_out() {
    let body = format!(
        r#"{{"success":false,"error":{{"code":"bad {KEY}","message":"License {KEY} is\u0000 gone"}}}}"#
    );
    let contact = activation(&answer(400, body), &question(), &Trust::Unsigned);
    let denial = denial(contact);
    let masked = license_core::license_key::mask(KEY);
    assert!(!masked.contains("BBBB"));
    assert_eq!(denial.reason(), format!("bad {masked}"));
    assert_eq!(
        denial.message(),
        Some(&*format!("License {masked} is gone"))
    );
    // An empty key must not match everywhere.
    let without_key = Question {
        license_key: "",
        ..question()
    };
    let contact = activation(&answer(400, REFUSED), &without_key, &Trust::Unsigned);
    assert_eq!(word(&contact), "no: revoked");
}
