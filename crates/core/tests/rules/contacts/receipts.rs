//! The answers to a deactivation, to an add-on key and to a trial.

use license_core::document::{DenialClaims, DenialReason};
use license_core::protocol::{self, Call};
use license_core::response::{Contact, Denial, Mismatch, NoContact, Question, Reply, Trust};
use serde_json::json;

use super::signed::denied;
use super::{HTML, REFUSED};
use crate::signer::{
    Signer, activation, answer, deactivation, denial_claims, heartbeat, license_claims, question,
    redemption, trial,
};

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
fn an_add_on_key_is_redeemed_only_by_a_signed_receipt_for_it() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let body = |jws: Option<&str>| {
        let data = json!({"redeemed": true, "amendment": 7, "signature": jws});
        json!({"success": true, "data": data}).to_string()
    };
    let mut claims = denial_claims();
    claims.question = Some(Call::Redeem);
    claims.reason = DenialReason::Redeemed;
    let receipt = vendor.denial(&claims);
    let reply = answer(200, body(Some(&receipt)));
    let Contact::Confirmed(redeemed) = redemption(&reply, &question(), &trust) else {
        panic!("{reply:?}");
    };
    assert_eq!(
        (redeemed.amendment, redeemed.message()),
        (7, Some(claims.message.as_str()))
    );
    let without_number = json!({"success": true, "data": {"signature": receipt}}).to_string();
    claims.reason = DenialReason::Deactivated;
    let other = vendor.denial(&claims);
    for wrong in [body(None), body(Some(&other)), without_number] {
        let contact = redemption(&answer(200, wrong), &question(), &trust);
        assert!(matches!(contact, Contact::None(_)), "{contact:?}");
    }
    let unsigned = redemption(&answer(200, body(None)), &question(), &Trust::Unsigned);
    assert!(matches!(unsigned, Contact::Confirmed(it) if it.amendment == 7));
    // A site whose vendor knows no add-on keys is not refused anything.
    let unknown = redemption(&answer(404, "{}"), &question(), &trust);
    assert!(matches!(unknown, Contact::None(_)), "{unknown:?}");
}

#[test]
fn a_trial_is_a_license_with_any_key_for_this_request() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let of_code = Question {
        license_key: "FXSTRY-AAAA-BBBB-CCCC-DDDD",
        newest_seq: None,
        ..question()
    };
    let body = |claims: &license_core::document::LicenseClaims| {
        let mut license = claims.license.clone();
        license.insert("signature".to_owned(), vendor.license(claims).into());
        protocol::activated(&license).to_string()
    };
    let mut claims = license_claims();
    claims.question = Some(Call::Activate);
    let reply = answer(200, body(&claims));
    let Contact::Confirmed(started) = trial(&reply, &of_code, &trust) else {
        panic!("{reply:?}");
    };
    assert_eq!(started.license_key(), Some(crate::signer::KEY));
    // An activation is about the key that was sent.
    assert!(matches!(
        activation(&reply, &of_code, &trust),
        Contact::None(_)
    ));
    claims.nonce = Some("another".to_owned());
    let replayed = trial(&answer(200, body(&claims)), &of_code, &trust);
    assert!(matches!(replayed, Contact::None(_)), "{replayed:?}");
    claims = license_claims();
    claims.question = Some(Call::Validate);
    let rewritten = trial(&answer(200, body(&claims)), &of_code, &trust);
    assert!(matches!(rewritten, Contact::None(_)), "{rewritten:?}");
}
