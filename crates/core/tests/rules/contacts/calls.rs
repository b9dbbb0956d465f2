//! A document counts only for the call that it answers.

use license_core::document::{DenialClaims, DenialReason};
use license_core::protocol;
use license_core::response::{Contact, Mismatch, NoContact, Reply};
use serde_json::json;

use super::no_contact;
use super::signed::{answers_of, denied};
use crate::signer::{
    Signer, activation, answer, deactivation, denial_claims, license_claims, license_object,
    question, redemption, validation,
};

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
        DenialReason::AddOnKey,
        DenialReason::TrialCode,
        DenialReason::UnknownAddOn,
        DenialReason::AddOnElsewhere,
        DenialReason::AddOnRefunded,
        DenialReason::AddOnNotPossible,
        DenialReason::Redeemed,
        DenialReason::UnknownTrialCode,
        DenialReason::TrialCodeUsedUp,
        DenialReason::TrialsOfTheDay,
        DenialReason::TrialElsewhere,
        DenialReason::TrialConverted,
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
        json!({"success": true, "data": {"redeemed": true, "amendment": 2, "signature": jws}}),
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
    use protocol::Call::{Activate, Deactivate, Heartbeat, Redeem, Unknown, Validate};
    let trust = Signer::vendor().trust();
    let counts = |call, reply: &Reply| match call {
        Activate => !matches!(activation(reply, &question(), &trust), Contact::None(_)),
        Validate => !matches!(validation(reply, &question(), &trust), Contact::None(_)),
        Redeem => !matches!(redemption(reply, &question(), &trust), Contact::None(_)),
        _ => !matches!(deactivation(reply, &question(), &trust), Contact::None(_)),
    };
    let mut counted = 0;
    for named in [Activate, Validate, Heartbeat, Deactivate, Redeem, Unknown] {
        for (reason, jws) in documents(Some(named)) {
            for reply in shapes(reason.is_none(), &jws) {
                for call in [Activate, Validate, Deactivate, Redeem] {
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
                        None | Some(
                            DenialReason::Deactivated
                                | DenialReason::SeatLimit
                                | DenialReason::AddOnKey
                                | DenialReason::TrialCode
                                | DenialReason::UnknownAddOn
                                | DenialReason::AddOnElsewhere
                                | DenialReason::AddOnRefunded
                                | DenialReason::AddOnNotPossible
                                | DenialReason::Redeemed
                                | DenialReason::UnknownTrialCode
                                | DenialReason::TrialCodeUsedUp
                                | DenialReason::TrialsOfTheDay
                                | DenialReason::TrialElsewhere
                                | DenialReason::TrialConverted
                        )
                    ),
                    "{denial:?}"
                ),
                Contact::Confirmed(_) => assert_eq!(reason, None),
                Contact::None(_) => {}
            }
            if let Contact::Confirmed(_) = deactivation(&reply, &question(), &trust) {
                assert_eq!(reason, Some(DenialReason::Deactivated));
            }
            if let Contact::Confirmed(_) = redemption(&reply, &question(), &trust) {
                assert_eq!(reason, Some(DenialReason::Redeemed));
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
