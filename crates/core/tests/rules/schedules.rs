//! The schedule of calls to the License Server.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::lapse::LapseReason;
use license_core::schedule::jitter::Jitter;
use license_core::schedule::retry::{LAPSED_RETRY, MAX_RETRY_DELAY, retry_after_delay};
use license_core::schedule::{
    VALIDATION_TAKEOVER_DELAY, next_heartbeat, next_validation, takeover_at, unsigned_validity,
};
use license_core::standing::Standing;

use crate::signer::{Signer, T0, at, license_claims, unsigned_lease};

const DAY: TimeDelta = TimeDelta::hours(24);
const GRACE: Standing = Standing::Grace { until: T0 };
const LAPSED: Standing = Standing::Lapsed(LapseReason::GracePeriodExpired);

fn least() -> Jitter {
    Jitter::from_bits(0)
}

fn most() -> Jitter {
    Jitter::from_bits(u32::MAX)
}

fn unsigned() -> Evidence {
    Evidence::default().activated(unsigned_lease(), T0)
}

/// Signed for `hours` of validity.
fn signed(hours: i64, offline: bool) -> Evidence {
    let mut claims = license_claims();
    claims.valid_until = at(hours);
    claims.exp = at(hours + 72);
    claims.offline = offline;
    Signer::vendor().evidence(&claims)
}

/// The delay before the next validation, after one at [`T0`].
fn wait(
    evidence: &Evidence,
    standing: &Standing,
    failures: u32,
    interval: TimeDelta,
    jitter: Jitter,
) -> Option<TimeDelta> {
    next_validation(evidence, standing, failures, T0, interval, jitter).map(since)
}

fn since(next: DateTime<Utc>) -> TimeDelta {
    next - T0
}

#[test]
fn a_failed_validation_is_retried_after_one_two_four_to_sixty_minutes() {
    let minutes = [1, 2, 4, 8, 16, 32, 60, 60, 60];
    for (failures, minutes) in (1..).zip(minutes) {
        let full = TimeDelta::minutes(minutes);
        for standing in [Standing::Active, GRACE] {
            let wait = |jitter| wait(&unsigned(), &standing, failures, DAY, jitter);
            assert_eq!(wait(least()), Some(full / 2), "{failures} failures");
            // The random number is below 1, so the full delay is never reached.
            let longest = full - TimeDelta::milliseconds(1);
            assert_eq!(wait(most()), Some(longest), "{failures} failures");
        }
    }
}

#[test]
fn the_delay_grows_evenly_with_the_random_number() {
    let half = Jitter::from_bits(1 << 31);
    assert_eq!(
        wait(&unsigned(), &GRACE, 1, DAY, half),
        Some(TimeDelta::seconds(45))
    );
    assert_eq!(
        wait(&unsigned(), &Standing::Active, 0, DAY, half),
        Some(DAY * 95 / 100)
    );
}

#[test]
fn a_lapsed_site_validates_every_fifteen_minutes() {
    assert_eq!(LAPSED_RETRY, TimeDelta::minutes(15));
    for failures in [0, 1, 500] {
        let wait = |jitter| wait(&signed(24, false), &LAPSED, failures, DAY, jitter);
        assert_eq!(wait(least()), Some(TimeDelta::minutes(15)));
        assert_eq!(wait(most()), Some(TimeDelta::seconds(13 * 60 + 30)));
    }
}

#[test]
fn a_confirmed_lease_is_validated_at_the_configured_interval() {
    for evidence in [unsigned(), signed(48, false)] {
        let wait = |jitter| wait(&evidence, &Standing::Active, 0, DAY, jitter);
        assert_eq!(wait(least()), Some(DAY));
        assert_eq!(wait(most()), Some(DAY * 9 / 10));
    }
}

#[test]
fn a_signed_lease_shorter_than_the_interval_is_validated_after_four_fifths_of_it() {
    let evidence = signed(10, false);
    let wait = |jitter| wait(&evidence, &Standing::Active, 0, DAY, jitter);
    assert_eq!(wait(least()), Some(TimeDelta::hours(8)));
    assert_eq!(wait(most()), Some(TimeDelta::minutes(8 * 54)));
}

#[test]
fn a_lease_that_ends_immediately_does_not_cause_continuous_calls() {
    let wait = wait(&signed(0, false), &Standing::Active, 0, DAY, least());
    assert_eq!(wait, Some(TimeDelta::seconds(1)));
}

#[test]
fn a_signed_lease_of_one_day_is_not_used_up_by_an_interval_of_one_day() {
    assert_eq!(
        wait(&signed(24, false), &Standing::Active, 0, DAY, least()),
        Some(TimeDelta::minutes(24 * 48))
    );
}

#[test]
fn randomness_makes_a_regular_call_only_earlier() {
    for bits in [1, 1 << 16, 1 << 31, u32::MAX] {
        let jitter = Jitter::from_bits(bits);
        let validation = wait(&unsigned(), &Standing::Active, 0, DAY, jitter).unwrap();
        let heartbeat = since(heartbeat(DAY, jitter));
        for wait in [validation, heartbeat] {
            assert!(wait < DAY && wait >= DAY * 9 / 10, "{wait}");
        }
    }
}

