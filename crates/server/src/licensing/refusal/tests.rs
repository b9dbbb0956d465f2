use chrono::TimeDelta;

use super::*;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn license(seats: u32) -> License {
    License {
        id: "id".to_owned(),
        license_key: "FXSGHT-2222-2222-2222-2222".to_owned(),
        customer: "Harbour Ltd".to_owned(),
        customer_id: None,
        tier: "standard".to_owned(),
        plan: "standard@1".to_owned(),
        trial: false,
        amendment: 1,
        is_plain: true,
        changes_at: None,
        judged_at: None,
        features: Vec::new(),
        max_cameras: 1,
        max_users: 1,
        max_storage_gb: 1,
        counts: std::collections::BTreeMap::new(),
        seats,
        moves: 3,
        moves_period_days: 365,
        lease_hours: None,
        grace_hours: None,
        offline_days: None,
        updates_until: None,
        updates: license_core::amendment::UpdateRule::Warn,
        status: crate::store::licenses::Status::Active,
        status_message: None,
        starts_at: None,
        expires_at: Some(NOW + TimeDelta::days(30)),
        lasts_from_activation: None,
        requires_proof: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

#[test]
fn the_message_of_the_vendor_replaces_the_default_but_never_the_end() {
    let plain = license(1);
    let with_message = License {
        status_message: Some("Invoice 7 is open".to_owned()),
        ..license(1)
    };
    let end = "The license expired on 1970-01-31; renew it with your vendor";
    for (refusal, default, of_vendor) in [
        (Refusal::Expired, end, end),
        (
            Refusal::Suspended,
            "The license is suspended; ask your vendor to reinstate it",
            "Invoice 7 is open",
        ),
        (
            Refusal::Revoked,
            "The license was revoked; ask your vendor for a new one",
            "Invoice 7 is open",
        ),
    ] {
        let refused = |license| Refused::license_status(refusal, license, NOW);
        assert_eq!(refused(&plain).message, default);
        assert_eq!(refused(&with_message).message, of_vendor);
        assert_eq!(refused(&plain).refusal, refusal);
    }
}

#[test]
fn a_key_that_no_license_has_is_told_from_a_mistyped_one() {
    use license_core::license_key::LicenseKey;

    let fault = |key: &str| LicenseKey::parse(key).err();
    for (key, refusal, message) in [
        (
            "FXSGHT-2222-2222-2222-2222",
            Refusal::UnknownKey,
            "Unknown license key; compare it with the key you received",
        ),
        (
            "FXSGHT-2222-2222-2222-2223",
            Refusal::MalformedKey,
            "The license key contains a typing error; compare it with the key you received",
        ),
        (
            "FXSGHT",
            Refusal::MalformedKey,
            "Unknown license key; compare it with the key you received",
        ),
    ] {
        let refused = Refused::unknown_key(key, fault(key));
        assert_eq!(refused.refusal, refusal, "{key}");
        assert_eq!(refused.message, message, "{key}");
    }
    let odd = "FXSGHT-ÄÄÄÄ-2222-2222-2222";
    let odd = Refused::unknown_key(odd, fault(odd));
    assert_eq!(odd.refusal, Refusal::MalformedKey);
    assert!(odd.message.contains("U+00C4"), "{}", odd.message);
    for (key, refusal, part) in [
        (
            "FXSADD-2222-2222-2222-2223",
            Refusal::AddOnKey,
            "then redeem this key",
        ),
        (
            "FXSTRY-2222-2222-2222-2224",
            Refusal::TrialCode,
            "start-trial",
        ),
        (
            "FXSADD-2222-2222-2222-2222",
            Refusal::MalformedKey,
            "Unknown license key",
        ),
    ] {
        let refused = Refused::unknown_key(key, fault(key));
        assert_eq!(refused.refusal, refusal, "{key}");
        assert!(refused.message.contains(part), "{}", refused.message);
    }
}

#[test]
fn a_seat_that_was_freed_is_told_from_one_that_never_was() {
    let (freed, never) = (Refused::no_seat(true, None), Refused::no_seat(false, None));
    assert_eq!(freed.refusal, Refusal::SeatFreed);
    assert_eq!(never.refusal, Refusal::NoSeat);
    assert_eq!(freed.message, never.message);
}

#[test]
fn a_machine_without_a_place_learns_what_would_help() {
    let until = NOW + TimeDelta::hours(12);
    let refused = |seats, limit| {
        let no_place = SeatRefusal {
            limit,
            moves_left: 2,
        };
        let refused = Refused::seat_limit(&license(seats), no_place);
        assert_eq!(refused.refusal, Refusal::SeatLimit);
        refused.message
    };
    let message = refused(1, SeatLimit::AllHeld);
    assert!(message.contains("for one machine"), "{message}");
    let message = refused(5, SeatLimit::AllHeld);
    assert!(message.contains("for 5 machines"), "{message}");
    for (limit, expected) in [
        (SeatLimit::NoMovesLeft { until }, "(3 in 365 days)"),
        (SeatLimit::LongLease { until }, "(moves left: 2)"),
    ] {
        let message = refused(5, limit);
        assert!(
            message.contains("until 1970-01-01 12:00:00 UTC"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
    }
}
