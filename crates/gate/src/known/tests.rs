//! The behavior of a gate with each policy, on clocks that the test controls.

use std::sync::Arc;

use license_core::announcement::{Later, Signed, Told};
use license_core::document::LicenseClaims;
use license_core::keyring::Keyring;

use super::*;
use crate::announced::Limit;
use crate::decision::Reason;

#[path = "../../../core/tests/rules/signer.rs"]
#[expect(dead_code, reason = "used by the tests of the rules")]
mod signer;

mod limits;
mod starts;

use signer::{Signer, license_claims};

const MAP_VIEW: &str = "module.map_view";
const LIVE_VIEW: &str = "module.live_view";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const POLICIES: [WithoutContact; 3] = [
    WithoutContact::KeepUntilEnd,
    WithoutContact::Deny,
    WithoutContact::Allow,
];

/// A machine with a gate.
struct Machine {
    wall: DateTime<Utc>,
    running: Duration,
    suspended: Duration,
    known: Known,
    table: Table,
    /// The number of tables built.
    tables: usize,
}

impl Machine {
    fn new(policy: WithoutContact, keys: Option<TrustedKeys>) -> Self {
        let wall = "2026-03-01T00:00:00Z".parse().unwrap();
        let (running, suspended) = (HOUR, Duration::ZERO);
        let readings = readings(wall, running, suspended);
        let mut known = Known::nothing(policy, 60 * SECOND, keys, &readings);
        let table = known.table(&readings, in_ticks(running));
        Self {
            wall,
            running,
            suspended,
            known,
            table,
            tables: 1,
        }
    }

    fn readings(&self) -> Readings {
        readings(self.wall, self.running, self.suspended)
    }

    fn ticks(&self) -> Ticks {
        in_ticks(self.running)
    }

    fn publish(&mut self) {
        self.table = self.known.table(&self.readings(), self.ticks());
        self.tables += 1;
    }

    /// Updates the table like the follower does, every second and at deadlines.
    fn update(&mut self) {
        let table = self.known.changed_table(&self.readings(), self.ticks());
        if let Some(table) = table {
            self.table = table;
            self.tables += 1;
        }
    }

    /// Time passes without an update.
    fn pass(&mut self, by: Duration) {
        self.running += by;
        self.wall += by;
    }

    /// The machine is suspended, and the follower then updates the table.
    fn suspend(&mut self, by: Duration) {
        self.suspended += by;
        self.wall += by;
        self.update();
    }

    fn apply(&mut self, announcement: &Announcement, signed: Option<Signed>) {
        let envelope = Envelope {
            now: self.wall,
            signed,
        };
        let readings = self.readings();
        self.known
            .apply(announcement.clone(), &envelope, readings)
            .unwrap();
        self.publish();
    }

    fn lose_contact(&mut self) {
        self.known.lose_contact(&self.readings());
        self.publish();
    }

    #[track_caller]
    fn expect(&self, feature: &str, available: bool, reason: Reason) {
        let decision = self.table.decide(feature, self.ticks(), Ticks::MAX, || 0);
        let expected = Decision { available, reason };
        assert_eq!(decision, expected, "{feature} {:?}", self.known.policy);
    }

    /// Checks the decision again after another update, which must not change it.
    #[track_caller]
    fn expect_unchanged(&mut self, feature: &str, available: bool, reason: Reason) {
        self.expect(feature, available, reason);
        self.update();
        self.expect(feature, available, reason);
    }
}

fn readings(wall: DateTime<Utc>, running: Duration, suspended: Duration) -> Readings {
    Readings {
        wall,
        running,
        since_boot: running + suspended,
        boot_id: None,
    }
}

fn told(available: bool, reason: &str) -> Told {
    Told {
        available,
        reason: reason.to_owned(),
    }
}

/// Licensed for one day, in grace for three more.
fn licensed(now: DateTime<Utc>) -> Announcement {
    let state = |map_view: Told| {
        [
            (MAP_VIEW.to_owned(), map_view),
            (LIVE_VIEW.to_owned(), told(true, "core")),
        ]
        .into()
    };
    let later = |after, standing: &str, map_view| Later {
        after,
        standing: standing.to_owned(),
        features: state(map_view),
        unlisted: told(false, "not_in_license"),
        limits: None,
    };
    let expired = told(false, "grace_period_expired");
    Announcement {
        standing: "active".to_owned(),
        tier: Some("professional".to_owned()),
        grace_until: None,
        holds_until: Some(now + DAY),
        features: state(told(true, "licensed")),
        unlisted: told(false, "not_in_license"),
        limits: [("cameras".to_owned(), Some(64)), ("users".to_owned(), None)].into(),
        then: vec![
            later(now + DAY, "grace", told(true, "grace_period")),
            later(now + 4 * DAY, "lapsed", expired),
        ],
    }
}

