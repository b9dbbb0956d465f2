//! The wall clock of a site in unsigned mode: jumps alone never end a license.

use std::time::Duration;

use chrono::TimeDelta;
use license_core::evidence::{Evidence, Failure};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::standing::{Policy, standing};
use license_core::wall_clock::{TOLERANCE, WallClock, WallReading};
use proptest::prelude::*;

use crate::signer::{KEY, T0, at, license_object};

const POLICY: Policy = Policy {
    grace: TimeDelta::hours(72),
    allow_unlicensed_core: true,
};

fn reading(ran_hours: i64, wall_hours: i64) -> WallReading {
    let running = Duration::from_secs(u64::try_from(ran_hours).unwrap() * 3600);
    WallReading {
        running,
        wall: at(wall_hours),
    }
}

fn licensed() -> Evidence {
    let lease = Lease::Unsigned {
        license_key: KEY.into(),
        license: License::new(license_object()),
        valid_until: at(30),
    };
    Evidence::default().activated(lease, T0)
}

#[test]
fn time_continues_from_before_a_jump_until_a_validation_attempt() {
    let clock = WallClock::start(reading(0, 0)).observed(reading(1, 1));
    let jumped = reading(2, 122);
    assert_eq!(clock.ahead(jumped), Some(TimeDelta::hours(120)));
    assert_eq!(clock.now(jumped), at(2));
    // Reading it does not make it count.
    let clock = clock.observed(jumped).observed(reading(3, 123));
    assert_eq!(clock.now(reading(3, 123)), at(3));
    // A validation that began before it does not either.
    assert_eq!(clock.tried(reading(1, 1)).now(reading(3, 123)), at(3));
    let clock = clock.tried(reading(3, 123));
    assert_eq!(clock.now(reading(4, 124)), at(124));
    assert_eq!(clock.ahead(reading(4, 124)), None);
    // A second jump during the validation counts after the next one.
    assert_eq!(clock.now(reading(4, 300)), at(124));
}

#[test]
fn a_clock_that_is_corrected_or_set_back_counts_immediately() {
    let clock = WallClock::start(reading(0, 100));
    let by = |wall| WallReading {
        wall,
        ..reading(0, 0)
    };
    let corrected = by(at(100) + TOLERANCE);
    assert_eq!(clock.now(corrected), corrected.wall);
    let beyond = by(at(100) + TOLERANCE + TimeDelta::microseconds(1));
    assert_eq!(clock.now(beyond), at(100));
    assert_eq!(clock.now(reading(0, 20)), at(20));
    // Set ahead by mistake, and back.
    let clock = clock.observed(reading(0, 9_000));
    assert_eq!(clock.now(reading(1, 101)), at(101));
}

#[test]
fn a_site_that_was_off_keeps_its_standing_until_a_validation_attempt() {
    let evidence = licensed();
    let clock =
        WallClock::start(reading(0, 500)).recalled(&evidence, None, &POLICY, reading(0, 500));
    assert_eq!(clock.now(reading(1, 501)), at(1));
    assert_eq!(
        standing(&evidence, clock.now(reading(1, 501)), &POLICY).as_str(),
        "active"
    );
    let clock = clock.tried(reading(1, 501));
    assert_eq!(clock.now(reading(1, 501)), at(501));
    // A site whose grace period was running at the last attempt.
    let failed = |hours: i64| Evidence {
        grace_started_at: Some(at(20)),
        last_failure: Some(Failure::new(at(hours), "unreachable", "", false)),
        ..licensed()
    };
    let recalled = |evidence: &Evidence| {
        let clock = WallClock::start(reading(0, 500));
        clock
            .recalled(evidence, None, &POLICY, reading(0, 500))
            .now(reading(0, 500))
    };
    assert_eq!(recalled(&failed(92)), at(92));
    // A site that had lapsed at the last attempt has lapsed.
    assert_eq!(recalled(&failed(93)), at(500));
    // So has a site that lapsed while a process was running.
    let ran_until = |hours| {
        let clock = WallClock::start(reading(0, 500));
        let until = Some(at(hours));
        let clock = clock.recalled(&failed(92), until, &POLICY, reading(0, 500));
        clock.now(reading(0, 500))
    };
    assert_eq!(ran_until(91), at(92));
    assert_eq!(ran_until(93), at(500));
    // Version 1.0.0 records when grace began, but not the last attempt.
    let adopted = Evidence {
        last_failure: None,
        ..failed(92)
    };
    assert_eq!(recalled(&adopted), at(500));
    // A healthy site needs no other time, nor does one without a license.
    let soon =
        WallClock::start(reading(0, 100)).recalled(&licensed(), None, &POLICY, reading(0, 100));
    assert_eq!(soon.now(reading(0, 100)), at(100));
    assert_eq!(recalled(&Evidence::default()), at(500));
}

#[test]
fn the_end_of_a_license_during_sleep_waits_as_well() {
    let mut license = license_object();
    license.insert("expiresAt".into(), at(10).to_rfc3339().into());
    let license = License::new(license);
    let lease = Lease::Unsigned {
        license_key: KEY.into(),
        license,
        valid_until: at(30),
    };
    let evidence = Evidence::default().activated(lease, T0);
    let clock = WallClock::start(reading(0, 20)).recalled(&evidence, None, &POLICY, reading(0, 20));
    assert_eq!(clock.now(reading(1, 21)), at(1));
    assert_eq!(clock.tried(reading(1, 21)).now(reading(1, 21)), at(21));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    /// With any clock setting and any number of readings: without a validation, time passes
    /// only with the process and by corrections.
    #[test]
    fn jumps_alone_move_no_deadline(steps in prop::collection::vec((0..100_000_u64, -10_000_000..10_000_000_i64, any::<bool>()), 1..30)) {
        let mut shown = WallReading { running: Duration::ZERO, wall: T0 };
        let mut clock = WallClock::start(shown);
        let mut latest = T0;
        for (ran, jump, is_looked_at) in steps {
            shown.running += Duration::from_millis(ran);
            latest += TimeDelta::milliseconds(i64::try_from(ran).unwrap()) + TOLERANCE;
            shown.wall += TimeDelta::milliseconds(i64::try_from(ran).unwrap()) + TimeDelta::seconds(jump);
            prop_assert!(clock.now(shown) <= latest);
            prop_assert!(clock.now(shown) <= shown.wall);
            if is_looked_at {
                let before = clock.now(shown);
                clock = clock.observed(shown);
                prop_assert_eq!(clock.now(shown), before);
            }
        }
        prop_assert_eq!(clock.tried(shown).now(shown), shown.wall);
    }
}
