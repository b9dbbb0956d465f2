//! Answers that count as no contact, with and without trusted keys.

use std::time::Duration;

use license_core::response::{Contact, NoContact, Reply, TransportFailure, Trust, key_sets};

use super::{CALLS, HTML, NO, REFUSED, YES, no_contact, word};
use crate::signer::{Signer, answer, deactivation, heartbeat, question, validation};

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
        (r#"{"success":1,"isValid":true}"#, "'success' is not true"),
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
    let what = "neither a success nor a refusal";
    assert_eq!(why, NoContact::Unexpected { status: 404, what });
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
            "check the proxy settings",
        ),
        (NoContact::Busy { status: 429 }, "usually temporary"),
        (NoContact::ServerFault { status: 502 }, "usually temporary"),
        (NoContact::NotJson { status: 200 }, "check LICENSE_API_URL"),
        (NoContact::ServerDoesNotSign, "remove LICENSE_TRUSTED_KEYS"),
    ];
    for (why, advice) in cases {
        assert!(why.to_string().contains(advice), "{why}");
    }
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
    assert!(
        why.to_string().contains("asks the client to wait 90 s"),
        "{why}"
    );
}