fn revoked(now: DateTime<Utc>) -> Announcement {
    let mut revoked = licensed(now);
    revoked.then.clear();
    "lapsed".clone_into(&mut revoked.standing);
    revoked
        .features
        .insert(MAP_VIEW.to_owned(), told(false, "revoked"));
    revoked
}

/// A machine in contact that is licensed.
fn in_contact(policy: WithoutContact) -> Machine {
    let mut machine = Machine::new(policy, None);
    machine.apply(&licensed(machine.wall), None);
    machine.expect(MAP_VIEW, true, Reason::Licensed);
    machine
}

#[test]
fn absent() {
    for policy in POLICIES {
        let mut machine = Machine::new(policy, None);
        for passed in [Duration::ZERO, 59 * SECOND, 2 * SECOND, 30 * DAY] {
            machine.pass(passed);
            let allows = policy == WithoutContact::Allow;
            machine.expect_unchanged(MAP_VIEW, allows, Reason::NoContact);
            machine.expect_unchanged(LIVE_VIEW, true, Reason::Core);
        }
    }
}

#[test]
fn restart() {
    for policy in POLICIES {
        let mut machine = in_contact(policy);
        machine.lose_contact();
        for _ in 0..60 {
            machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
            machine.pass(SECOND);
        }
        machine.apply(&licensed(machine.wall), None);
        machine.pass(HOUR);
        machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
    }
}

#[test]
fn expiry_without_contact() {
    for policy in POLICIES {
        let mut machine = in_contact(policy);
        machine.pass(HOUR);
        machine.lose_contact();
        machine.pass(60 * SECOND);
        machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
        machine.pass(Duration::from_nanos(1));
        let (keeps, denies) = (
            policy == WithoutContact::KeepUntilEnd,
            policy == WithoutContact::Deny,
        );
        let reason = |otherwise| if denies { Reason::NoContact } else { otherwise };
        machine.expect_unchanged(MAP_VIEW, !denies, reason(Reason::Licensed));
        machine.expect_unchanged("module.alarm", false, Reason::NotInLicense);
        // The end of the first day, which is inclusive.
        machine.pass(23 * HOUR - 60 * SECOND - Duration::from_nanos(1));
        machine.expect_unchanged(MAP_VIEW, !denies, reason(Reason::Licensed));
        machine.pass(Duration::from_nanos(1));
        let later = if keeps {
            Reason::GracePeriod
        } else {
            Reason::Licensed
        };
        machine.expect_unchanged(MAP_VIEW, !denies, reason(later));
        // Without an update for days: the announcement applies and ends on time.
        machine.pass(3 * DAY);
        match policy {
            WithoutContact::Allow => machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed),
            _ => machine.expect_unchanged(MAP_VIEW, false, Reason::GracePeriodExpired),
        }
        machine.expect_unchanged(LIVE_VIEW, true, Reason::Core);
    }
}

#[test]
fn revoke() {
    for policy in POLICIES {
        let mut machine = in_contact(policy);
        machine.apply(&revoked(machine.wall), None);
        machine.expect_unchanged(MAP_VIEW, false, Reason::Revoked);
        machine.lose_contact();
        machine.pass(HOUR);
        machine.expect_unchanged(MAP_VIEW, false, Reason::Revoked);
        machine.expect_unchanged(LIVE_VIEW, true, Reason::Core);
    }
}

/// Only the wall clock moves, so nothing changes without keys.
#[test]
fn clock_steps() {
    for policy in POLICIES {
        let mut machine = in_contact(policy);
        for step in [30, -60, 10_000, -20_000].map(TimeDelta::days) {
            machine.wall += step;
            machine.pass(SECOND);
            machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
        }
        machine.pass(DAY);
        machine.expect_unchanged(MAP_VIEW, true, Reason::GracePeriod);
        assert_eq!(machine.tables, 3, "only the end changes the table");
    }
}

#[test]
fn suspends() {
    for policy in POLICIES {
        let mut machine = in_contact(policy);
        machine.suspend(2 * DAY);
        machine.expect(MAP_VIEW, true, Reason::GracePeriod);
        machine.suspend(3 * DAY);
        machine.expect(MAP_VIEW, false, Reason::GracePeriodExpired);
    }
    // Contact was lost earlier: after a suspend, it has been lost for long.
    let mut machine = in_contact(WithoutContact::Deny);
    machine.lose_contact();
    machine.suspend(2 * HOUR);
    machine.expect(MAP_VIEW, false, Reason::NoContact);
}

