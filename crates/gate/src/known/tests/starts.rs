//! When the entitlements of a signed license start at a gate with keys.

use super::*;

/// A License Client says that it is `ahead` of the gate, and that everything is available.
fn apply(machine: &mut Machine, vendor: &Signer, claims: &LicenseClaims, ahead: TimeDelta) {
    let envelope = Envelope {
        now: machine.wall + ahead,
        signed: Some(Signed {
            license: vendor.license(claims),
            key_sets: Vec::new(),
        }),
    };
    let mut announcement = licensed(envelope.now);
    announcement.limits.insert("cameras".to_owned(), None);
    announcement.then.clear();
    let readings = machine.readings();
    machine
        .known
        .apply(announcement, &envelope, readings)
        .unwrap();
    machine.publish();
}

#[test]
fn an_announced_time_starts_nothing_early_and_ends_things() {
    let vendor = Signer::vendor();
    let jwk_set = serde_json::to_string(&vendor.jwk_set()).unwrap();
    let keyring = Keyring::from_json(&jwk_set).unwrap();
    let keys = TrustedKeys::new(keyring, None);
    let mut machine = Machine::new(WithoutContact::KeepUntilEnd, Some(keys));
    let start = machine.wall;
    let mut license = license_claims().license;
    let (from, until) = (start + DAY, start + 3 * DAY);
    license.insert(
        "entitlements".into(),
        serde_json::json!([
            {"key": MAP_VIEW, "from": from, "until": until},
            {"key": "cameras", "quantity": 64},
            {"key": "cameras", "quantity": 32, "from": from},
        ]),
    );
    let claims = LicenseClaims {
        iat: start,
        nbf: start,
        valid_until: start + 90 * DAY,
        exp: start + 90 * DAY,
        license,
        ..license_claims()
    };
    for ahead in [TimeDelta::zero(), TimeDelta::hours(30)] {
        apply(&mut machine, &vendor, &claims, ahead);
        machine.expect_unchanged(MAP_VIEW, false, Reason::StartsLater);
        assert_eq!(limit(&machine), Limit::AtMost(64));
    }
    // A day later by the gate's clock, it starts.
    machine.pass(DAY - SECOND);
    machine.expect_unchanged(MAP_VIEW, false, Reason::StartsLater);
    machine.pass(SECOND);
    machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
    assert_eq!(limit(&machine), Limit::AtMost(96));
    // It ends by whichever time is later: the announced one.
    machine.pass(17 * HOUR);
    machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
    machine.pass(2 * HOUR);
    machine.expect_unchanged(MAP_VIEW, false, Reason::Ended);
}

fn limit(machine: &Machine) -> Limit {
    machine.table.limit("cameras", machine.ticks(), None)
}
