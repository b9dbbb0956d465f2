//! Which answers are confirmations, which are denials, and which are no contact.

use std::time::Duration;

use chrono::TimeDelta;
use license_core::contact::{
    Confirmation, Contact, Denial, KeySetsAnswer, Mismatch, NoContact, Question, Reply,
    TransportFailure, Trust, key_sets,
};
use license_core::document::{DenialClaims, DenialReason, DocumentError, LicenseClaims};
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key::fingerprint;
use license_core::protocol;
use serde_json::{Value, json};

use crate::signer::{
    KEY, SEQ, Signer, T0, activation, answer, deactivation, denial_claims, heartbeat,
    license_claims, license_object, question, validation,
};

const YES: &str = r#"{"success":true,"data":{"isValid":true,"license":{"licenseKey":"K"}}}"#;
const NO: &str = r#"{"success":true,"data":{"isValid":false,"reason":"revoked"}}"#;
const REFUSED: &str = r#"{"success":false,"error":{"code":"revoked","message":"No"}}"#;
const HTML: &str = "<html><body>Please sign in</body></html>";

type Call = fn(&Reply, &Question, &Trust) -> Contact;
const CALLS: [Call; 2] = [activation, validation];

/// The classification as a word with its code.
fn word(contact: &Contact) -> String {
    match contact {
        Contact::Confirmed(_) => "yes".into(),
        Contact::Denied(denial) => format!("no: {}", denial.reason()),
        Contact::None(why) => format!("none: {}", why.code()),
    }
}

/// The classification of the same answer without any signature where keys are trusted.
fn word_with_keys(unsigned: &str) -> &str {
    if unsigned.starts_with("none: ") {
        unsigned
    } else {
        "none: server_does_not_sign"
    }
}

fn no_contact(contact: Contact) -> NoContact {
    let Contact::None(why) = contact else {
        panic!("{contact:?} is contact");
    };
    why
}

fn confirmation(contact: Contact) -> Confirmation {
    let Contact::Confirmed(confirmation) = contact else {
        panic!("{contact:?} is no confirmation");
    };
    confirmation
}

fn denial(contact: Contact) -> Denial {
    let Contact::Denied(denial) = contact else {
        panic!("{contact:?} is no denial");
    };
    denial
}

#[test]
fn some_status_codes_are_no_contact_regardless_of_the_body() {
    let trusts = [Trust::Unsigned, Signer::vendor().trust()];
    let cases = [
        (300, "redirected"),
        (301, "redirected"),
        (302, "redirected"),
        (304, "redirected"),
        (307, "redirected"),
        (308, "redirected"),
        (399, "redirected"),
        (407, "proxy_sign_in"),
        (511, "proxy_sign_in"),
        (408, "server_busy"),
        (425, "server_busy"),
        (429, "server_busy"),
        (500, "server_fault"),
        (501, "server_fault"),
        (502, "server_fault"),
        (503, "server_fault"),
        (504, "server_fault"),
        (599, "server_fault"),
    ];
    for (status, code) in cases {
        for body in [YES, NO, REFUSED, HTML, "", "{}"] {
            for (call, trust) in CALLS
                .iter()
                .flat_map(|c| trusts.iter().map(move |t| (c, t)))
            {
                let contact = call(&answer(status, body), &question(), trust);
                assert_eq!(
                    word(&contact),
                    format!("none: {code}"),
                    "{status} with {body}"
                );
            }
        }
    }
}

