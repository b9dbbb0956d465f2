//! When the License Server is called next.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::schedule::{Jitter, next_heartbeat, next_validation, unsigned_validity};
use license_core::standing::{LapseReason, Standing};

use crate::signer::{KEY, Signer, license_claims, license_object, signed_at};

const NONE: u32 = 0;
const MOST: u32 = u32::MAX;

fn unsigned() -> Evidence {
    let lease = Lease::Unsigned {
        license: License::new(license_object()),
        valid_until: signed_at() + TimeDelta::hours(30),
    };
    Evidence::default().activated(KEY, lease, signed_at())
}

fn wait(evidence: &Evidence, standing: &Standing, failures: u32, jitter: u32) -> Option<TimeDelta> {
    let day = TimeDelta::hours(24);
    let jitter = Jitter::from_bits(jitter);
    let next = next_validation(evidence, standing, failures, signed_at(), day, jitter);
    next.map(|next| next - signed_at())
}

fn lapsed() -> Standing {
    Standing::Lapsed(LapseReason::GracePeriodExpired)
}

#[test]
fn a_healthy_site_validates_at_its_interval_or_up_to_a_tenth_earlier() {
    let active = Standing::Active;
    assert_eq!(
        wait(&unsigned(), &active, 0, NONE),
        Some(TimeDelta::hours(24))
    );
    let earliest = wait(&unsigned(), &active, 0, MOST).unwrap();
    assert!(earliest >= TimeDelta::minutes(24 * 54) && earliest < TimeDelta::minutes(24 * 54 + 1));
}

#[test]
fn a_short_lease_is_validated_after_four_fifths_of_its_span() {
    let mut claims = license_claims();
    claims.valid_until = claims.iat + TimeDelta::hours(10);
    let lease = Lease::Signed(Box::new(Signer::new(1).license(&claims)));
    let evidence = Evidence::default().activated(KEY, lease, signed_at());
    assert_eq!(
        wait(&evidence, &Standing::Active, 0, NONE),
        Some(TimeDelta::hours(8))
    );
}

#[test]
fn failures_double_the_wait_from_one_minute_to_one_hour() {
    let grace = Standing::Grace { until: signed_at() };
    for (failures, minutes) in [
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 8),
        (5, 16),
        (6, 32),
        (7, 60),
        (8, 60),
    ] {
        let shortest = TimeDelta::seconds(minutes * 30);
        assert_eq!(
            wait(&unsigned(), &grace, failures, NONE),
            Some(shortest),
            "{failures}"
        );
        let longest = wait(&unsigned(), &grace, failures, MOST).unwrap();
        let bound = TimeDelta::minutes(minutes);
        assert!(
            longest <= bound && longest > bound - TimeDelta::seconds(1),
            "{failures}"
        );
    }
    assert_eq!(
        wait(&unsigned(), &grace, u32::MAX, NONE),
        Some(TimeDelta::minutes(30))
    );
}

#[test]
fn a_lapsed_site_asks_every_quarter_of_an_hour() {
    for failures in [0, 1, 100] {
        assert_eq!(
            wait(&unsigned(), &lapsed(), failures, NONE),
            Some(TimeDelta::minutes(15))
        );
    }
}

#[test]
fn nothing_is_due_without_a_license_or_with_an_offline_lease_that_holds() {
    assert_eq!(
        wait(&Evidence::default(), &Standing::Unlicensed, 0, NONE),
        None
    );
    let mut claims = license_claims();
    claims.offline = true;
    let lease = Lease::Signed(Box::new(Signer::new(1).license(&claims)));
    let evidence = Evidence::default().activated(KEY, lease, signed_at());
    assert_eq!(wait(&evidence, &Standing::Active, 0, NONE), None);
    assert!(wait(&evidence, &lapsed(), 0, NONE).is_some());
}

#[test]
fn heartbeats_come_at_their_interval_or_up_to_a_tenth_earlier() {
    let four = TimeDelta::hours(4);
    let next = |bits| next_heartbeat(signed_at(), four, Jitter::from_bits(bits)) - signed_at();
    assert_eq!(next(NONE), four);
    assert!(next(MOST) >= TimeDelta::minutes(216) && next(MOST) < four);
    assert_eq!(
        unsigned_validity(TimeDelta::hours(24)),
        TimeDelta::hours(30)
    );
}

#[test]
fn the_longest_settings_do_not_overflow() {
    let ten_years = TimeDelta::hours(87_600);
    let far: DateTime<Utc> = "9999-01-01T00:00:00Z".parse().unwrap();
    let jitter = Jitter::from_bits(1);
    next_validation(&unsigned(), &Standing::Active, 0, far, ten_years, jitter).unwrap();
    assert!(next_heartbeat(far, ten_years, jitter) > far);
    assert!(unsigned_validity(ten_years) > ten_years);
}
