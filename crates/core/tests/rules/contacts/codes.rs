//! The answers to calls with a code: an add-on key, or a trial code.

use license_core::document::{DenialClaims, DenialReason, LicenseClaims};
use license_core::license_key::fingerprint;
use license_core::protocol::{self, Call};
use license_core::response::{Contact, Denial, Mismatch, NoContact, Question, Reply, Trust};
use serde_json::json;

use super::signed::denied;
use crate::signer::{
    KEY, Signer, activation, answer, denial_claims, license_claims, question, redemption, trial,
    validation,
};

const CODE: &str = "FXSADD-AAAA-BBBB-CCCC-DDDD";

fn receipt_claims() -> DenialClaims {
    DenialClaims {
        question: Some(Call::Redeem),
        reason: DenialReason::Redeemed,
        code_hash: Some(fingerprint(CODE)),
        amendment: Some(7),
        ..denial_claims()
    }
}

/// An answer with a receipt; its unsigned part names another amendment.
fn redeemed(jws: Option<&str>) -> Reply {
    let data = json!({"redeemed": true, "amendment": 9, "signature": jws});
    answer(200, json!({"success": true, "data": data}).to_string())
}

fn trial_claims() -> LicenseClaims {
    LicenseClaims {
        question: Some(Call::Trial),
        code_hash: Some(fingerprint(CODE)),
        ..license_claims()
    }
}

fn started(claims: &LicenseClaims) -> Reply {
    let mut license = claims.license.clone();
    license.insert(
        "signature".to_owned(),
        Signer::vendor().license(claims).into(),
    );
    answer(200, protocol::activated(&license).to_string())
}

fn with_code<'a>(license_key: &'a str, code_hash: &'a str) -> Question<'a> {
    Question {
        license_key,
        code_hash: Some(code_hash),
        ..question()
    }
}

#[test]
fn an_add_on_key_is_redeemed_only_by_a_signed_receipt_for_it() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let hash = fingerprint(CODE);
    let asked = with_code(KEY, &hash);
    let read = |claims: &DenialClaims| {
        let receipt = vendor.denial(claims);
        redemption(&redeemed(Some(&receipt)), &asked, &trust)
    };
    let claims = receipt_claims();
    let Contact::Confirmed(confirmed) = read(&claims) else {
        panic!("{claims:?}");
    };
    assert_eq!(
        (confirmed.amendment, confirmed.message()),
        (7, Some(claims.message.as_str())),
        "the signed number counts"
    );
    let changes: [fn(&mut DenialClaims); 5] = [
        |claims| claims.code_hash = Some(fingerprint("FXSADD-EEEE-FFFF-GGGG-HHHH")),
        |claims| claims.code_hash = None,
        |claims| claims.amendment = None,
        |claims| claims.question = None,
        |claims| claims.reason = DenialReason::Deactivated,
    ];
    for change in changes {
        let mut claims = receipt_claims();
        change(&mut claims);
        let contact = read(&claims);
        assert!(
            matches!(contact, Contact::None(_)),
            "{claims:?}: {contact:?}"
        );
    }
    let unsigned = redemption(&redeemed(None), &asked, &trust);
    assert!(matches!(unsigned, Contact::None(_)), "{unsigned:?}");
    let unsigned = redemption(&redeemed(None), &asked, &Trust::Unsigned);
    assert!(matches!(unsigned, Contact::Confirmed(it) if it.amendment == 9));
    // A site whose vendor knows no add-on keys is not refused anything.
    let unknown = redemption(&answer(404, "{}"), &asked, &trust);
    assert!(matches!(unknown, Contact::None(_)), "{unknown:?}");
}

#[test]
fn another_code_is_tampering_in_every_answer() {
    let vendor = Signer::vendor();
    let trust = vendor.trust();
    let (own, other) = (fingerprint(CODE), fingerprint("other"));
    let refusal = |question, code_hash: Option<&str>| {
        let claims = DenialClaims {
            question: Some(question),
            reason: DenialReason::Expired,
            code_hash: code_hash.map(str::to_owned),
            ..denial_claims()
        };
        denied(Some(&vendor.denial(&claims)))
    };
    let is_other = |why: &NoContact| {
        assert!(why.is_suspicious(), "{why}");
        matches!(why, NoContact::NotForUs(Mismatch::Code))
    };
    for found in [Some(other.as_str()), None] {
        let redeem = redemption(&refusal(Call::Redeem, found), &with_code(KEY, &own), &trust);
        assert!(
            matches!(&redeem, Contact::None(why) if is_other(why)),
            "{redeem:?}"
        );
        let tried = trial(&refusal(Call::Trial, found), &with_code(CODE, &own), &trust);
        assert!(
            matches!(&tried, Contact::None(why) if is_other(why)),
            "{tried:?}"
        );
    }
    let redeem = redemption(
        &refusal(Call::Redeem, Some(&own)),
        &with_code(KEY, &own),
        &trust,
    );
    assert!(
        matches!(redeem, Contact::Denied(Denial::Signed(_))),
        "{redeem:?}"
    );
    // A call without a code is not answered by a document about one.
    let validated = validation(&refusal(Call::Validate, Some(&own)), &question(), &trust);
    assert!(
        matches!(&validated, Contact::None(why) if is_other(why)),
        "{validated:?}"
    );
}

#[test]
fn a_trial_is_a_license_with_any_key_for_this_request() {
    let trust = Signer::vendor().trust();
    let hash = fingerprint(CODE);
    let asked = with_code(CODE, &hash);
    let reply = started(&trial_claims());
    let Contact::Confirmed(confirmed) = trial(&reply, &asked, &trust) else {
        panic!("{reply:?}");
    };
    assert_eq!(confirmed.license_key(), Some(KEY));
    // Not the activation of a license, even of the same one.
    let activated = activation(&reply, &question(), &trust);
    assert!(matches!(activated, Contact::None(_)), "{activated:?}");
    let changes: [fn(&mut LicenseClaims); 7] = [
        |claims| claims.question = Some(Call::Activate),
        |claims| claims.question = Some(Call::Validate),
        |claims| claims.question = None,
        |claims| claims.code_hash = Some(fingerprint("")),
        |claims| claims.code_hash = None,
        |claims| claims.nonce = Some("another".to_owned()),
        |claims| *claims = license_claims(),
    ];
    for change in changes {
        let mut claims = trial_claims();
        change(&mut claims);
        let contact = trial(&started(&claims), &asked, &trust);
        assert!(
            matches!(contact, Contact::None(_)),
            "{claims:?}: {contact:?}"
        );
    }
    // Without a code, the fingerprint is that of nothing.
    let nothing = fingerprint("");
    let without = LicenseClaims {
        code_hash: Some(nothing.clone()),
        ..trial_claims()
    };
    let contact = trial(&started(&without), &with_code("", &nothing), &trust);
    assert!(matches!(contact, Contact::Confirmed(_)), "{contact:?}");
}