#[test]
fn a_call_without_a_complete_answer_is_no_contact() {
    let detail = || "connection refused".to_owned();
    let cases = [
        (
            TransportFailure::Unreachable { detail: detail() },
            "unreachable",
        ),
        (TransportFailure::Tls { detail: detail() }, "unreachable"),
        (
            TransportFailure::MalformedHead { detail: detail() },
            "unexpected_answer",
        ),
        (TransportFailure::TimedOut { seconds: 30 }, "timed_out"),
        (
            TransportFailure::TooLong { limit: 1_000_000 },
            "unexpected_answer",
        ),
    ];
    for (failure, code) in cases {
        for call in CALLS {
            let reply = Reply::Failure(failure.clone());
            let why = no_contact(call(&reply, &question(), &Trust::Unsigned));
            assert_eq!(why, NoContact::Transport(failure.clone()));
            assert_eq!(why.code(), code);
            assert_eq!(why.to_string(), failure.to_string());
        }
    }
}

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
fn an_answer_with_a_duplicate_member_is_no_contact() {
    const TWICE: &str = "an object has a duplicate member";
    let keys = Signer::vendor().trust();
    for body in [
        r#"{"success":true,"success":true}"#,
        r#"{"success":false,"success":true}"#,
        r#"{"success":true,"success":false}"#,
        r#"{"success":true,"data":{"isValid":true},"data":{"isValid":false}}"#,
        r#"{"isValid":true,"isValid":false}"#,
        r#"{"isValid":false,"isValid":true,"license":{"licenseKey":"K"}}"#,
        r#"{"isValid":true,"is\u0056alid":false}"#,
        r#"{"isValid":true,"license":{"licenseKey":"K","expiresAt":null,"expiresAt":"2020-01-01"}}"#,
        r#"{"isValid":true,"license":{"licenseKey":"K","more":[{"a":1,"a":2}]}}"#,
        r#"{"success":true,"data":{"license":{"licenseKey":"K","maxCameras":1,"maxCameras":99}}}"#,
        r#"{"success":true,"error":{"code":1,"code":2},"chain":[]}"#,
    ] {
        for status in [200, 403] {
            let reply = answer(status, body);
            let unexpected = NoContact::Unexpected {
                status,
                what: TWICE,
            };
            for trust in [&Trust::Unsigned, &keys] {
                for call in CALLS {
                    let why = no_contact(call(&reply, &question(), trust));
                    assert_eq!(why, unexpected, "{body}");
                }
                let Contact::None(why) = deactivation(&reply, &question(), trust) else {
                    panic!("{body} is a receipt");
                };
                assert_eq!(why, unexpected, "{body}");
                let Contact::None(why) = heartbeat(&reply, &question(), trust) else {
                    panic!("{body} is an acknowledgement");
                };
                assert_eq!(why, unexpected, "{body}");
            }
            assert_eq!(key_sets(&reply), Err(unexpected), "{body}");
        }
    }
}

