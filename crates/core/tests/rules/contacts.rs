//! What each answer means: confirmed, denied, or no contact, and why.

use license_core::contact::{
    Contact, Denial, Question, Reply, TransportFailure, Trust, acknowledgement, activation,
    validation,
};
use license_core::document::DocumentType;
use serde_json::{Value, json};

use crate::signer::{
    HARDWARE, INSTALLATION, KEY, NONCE, Signer, denial_claims, license_claims, license_object,
};

fn question() -> Question<'static> {
    Question {
        nonce: NONCE,
        license_key: KEY,
        installation_id: INSTALLATION,
        hardware_id: HARDWARE,
        newest_seq: None,
    }
}

fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Answer {
        status,
        body: body.into(),
    }
}

fn word(contact: &Contact) -> String {
    match contact {
        Contact::Confirmed(_) => "confirmed".into(),
        Contact::Denied(denial) => format!("denied: {}", denial.reason()),
        Contact::None(why) => why.code().into(),
    }
}

/// Status, body, and the word for it as an answer to a validation, unsigned.
const VALIDATIONS: [(u16, &str, &str); 34] = [
    (
        200,
        r#"{"success":true,"data":{"isValid":true,"license":{"licenseKey":"k"}}}"#,
        "confirmed",
    ),
    (
        200,
        r#"{"isValid":true,"license":{"licenseKey":"k"}}"#,
        "confirmed",
    ),
    (
        201,
        r#"{"isValid":true,"license":{"licenseKey":"k"}}"#,
        "confirmed",
    ),
    (
        400,
        r#"{"isValid":true,"license":{"licenseKey":"k"}}"#,
        "unexpected_answer",
    ),
    (200, r#"{"isValid":true,"license":{}}"#, "unexpected_answer"),
    (
        200,
        r#"{"isValid":true,"license":null}"#,
        "unexpected_answer",
    ),
    (
        200,
        r#"{"isValid":"true","license":{"licenseKey":"k"}}"#,
        "unexpected_answer",
    ),
    (
        200,
        r#"{"success":true,"data":{"isValid":false,"reason":"revoked"}}"#,
        "denied: revoked",
    ),
    (200, r#"{"isValid":false}"#, "denied: denied"),
    (
        403,
        r#"{"isValid":false,"reason":"suspended"}"#,
        "denied: suspended",
    ),
    (200, r#"{"success":false}"#, "denied: denied"),
    (
        403,
        r#"{"success":false,"error":{"code":"REVOKED"}}"#,
        "denied: REVOKED",
    ),
    (
        404,
        r#"{"success":false,"error":{"message":"none"}}"#,
        "denied: denied",
    ),
    (200, r#"{"success":false,"error":"boom"}"#, "denied: denied"),
    (200, r#"{"success":false,"error":null}"#, "denied: denied"),
    (200, r#"{"success":false,"data":null}"#, "denied: denied"),
    (200, r#"{"success":true}"#, "unexpected_answer"),
    (200, r#"{"success":true,"data":null}"#, "unexpected_answer"),
    (200, r#"{"success":true,"data":[]}"#, "unexpected_answer"),
    (200, "{}", "unexpected_answer"),
    (404, "{}", "unexpected_answer"),
    (200, "[]", "unexpected_answer"),
    (200, "null", "unexpected_answer"),
    (200, "", "unexpected_answer"),
    (200, "<html>", "unexpected_answer"),
    (302, r#"{"isValid":false}"#, "redirected"),
    (304, "", "redirected"),
    (407, r#"{"isValid":false}"#, "proxy_sign_in"),
    (408, r#"{"isValid":false}"#, "server_busy"),
    (425, r#"{"isValid":false}"#, "server_busy"),
    (429, r#"{"isValid":false}"#, "server_busy"),
    (500, r#"{"isValid":false}"#, "server_fault"),
    (503, r#"{"success":false}"#, "server_fault"),
    (511, r#"{"success":false}"#, "proxy_sign_in"),
];

#[test]
fn an_unsigned_answer_to_a_validation_means_exactly_one_thing() {
    for (status, body, expected) in VALIDATIONS {
        let contact = validation(&reply(status, body), &question(), &Trust::Unsigned);
        assert_eq!(word(&contact), expected, "{status} {body}");
    }
}

#[test]
fn an_activation_takes_a_license_wrapped_or_bare() {
    let means = |body: &str| {
        let contact = activation(&reply(200, body), &question(), &Trust::Unsigned);
        word(&contact)
    };
    let confirmed = "confirmed";
    assert_eq!(
        means(r#"{"success":true,"data":{"license":{"licenseKey":"k"}}}"#),
        confirmed
    );
    assert_eq!(
        means(r#"{"success":true,"data":{"licenseKey":"k","tier":"t"}}"#),
        confirmed
    );
    assert_eq!(
        means(r#"{"success":true,"data":{"license":null}}"#),
        "unexpected_answer"
    );
    assert_eq!(means(r#"{"success":true,"data":{}}"#), "unexpected_answer");
    assert_eq!(means(r#"{"licenseKey":"k"}"#), "unexpected_answer");
}

#[test]
fn an_unsigned_denial_is_told_in_the_license_servers_words() {
    let told = |body: &str| match validation(&reply(200, body), &question(), &Trust::Unsigned) {
        Contact::Denied(denial) => denial.message().map(str::to_owned),
        other => panic!("{other:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told(r#"{"success":false,"error":{"message":"m"}}"#),
        some("m")
    );
    assert_eq!(told(r#"{"isValid":false,"message":"m"}"#), some("m"));
    assert_eq!(told(r#"{"success":false,"error":"boom"}"#), some("boom"));
    assert_eq!(told(r#"{"success":false,"error":{"message":null}}"#), None);
    let long = format!(r#"{{"success":false,"error":"{}"}}"#, "x".repeat(5000));
    assert_eq!(told(&long).unwrap().len(), 1000);
}

#[test]
fn what_never_arrived_is_no_contact() {
    for (failure, code) in [
        (TransportFailure::TimedOut { seconds: 30 }, "timed_out"),
        (
            TransportFailure::Unreachable { detail: "x".into() },
            "unreachable",
        ),
        (TransportFailure::TooLong { limit: 1 }, "unexpected_answer"),
    ] {
        let contact = validation(&Reply::Failure(failure), &question(), &Trust::Unsigned);
        assert_eq!(word(&contact), code);
    }
}

#[test]
fn a_heartbeat_is_acknowledged_refused_or_lost() {
    let ok = acknowledgement(&reply(200, "{\"success\":true}"));
    assert!(matches!(ok, Ok(Ok(()))));
    let refused = acknowledgement(&reply(200, r#"{"success":true,"data":{"isValid":false}}"#));
    assert!(matches!(refused, Ok(Err(_))));
    for (status, body) in [(500, "{}"), (200, "<html>"), (404, "{}")] {
        assert!(acknowledgement(&reply(status, body)).is_err());
    }
}

fn keyed(signer: &Signer) -> Trust {
    Trust::Keys(signer.keyring())
}

fn signed_answer(jws: Value) -> Reply {
    let mut license = license_object();
    license.insert("enabledFeatures".into(), json!(["module.everything"]));
    license.insert("signature".into(), jws);
    reply(
        200,
        json!({"isValid": true, "license": license}).to_string(),
    )
}

fn signed_refusal(signature: impl Into<Value>) -> Reply {
    let data = json!({"signature": signature.into()});
    let body = json!({"success": false, "data": data});
    reply(200, body.to_string())
}

#[test]
fn where_keys_are_trusted_only_their_documents_count() {
    let signer = Signer::new(1);
    let means = |reply: &Reply| word(&validation(reply, &question(), &keyed(&signer)));
    let license = |signer: &Signer| signer.sign(DocumentType::License, &license_claims());
    let denial = |signer: &Signer| signer.sign(DocumentType::Denial, &denial_claims());
    assert_eq!(means(&signed_answer(license(&signer).into())), "confirmed");
    assert_eq!(means(&signed_refusal(denial(&signer))), "denied: revoked");
    for (reply, expected) in [
        (signed_answer(Value::Null), "server_does_not_sign"),
        (signed_answer("".into()), "server_does_not_sign"),
        (signed_answer("x".into()), "not_genuine"),
        (signed_answer(denial(&signer).into()), "not_genuine"),
        (
            signed_answer(license(&Signer::new(2)).into()),
            "not_genuine",
        ),
        (signed_refusal(Value::Null), "server_does_not_sign"),
        (signed_refusal(license(&signer)), "not_genuine"),
        (signed_refusal(denial(&Signer::new(2))), "not_genuine"),
    ] {
        assert_eq!(means(&reply), expected);
    }
}

#[test]
fn what_stands_beside_a_signed_license_is_not_believed() {
    let signer = Signer::new(1);
    let jws = signer.sign(DocumentType::License, &license_claims());
    let reply = signed_answer(jws.into());
    let Contact::Confirmed(confirmation) = validation(&reply, &question(), &keyed(&signer)) else {
        panic!("not confirmed");
    };
    let lease = confirmation.lease(crate::signer::signed_at(), chrono::TimeDelta::hours(30));
    let keys = lease.license().features().keys;
    let listed: Vec<&str> = keys
        .iter()
        .map(license_core::feature::FeatureKey::as_str)
        .collect();
    assert_eq!(listed, ["module.analytics_advanced", "module.map_view"]);
}

#[test]
fn a_genuine_document_for_something_else_is_not_for_us() {
    let signer = Signer::new(1);
    type Change = fn(&mut license_core::document::LicenseClaims);
    let changes: [(&str, Change); 6] = [
        ("another nonce", |c| c.nonce = Some("x".into())),
        ("no nonce", |c| c.nonce = None),
        ("another installation", |c| c.installation_id = "x".into()),
        ("another machine", |c| c.hardware_id = "x".into()),
        ("another key", |c| {
            c.license.insert("licenseKey".into(), "FXSGHT-X".into());
        }),
        ("an old sequence number", |c| c.seq = 41),
    ];
    let question = Question {
        newest_seq: Some(42),
        ..question()
    };
    for (what, change) in changes {
        let mut claims = license_claims();
        change(&mut claims);
        let jws = signer.sign(DocumentType::License, &claims);
        let contact = validation(&signed_answer(jws.into()), &question, &keyed(&signer));
        assert_eq!(word(&contact), "not_for_us", "{what}");
    }
    let mut claims = license_claims();
    claims.seq = 42;
    let equal = signer.sign(DocumentType::License, &claims);
    let contact = validation(&signed_answer(equal.into()), &question, &keyed(&signer));
    assert_eq!(word(&contact), "not_for_us");
    claims.seq = 43;
    let newer = signer.sign(DocumentType::License, &claims);
    let contact = validation(&signed_answer(newer.into()), &question, &keyed(&signer));
    assert_eq!(word(&contact), "confirmed");

    let mut claims = denial_claims();
    claims.nonce = None;
    let replayed = signer.sign(DocumentType::Denial, &claims);
    let contact = validation(&signed_refusal(replayed), &question, &keyed(&signer));
    assert_eq!(word(&contact), "not_for_us");
    assert!(matches!(&contact, Contact::None(why) if why.is_suspicious()));
}

#[test]
fn a_key_in_another_spelling_is_the_same_key() {
    let signer = Signer::new(1);
    let jws = signer.sign(DocumentType::License, &license_claims());
    let spelled = KEY.to_lowercase().replace('-', " ");
    let question = Question {
        license_key: &spelled,
        ..question()
    };
    let contact = validation(&signed_answer(jws.into()), &question, &keyed(&signer));
    assert_eq!(word(&contact), "confirmed");
    let refusal = signed_refusal(signer.sign(DocumentType::Denial, &denial_claims()));
    let contact = validation(&refusal, &question, &keyed(&signer));
    assert!(matches!(contact, Contact::Denied(Denial::Signed(_))));
}
