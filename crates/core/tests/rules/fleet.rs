//! The standing of installations as seen by the License Server.

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::DenialReason;
use license_core::fleet::{Signed, is_over, standing_seen};
use license_core::lapse::LapseReason;
use license_core::standing::Standing;
use license_core::usage::{Resource, Usage};
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
    fn over_is_one_above_any_limit_and_unlimited_never(used: [Option<u64>; 3], limits: [i64; 3]) {
        let usage = Usage { cameras: used[0], users: used[1], storage_gb: used[2], ..Usage::default() };
        let limit = |resource| match resource {
            Resource::Cameras => limits[0],
            Resource::Users => limits[1],
            Resource::StorageGb => limits[2],
        };
        let expected = used.iter().zip(limits).any(|(used, limit)| {
            limit >= 0 && used.is_some_and(|used| i128::from(used) > i128::from(limit))
        });
        prop_assert_eq!(is_over(&usage, limit), expected);
    }
}