#[test]
fn a_receipt_needs_success_to_be_exactly_true() {
    let not_true = |body: &str| {
        let Contact::None(why) = deactivation(&answer(200, body), &question(), &Trust::Unsigned)
        else {
            panic!("{body} is a receipt");
        };
        let what = "success is not true";
        assert_eq!(why, NoContact::Unexpected { status: 200, what }, "{body}");
    };
    for body in [
        "{}",
        r#"{"status":"please sign in"}"#,
        r#"{"success":null}"#,
        r#"{"success":"false"}"#,
        r#"{"success":"true"}"#,
        r#"{"success":1}"#,
        r#"{"success":[true]}"#,
        r#"{"success":{"success":true}}"#,
        r#"{"Success":true}"#,
        r#"{"data":{"success":true}}"#,
        r#"{"data":{"deactivated":true}}"#,
        r#"{"isValid":true}"#,
    ] {
        not_true(body);
    }
    for body in [
        r#"{"success":true}"#,
        r#"{"success":true,"data":{"deactivated":true}}"#,
    ] {
        let contact = deactivation(&answer(200, body), &question(), &Trust::Unsigned);
        assert!(
            matches!(contact, Contact::Confirmed(_)),
            "{body}: {contact:?}"
        );
    }
    for body in [
        r#"{"success":false}"#,
        r#"{"success":true,"data":{"isValid":false}}"#,
    ] {
        let contact = deactivation(&answer(200, body), &question(), &Trust::Unsigned);
        assert!(matches!(contact, Contact::Denied(_)), "{body}: {contact:?}");
    }
    // An acknowledgement may have no content, but no other content.
    for body in [
        r#"{"success":null}"#,
        r#"{"success":"true"}"#,
        r#"{"success":0}"#,
    ] {
        let contact = heartbeat(&answer(200, body), &question(), &Trust::Unsigned);
        assert!(matches!(contact, Contact::None(_)), "{body}: {contact:?}");
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
#[test]
fn an_unsigned_answer_is_classified_by_its_form() {
    const ODD: &str = "none: unexpected_answer";
    const REVOKED: &str = "no: revoked";
    const DENIED: &str = "no: denied";
    #[rustfmt::skip]
    let cases = [
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
    let keys = Signer::vendor().trust();
    for (status, body, activated, validated) in cases {
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
fn bytes_that_are_not_utf_8_are_no_contact() {
    let reply = answer(200, *b"{\"isValid\":false,\"reason\":\"\xff\"}");
    let why = no_contact(validation(&reply, &question(), &Trust::Unsigned));
    assert_eq!(why, NoContact::NotJson { status: 200 });
}

#[test]
fn a_malformed_answer_names_the_problem() {
    let cases = [
        ("[]", "not a JSON object"),
        (r#"{"data":7}"#, "no data"),
        ("{}", "no isValid"),
        (r#"{"isValid":true,"license":7}"#, "no license"),
        (r#"{"success":1,"isValid":true}"#, "success is not true"),
        (
            r#"{"isValid":false,"isValid":true}"#,
            "an object has a duplicate member",
        ),
        (r#"{"isValid":true,"license":{}}"#, "no licenseKey"),
    ];
    for (body, what) in cases {
        let why = no_contact(validation(
            &answer(200, body),
            &question(),
            &Trust::Unsigned,
        ));
        assert_eq!(why, NoContact::Unexpected { status: 200, what });
    }
    let why = no_contact(validation(&answer(404, YES), &question(), &Trust::Unsigned));
    let what = "neither success nor refusal";
    assert_eq!(why, NoContact::Unexpected { status: 404, what });
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
    let what = "neither success nor refusal";
    assert_eq!(why(404, "{}"), NoContact::Unexpected { status: 404, what });
}

/// The answer of a signing License Server to both calls.
fn answers_of(jws: &str) -> [(Call, Reply); 2] {
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

fn denied(signature: Option<&str>) -> Reply {
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
    assert_eq!(wrong(None), expected);
    let why = denial_rejected(&question(), |claims| claims.nonce = Some("another".into()));
    assert_eq!(why, expected);
    let why = denial_rejected(&question(), |claims| claims.nonce = None);
    assert_eq!(why, expected);
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

#[test]
fn every_reason_for_no_contact_says_what_to_do() {
    let cases: [(NoContact, &str); 6] = [
        (
            NoContact::Redirected { status: 302 },
            "check LICENSE_API_URL",
        ),
        (
            NoContact::SignInDemanded { status: 407 },
            "check HTTPS_PROXY",
        ),
        (NoContact::Busy { status: 429 }, "retrying later"),
        (NoContact::ServerFault { status: 502 }, "retrying later"),
        (NoContact::NotJson { status: 200 }, "check LICENSE_API_URL"),
        (NoContact::ServerDoesNotSign, "remove LICENSE_TRUSTED_KEYS"),
    ];
    for (why, advice) in cases {
        assert!(why.to_string().contains(advice), "{why}");
    }
}

#[test]
fn a_denial_reads_the_same_with_null_and_absent_members() {
    let message_null = json!({"success": true, "data": {"isValid": false, "message": Value::Null}});
    let reply = answer(200, message_null.to_string());
    let contact = validation(&reply, &question(), &Trust::Unsigned);
    assert_eq!(denial(contact).message(), None);
}

/// The answer to a deactivation with a receipt.
fn receipt(change: impl FnOnce(&mut DenialClaims)) -> Reply {
    let mut claims = denial_claims();
    claims.reason = DenialReason::Deactivated;
    change(&mut claims);
    let signature = Signer::vendor().denial(&claims);
    let data = json!({"deactivated": true, "signature": signature});
    answer(200, json!({"success": true, "data": data}).to_string())
}

#[test]
fn a_deactivation_needs_a_signed_receipt_where_keys_are_trusted() {
    let trust = Signer::vendor().trust();
    let read = |reply: &Reply| deactivation(reply, &question(), &trust);
    assert!(matches!(read(&receipt(|_| {})), Contact::Confirmed(_)));
    // A denial for another reason is not a receipt, even in its place.
    let other = receipt(|claims| claims.reason = DenialReason::Revoked);
    assert!(matches!(
        read(&other),
        Contact::None(NoContact::Unexpected {
            what: "no receipt",
            ..
        })
    ));
    let replayed = receipt(|claims| claims.nonce = Some("other".into()));
    assert!(matches!(
        read(&replayed),
        Contact::None(NoContact::NotForUs(Mismatch::Nonce))
    ));
    let bare = answer(200, r#"{"success":true,"data":{"deactivated":true}}"#);
    assert!(matches!(
        read(&bare),
        Contact::None(NoContact::ServerDoesNotSign)
    ));
    let status = answer(404, r#"{"success":true,"data":{"deactivated":true}}"#);
    assert!(matches!(
        read(&status),
        Contact::None(NoContact::Unexpected { status: 404, .. })
    ));
    assert!(matches!(
        read(&answer(503, HTML)),
        Contact::None(NoContact::ServerFault { .. })
    ));
    // The License Server's denial, signed and unsigned.
    let no = denied(Some(&Signer::vendor().denial(&denial_claims())));
    assert!(matches!(read(&no), Contact::Denied(Denial::Signed(_))));
    assert!(matches!(
        read(&answer(403, REFUSED)),
        Contact::None(NoContact::ServerDoesNotSign)
    ));
    let unsigned = |reply: &Reply| deactivation(reply, &question(), &Trust::Unsigned);
    assert!(matches!(unsigned(&bare), Contact::Confirmed(_)));
    assert!(matches!(
        unsigned(&answer(403, REFUSED)),
        Contact::Denied(Denial::Unsigned(_))
    ));
    assert!(matches!(
        unsigned(&status),
        Contact::None(NoContact::Unexpected { .. })
    ));
}

#[test]
fn a_chain_of_key_sets_is_taken_unchanged() {
    let read = |status, body: &str| key_sets(&answer(status, body));
    let sets = |documents: &[&str], newest| {
        let documents = documents.iter().map(|it| (*it).to_owned()).collect();
        Ok(KeySetsAnswer { documents, newest })
    };
    let two = read(200, r#"{"keys":[],"version":3,"chain":["a","b"]}"#);
    assert_eq!(two, sets(&["a", "b"], Some(3)));
    assert_eq!(read(200, r#"{"chain":[]}"#), sets(&[], None));
    // Values that are not strings are not documents, and values that are not numbers are
    // not versions.
    let odd = read(200, r#"{"version":"3","chain":[1,"a",null]}"#);
    assert_eq!(odd, sets(&["a"], None));
    for body in [r#"{"keys":[]}"#, r#"{"chain":"a"}"#, r#"{"chain":null}"#] {
        assert!(matches!(
            read(200, body),
            Err(NoContact::Unexpected { status: 200, .. })
        ));
    }
    assert!(matches!(
        read(404, r#"{"chain":["a"]}"#),
        Err(NoContact::Unexpected { status: 404, .. })
    ));
    assert!(matches!(
        read(302, r#"{"chain":["a"]}"#),
        Err(NoContact::Redirected { .. })
    ));
}

#[test]
fn only_an_unknown_key_is_a_reason_to_ask_for_newer_ones() {
    let of = |error| NoContact::NotGenuine(error).is_unknown_key();
    assert!(of(DocumentError::UnknownKeyId("x".into())));
    assert!(!of(DocumentError::RevokedKeyId("x".into())));
    assert!(!of(DocumentError::SignatureMismatch));
    assert!(!NoContact::ServerDoesNotSign.is_unknown_key());
}

#[test]
fn a_signed_answer_proves_when_it_was_signed_and_which_keys_are_newest() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let mut claims = license_claims();
    claims.key_set = Some(7);
    let [_, (call, reply)] = answers_of(&vendor.license(&claims));
    let contact = call(&reply, &question(), &trust);
    assert_eq!(contact.proof(), Some((T0, Some(7))));
    let no = denied(Some(&vendor.denial(&denial_claims())));
    let contact = validation(&no, &question(), &trust);
    assert_eq!(contact.proof(), Some((denial_claims().iat, None)));
    for (reply, trust) in [
        (answer(200, YES), &Trust::Unsigned),
        (answer(200, NO), &Trust::Unsigned),
        (answer(200, YES), &trust),
        (answer(500, YES), &trust),
    ] {
        assert_eq!(validation(&reply, &question(), trust).proof(), None);
    }
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

/// Every document that a signing License Server may send, with the call that it names,
/// if any.
fn documents(named: Option<protocol::Call>) -> Vec<(Option<DenialReason>, String)> {
    let vendor = Signer::vendor();
    let mut license = license_claims();
    license.question = named;
    let mut documents = vec![(None, vendor.license(&license))];
    for reason in [
        DenialReason::Revoked,
        DenialReason::Suspended,
        DenialReason::Expired,
        DenialReason::HardwareMismatch,
        DenialReason::SeatLimit,
        DenialReason::UnknownLicense,
        DenialReason::Deactivated,
        DenialReason::Other("new".into()),
    ] {
        let mut denial = denial_claims();
        denial.question = named;
        denial.reason = reason.clone();
        documents.push((Some(reason), vendor.denial(&denial)));
    }
    documents
}

/// The document in every type of answer.
fn shapes(is_license: bool, jws: &str) -> Vec<Reply> {
    let mut license = license_object();
    license.insert("signature".into(), jws.into());
    let mut bodies = vec![
        protocol::denied(&DenialReason::Revoked, "No", Some(jws)),
        protocol::refused(&DenialReason::Revoked, "No", Some(jws)),
        json!({"success": true, "data": {"deactivated": true, "signature": jws}}),
    ];
    if is_license {
        bodies.push(protocol::activated(&license));
        bodies.push(protocol::confirmed(&license));
    }
    let replies = bodies.iter().map(|body| answer(200, body.to_string()));
    replies.collect()
}

#[test]
fn a_document_counts_only_for_the_call_that_it_names() {
    use protocol::Call::{Activate, Deactivate, Heartbeat, Unknown, Validate};
    let trust = Signer::vendor().trust();
    let counts = |call, reply: &Reply| match call {
        Activate => !matches!(activation(reply, &question(), &trust), Contact::None(_)),
        Validate => !matches!(validation(reply, &question(), &trust), Contact::None(_)),
        _ => !matches!(deactivation(reply, &question(), &trust), Contact::None(_)),
    };
    let mut counted = 0;
    for named in [Activate, Validate, Heartbeat, Deactivate, Unknown] {
        for (reason, jws) in documents(Some(named)) {
            for reply in shapes(reason.is_none(), &jws) {
                for call in [Activate, Validate, Deactivate] {
                    if counts(call, &reply) {
                        counted += 1;
                        assert_eq!(named, call, "{reason:?}");
                    }
                }
            }
        }
    }
    assert!(counted > 20, "{counted}");
}

#[test]
fn a_rewritten_request_to_an_older_server_cannot_end_a_license() {
    use protocol::Call::{Activate, Deactivate, Validate};
    let trust = Signer::vendor().trust();
    for (reason, jws) in documents(None) {
        for reply in shapes(reason.is_none(), &jws) {
            // The answer to a deactivation or an activation does not deny.
            match validation(&reply, &question(), &trust) {
                Contact::Denied(denial) => assert!(
                    !matches!(
                        reason,
                        None | Some(DenialReason::Deactivated | DenialReason::SeatLimit)
                    ),
                    "{denial:?}"
                ),
                Contact::Confirmed(_) => assert_eq!(reason, None),
                Contact::None(_) => {}
            }
            if let Contact::Confirmed(_) = deactivation(&reply, &question(), &trust) {
                assert_eq!(reason, Some(DenialReason::Deactivated));
            }
        }
    }
    // The reason is named, and belongs in the security log.
    let mut claims = denial_claims();
    claims.reason = DenialReason::Deactivated;
    for (named, answered) in [
        (None, "unnamed"),
        (Some(Deactivate), "deactivate"),
        (Some(Activate), "activate"),
        (Some(Validate), "validate"),
    ] {
        claims.question = named;
        let reply = denied(Some(&Signer::vendor().denial(&claims)));
        let why = no_contact(validation(&reply, &question(), &trust));
        let asked = "validate";
        assert_eq!(
            why,
            NoContact::NotForUs(Mismatch::Question { asked, answered })
        );
        assert!(why.is_suspicious());
    }
}

#[test]
fn an_offline_lease_answers_no_call() {
    let vendor = Signer::vendor();
    let mut claims = license_claims();
    claims.offline = true;
    for (call, reply) in answers_of(&vendor.license(&claims)) {
        let why = no_contact(call(&reply, &question(), &vendor.trust()));
        assert_eq!(why, NoContact::NotForUs(Mismatch::ByFile));
    }
}

#[test]
fn an_unknown_call_is_parsed_and_is_not_ours() {
    let mut claims = serde_json::to_value(denial_claims()).unwrap();
    claims["question"] = json!("transfer");
    let read: DenialClaims = serde_json::from_value(claims).unwrap();
    assert_eq!(read.question, Some(protocol::Call::Unknown));
}

/// An answer asks to wait only if waiting can help, regardless of its body. It is then no
/// contact, as without the header.
#[test]
fn an_answer_that_asks_to_wait_is_no_contact() {
    let body = br#"{"success": false, "data": {"isValid": false}}"#.to_vec();
    for status in 100..=599_u16 {
        let wait = Duration::from_secs(7);
        let reply = Reply::of(status, body.clone(), Some(wait));
        let plain = Reply::of(status, body.clone(), None);
        let heard = |reply: &Reply| match heartbeat(reply, &question(), &Trust::Unsigned) {
            Contact::None(why) => (why.code(), why.retry_after(), why.is_suspicious()),
            _ => ("answered", None, false),
        };
        let (code, asked, _) = heard(&reply);
        assert_eq!(code, heard(&plain).0, "{status}");
        let may_ask = matches!(status, 408 | 425 | 429 | 500..=510 | 512..);
        assert_eq!(asked, may_ask.then_some(wait), "{status}");
    }
    let why = NoContact::Later {
        status: 429,
        retry_after: Duration::from_secs(90),
    };
    assert!(why.to_string().contains("asks to wait 90 s"), "{why}");
}
