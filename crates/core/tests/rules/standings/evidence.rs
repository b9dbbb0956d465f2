//! What evidence keeps, and how it is merged.

use license_core::evidence::{Evidence, Failure};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::response::{NoContact, TransportFailure};
use serde_json::json;

use super::{after, signed, signed_denial, signed_with, silence, unsigned, unsigned_denial};
use crate::signer::{KEY, SEQ, Signer, T0, at, denial_claims, license_claims};

#[test]
fn the_message_of_a_failed_validation_is_kept() {
    let failed = after(&signed(), &silence(), 10).last_failure;
    let timed_out = NoContact::from(TransportFailure::TimedOut { seconds: 30 });
    assert_eq!(
        failed,
        Some(Failure::new(
            at(10),
            "timed_out",
            &timed_out.to_string(),
            false
        ))
    );
    let denied = after(&unsigned(), &unsigned_denial(), 11).last_failure;
    assert_eq!(
        denied,
        Some(Failure::new(at(11), "suspended", "Unpaid", true))
    );
}

#[test]
fn the_newest_number_is_that_of_the_lease_or_of_the_denial() {
    assert_eq!(Evidence::default().newest_seq(KEY), None);
    assert_eq!(unsigned().newest_seq(KEY), None);
    assert_eq!(signed().newest_seq(KEY), Some(SEQ));
    let denied = after(&signed(), &signed_denial(SEQ + 5), 1);
    assert_eq!(denied.newest_seq(KEY), Some(SEQ + 5));
    assert_eq!(
        denied.newest_seq("fxsght aaaa bbbb cccc dddd"),
        Some(SEQ + 5)
    );
    assert_eq!(denied.newest_seq("FXSGHT-ZZZZ-ZZZZ-ZZZZ-ZZZZ"), None);
}

#[test]
fn another_license_replaces_the_old_one_regardless_of_its_number() {
    let other = "FXSGHT-ZZZZ-ZZZZ-ZZZZ-ZZZZ";
    let mut claims = license_claims();
    claims.seq = 1;
    claims.license.insert("licenseKey".into(), other.into());
    let lease = Signer::vendor().lease(&claims);
    let denied = after(&signed(), &signed_denial(SEQ + 1), 1);
    let activated = denied.activated(lease.clone(), at(2));
    let expected = Evidence {
        lease: Some(lease),
        activated_at: Some(at(2)),
        confirmed_at: Some(at(2)),
        ..Evidence::default()
    };
    assert_eq!(activated, expected);
}

#[test]
fn the_message_of_the_newest_failure_is_kept() {
    let evidence = after(&signed(), &silence(), 1);
    let failure = |evidence: &Evidence| evidence.last_failure.clone().unwrap();
    assert_eq!(failure(&evidence).at(), at(1));
    assert!(!failure(&evidence).is_denial());
    let denied = after(&evidence, &signed_denial(SEQ + 1), 2);
    assert_eq!(failure(&denied).at(), at(2));
    assert_eq!(failure(&denied).reason(), "revoked");
    assert!(failure(&denied).is_denial());
    // An older denial adds nothing; the known one may come again.
    assert_eq!(after(&evidence, &signed_denial(SEQ - 1), 2), evidence);
    let again = after(&denied, &signed_denial(SEQ + 1), 3);
    assert_eq!(failure(&again).at(), at(3));
}

#[test]
fn merging_keeps_the_earlier_grace_and_the_newer_failure() {
    let one = after(&signed(), &silence(), 1);
    let two = after(&signed(), &unsigned_denial(), 2);
    for merged in [one.merged(&two), two.merged(&one)] {
        assert_eq!(merged.grace_started_at, Some(at(1)));
        assert_eq!(merged.last_failure, two.last_failure);
    }
    let none = signed();
    assert_eq!(one.merged(&none).last_failure, one.last_failure);
    assert_eq!(none.merged(&one).last_failure, one.last_failure);
    // If both are equally new, the shared one is kept.
    let same = after(&signed(), &unsigned_denial(), 1);
    assert_eq!(one.merged(&same).last_failure, one.last_failure);
}

#[test]
fn the_newest_document_says_when_it_was_signed() {
    assert_eq!(Evidence::default().newest_signed_at(), None);
    assert_eq!(unsigned().newest_signed_at(), None);
    assert_eq!(signed().newest_signed_at(), Some(T0));
    let later = signed_with(|claims| claims.iat = at(5));
    assert_eq!(later.newest_signed_at(), Some(at(5)));
    let denied = after(&unsigned(), &signed_denial(SEQ + 1), 1);
    assert_eq!(denied.newest_signed_at(), Some(denial_claims().iat));
    let denied = after(&later, &signed_denial(SEQ + 1), 6);
    assert_eq!(denied.newest_signed_at(), Some(at(5)));
}

#[test]
fn what_started_before_the_activation_is_no_change() {
    let fields = json!({"entitlements": [
        {"key": "cameras", "quantity": 64, "from": at(10)},
        {"key": "cameras", "quantity": 32, "from": at(30)},
    ]});
    let evidence = |activated: i64| Evidence {
        lease: Some(Lease::Unsigned {
            license_key: KEY.to_owned(),
            license: License::new(fields.as_object().cloned().unwrap()),
            valid_until: at(100),
        }),
        activated_at: Some(at(activated)),
        ..Evidence::default()
    };
    let changed = |activated, now| evidence(activated).last_change(at(now)).map(|it| it.at);
    assert_eq!(changed(20, 25), None);
    assert_eq!(changed(20, 35), Some(at(30)));
    assert_eq!(changed(5, 25), Some(at(10)));
    assert_eq!(changed(40, 50), None);
    let confirmed = evidence(20).confirmed(evidence(20).lease.unwrap(), false, at(25));
    assert_eq!(confirmed.last_change, None);
}
