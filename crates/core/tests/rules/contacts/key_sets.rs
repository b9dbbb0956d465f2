//! Newer key sets, and what a signed answer proves.

use license_core::document::DocumentError;
use license_core::response::{KeySetsAnswer, NoContact, Trust, key_sets};

use super::signed::{answers_of, denied};
use super::{NO, YES};
use crate::signer::{Signer, T0, answer, denial_claims, license_claims, question, validation};

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