#[test]
fn keys() {
    let vendor = Signer::vendor();
    for policy in [WithoutContact::KeepUntilEnd, WithoutContact::Deny] {
        let jwk_set = serde_json::to_string(&vendor.jwk_set()).unwrap();
        let keyring = Keyring::from_json(&jwk_set).unwrap();
        let mut machine = Machine::new(policy, Some(TrustedKeys::new(keyring, None)));
        let start = machine.wall;
        let claims = LicenseClaims {
            iat: start,
            nbf: start,
            valid_until: start + DAY,
            exp: start + 4 * DAY,
            ..license_claims()
        };
        let signed = || {
            Some(Signed {
                license: vendor.license(&claims),
                key_sets: Vec::new(),
            })
        };
        machine.apply(&licensed(start), None);
        machine.expect_unchanged(MAP_VIEW, false, Reason::NotSigned);
        machine.apply(&licensed(start), signed());
        machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
        // A wall clock set far ahead is not believed, and setting it back has no effect.
        machine.wall += TimeDelta::days(30);
        machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
        machine.wall -= TimeDelta::days(60);
        machine.expect_unchanged(MAP_VIEW, true, Reason::Licensed);
        machine.wall += TimeDelta::days(30);
        // Neither has a License Client that reports that no time has passed.
        for _ in 0..5 {
            machine.pass(DAY);
            let wall = std::mem::replace(&mut machine.wall, start);
            machine.apply(&licensed(start), signed());
            machine.wall = wall;
        }
        machine.expect_unchanged(MAP_VIEW, false, Reason::GracePeriodExpired);
        machine.expect_unchanged(LIVE_VIEW, true, Reason::Core);
    }
}

#[test]
fn ten_thousand_features() {
    let mut machine = Machine::new(WithoutContact::Deny, None);
    let mut large = licensed(machine.wall);
    for number in 0..10_000 {
        let key = format!("{number:0100}");
        large
            .features
            .insert(key.clone(), told(number % 2 == 0, "licensed"));
        for later in &mut large.then {
            later
                .features
                .insert(key.clone(), told(false, "grace_period_expired"));
        }
    }
    machine.apply(&large, None);
    machine.expect(&format!("{:0100}", 42), true, Reason::Licensed);
    machine.expect(&format!("{:0100}", 43), false, Reason::Licensed);
    let announced = |machine: &Machine| machine.known.said.as_ref().unwrap().announced.clone();
    // Even with many features, few decisions differ.
    let before = announced(&machine);
    assert!(before.states.iter().all(|state| state.decisions.len() == 5));
    // Contact is lost and deadlines pass: no key is copied.
    machine.lose_contact();
    machine.pass(HOUR);
    machine.expect_unchanged(&format!("{:0100}", 42), false, Reason::NoContact);
    machine.pass(DAY);
    machine.expect_unchanged(&format!("{:0100}", 42), false, Reason::GracePeriodExpired);
    let after = announced(&machine);
    assert!(Arc::ptr_eq(&before.rows, &after.rows));
    // The new table, the current one and the stored announcement.
    assert_eq!(Arc::strong_count(&before.rows), 4);
}

/// A follower updates every second, even for a week, but builds a new table only when a
/// decision changes.
#[test]
fn tables_are_built_only_when_decisions_change() {
    let mut machine = in_contact(WithoutContact::Deny);
    let before = machine.tables;
    for _ in 0..5 * 24 * 60 * 60 / 7 {
        machine.pass(7 * SECOND);
        machine.update();
    }
    assert_eq!(
        machine.tables - before,
        2,
        "the end of the lease and the end of grace"
    );
    machine.suspend(HOUR);
    assert_eq!(machine.tables - before, 3);
    machine.update();
    assert_eq!(machine.tables - before, 3);
}

/// Oversized announcements are rejected before any work is done, and the state is kept.
#[test]
fn oversized_announcements_are_rejected() {
    let mut machine = in_contact(WithoutContact::KeepUntilEnd);
    let mut endless = revoked(machine.wall);
    let state = licensed(machine.wall).then[0].clone();
    endless.then = vec![state; 100_000];
    let mut wide = revoked(machine.wall);
    let keys = (0..200_000).map(|number| (number.to_string(), told(true, "licensed")));
    wide.features.extend(keys);
    let mut limited = revoked(machine.wall);
    let mut later = licensed(machine.wall).then[0].clone();
    later.limits = Some((0..20_000).map(|key| (key.to_string(), None)).collect());
    limited.then = vec![later];
    for (name, announcement) in [("states", endless), ("features", wide), ("limits", limited)] {
        let envelope = Envelope {
            now: machine.wall,
            signed: None,
        };
        let error = machine
            .known
            .apply(announcement, &envelope, machine.readings());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("expected at most 100000 in 256"),
            "{name}: {error}"
        );
    }
    machine.publish();
    machine.expect(MAP_VIEW, true, Reason::Licensed);
}

/// States in the wrong order are sorted.
#[test]
fn states_are_sorted_by_time() {
    let mut machine = Machine::new(WithoutContact::KeepUntilEnd, None);
    let mut announcement = licensed(machine.wall);
    announcement.then.reverse();
    machine.apply(&announcement, None);
    machine.expect(MAP_VIEW, true, Reason::Licensed);
    machine.pass(2 * DAY);
    machine.expect(MAP_VIEW, true, Reason::GracePeriod);
    machine.pass(3 * DAY);
    machine.expect(MAP_VIEW, false, Reason::GracePeriodExpired);
}