fn heartbeat(interval: TimeDelta, jitter: Jitter) -> DateTime<Utc> {
    next_heartbeat(&unsigned(), &Standing::Active, T0, interval, jitter).unwrap()
}

#[test]
fn a_site_without_internet_sends_no_heartbeats_while_its_lease_holds() {
    let next = |standing| next_heartbeat(&signed(24, true), &standing, T0, DAY, least());
    assert_eq!(next(Standing::Active), None);
    assert_eq!(next(Standing::Grace { until: at(96) }), Some(T0 + DAY));
    assert_eq!(
        next_heartbeat(
            &Evidence::default(),
            &Standing::Unlicensed,
            T0,
            DAY,
            least()
        ),
        None
    );
}

#[test]
fn a_heartbeat_is_sent_at_its_interval() {
    let interval = TimeDelta::hours(4);
    assert_eq!(since(heartbeat(interval, least())), interval);
    assert_eq!(since(heartbeat(interval, most())), interval * 9 / 10);
}

#[test]
fn without_a_license_nothing_is_validated() {
    let nothing = Evidence::default();
    assert_eq!(wait(&nothing, &Standing::Unlicensed, 0, DAY, least()), None);
    assert_eq!(
        wait(&unsigned(), &Standing::Unlicensed, 3, DAY, least()),
        None
    );
}

#[test]
fn an_offline_lease_is_not_validated_while_it_holds() {
    let evidence = signed(24, true);
    for failures in [0, 1, 9] {
        assert_eq!(
            wait(&evidence, &Standing::Active, failures, DAY, least()),
            None
        );
    }
}

#[test]
fn an_offline_lease_that_ran_out_is_validated_again() {
    let evidence = signed(24, true);
    let four_fifths = Some(TimeDelta::minutes(24 * 48));
    assert_eq!(wait(&evidence, &GRACE, 0, DAY, least()), four_fifths);
    assert_eq!(
        wait(&evidence, &LAPSED, 0, DAY, least()),
        Some(LAPSED_RETRY)
    );
}

#[test]
fn an_unsigned_lease_holds_a_quarter_longer_than_the_interval() {
    assert_eq!(unsigned_validity(DAY), TimeDelta::hours(30));
    assert_eq!(
        unsigned_validity(TimeDelta::seconds(1)),
        TimeDelta::milliseconds(1250)
    );
}

#[test]
fn validations_continue_hourly_in_a_very_long_outage() {
    for failures in [7, 1_000, u32::MAX] {
        assert_eq!(
            wait(&unsigned(), &GRACE, failures, DAY, least()),
            Some(TimeDelta::minutes(30))
        );
    }
}

#[test]
fn a_very_long_interval_is_used_unchanged() {
    let ages = TimeDelta::days(365_000);
    assert_eq!(
        wait(&unsigned(), &Standing::Active, 0, ages, least()),
        Some(ages)
    );
    assert_eq!(
        wait(&signed(24, false), &Standing::Active, 0, ages, least()),
        Some(TimeDelta::minutes(24 * 48))
    );
    assert_eq!(since(heartbeat(ages, least())), ages);
    assert_eq!(unsigned_validity(ages), ages * 5 / 4);
    assert_eq!(unsigned_validity(TimeDelta::MAX), TimeDelta::MAX);
}

#[test]
fn a_requested_delay_is_respected_up_to_one_hour() {
    for (asked, shortest, longest) in [
        (0, 0, 0),
        (10, 10, 11),
        (600, 600, 660),
        (3500, 3500, 3600),
        (3599, 3599, 3600),
        (3600, 3240, 3600),
        (86_400, 3240, 3600),
        (u64::MAX, 3240, 3600),
    ] {
        let mut waits = Vec::new();
        for bits in [0, 1 << 30, 1 << 31, 3 << 30, u32::MAX] {
            let wait = retry_after_delay(Duration::from_secs(asked), Jitter::from_bits(bits));
            assert!(wait <= MAX_RETRY_DELAY);
            let seconds = wait.num_milliseconds().div_euclid(1000);
            assert!(
                (shortest..=longest).contains(&seconds),
                "{asked}: {seconds}"
            );
            waits.push(wait);
        }
        waits.dedup();
        assert!(
            asked == 0 || waits.len() > 1,
            "{asked}: a fleet spreads out"
        );
    }
}

#[test]
fn a_process_stands_in_for_another_after_fifteen_to_twenty_minutes() {
    assert_eq!(VALIDATION_TAKEOVER_DELAY, TimeDelta::minutes(15));
    assert_eq!(takeover_at(T0, least()), T0 + TimeDelta::minutes(15));
    let latest = takeover_at(T0, most());
    assert!(latest <= T0 + TimeDelta::minutes(20), "{latest}");
    assert!(latest > T0 + TimeDelta::minutes(19), "{latest}");
}
