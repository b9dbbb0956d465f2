//! The answers to a deactivation.

use license_core::document::{DenialClaims, DenialReason};
use license_core::response::{Contact, Denial, Mismatch, NoContact, Reply, Trust};
use serde_json::json;

use super::signed::denied;
use super::{HTML, REFUSED};
use crate::signer::{Signer, answer, deactivation, denial_claims, heartbeat, question};

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
fn a_receipt_needs_success_to_be_exactly_true() {
    let not_true = |body: &str| {
        let Contact::None(why) = deactivation(&answer(200, body), &question(), &Trust::Unsigned)
        else {
            panic!("{body} is a receipt");
        };
        let what = "'success' is not true";
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
