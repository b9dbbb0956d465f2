//! The standing of installations as seen by the License Server.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::DenialReason;
use license_core::entitlement::Quantity;
use license_core::feature::FeatureKey;
use license_core::fleet::{Signed, is_over, standing_seen};
use license_core::lapse::LapseReason;
use license_core::standing::Standing;
use license_core::usage::{Counts, Usage};
use proptest::prelude::*;

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
}

fn signed() -> Signed {
    Signed {
        valid_until: at(24),
        exp: at(96),
    }
}

#[test]
fn a_lease_is_active_then_in_grace_then_silent_with_inclusive_bounds() {
    let seen = |now| standing_seen(None, Some(signed()), now);
    let grace = Standing::Grace { until: at(96) };
    let silent = Standing::Lapsed(LapseReason::GracePeriodExpired);
    assert_eq!(seen(at(24)), Standing::Active);
    assert_eq!(seen(at(24) + TimeDelta::milliseconds(1)), grace);
    assert_eq!(seen(at(96)), grace);
    assert_eq!(seen(at(96) + TimeDelta::milliseconds(1)), silent);
    assert_eq!(standing_seen(None, None, at(0)), silent);
}

#[test]
fn a_denial_takes_precedence() {
    let told = |reason| standing_seen(Some(&reason), Some(signed()), at(0));
    assert_eq!(
        told(DenialReason::Expired),
        Standing::Lapsed(LapseReason::LicenseExpired)
    );
    for reason in [DenialReason::Suspended, DenialReason::Revoked] {
        let lapsed = Standing::Lapsed(LapseReason::Denied(reason.clone()));
        assert_eq!(told(reason), lapsed);
    }
}

proptest! {
    #[test]
    fn over_is_one_above_any_limit_and_unlimited_or_unknown_never(
        used: [Option<u64>; 4],
        limits: [Option<u64>; 4],
    ) {
        let doors = FeatureKey::parse("doors").unwrap();
        let counts: Counts = used[3].map(|number| (doors, number)).into_iter().collect();
        let usage = Usage { cameras: used[0], users: used[1], storage_gb: used[2], counts };
        let granted = |key: &str| {
            let place = ["cameras", "users", "storage_gb", "doors"].iter().position(|it| *it == key);
            limits[place.unwrap()].map_or(Quantity::Unlimited, Quantity::Of)
        };
        let expected = used.iter().zip(limits).any(|(used, limit)| {
            used.zip(limit).is_some_and(|(used, limit)| used > limit)
        });
        prop_assert_eq!(is_over(&usage, granted), expected);
    }
}
