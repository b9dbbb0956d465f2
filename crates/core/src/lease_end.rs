//! When the lease of a site ends that does not know entitlements.
//!
//! Such a site uses what its document lists until the document ends. So its lease ends when the
//! entitlements change, and it then asks again.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

/// Minimum length of a lease that is shortened.
pub const MIN_LEASE: TimeDelta = TimeDelta::hours(1);

/// The end of a lease that is signed at `at` and would last until `end`, if the entitlements stay
/// what they are until `holds_until`, the last such instant; `None` if they never change. `spread`
/// is random, and shortens such a lease by up to a tenth, so that the sites of a vendor do not all
/// ask together.
#[must_use]
pub fn lease_end(
    at: DateTime<Utc>,
    end: DateTime<Utc>,
    holds_until: Option<DateTime<Utc>>,
    spread: u16,
) -> DateTime<Utc> {
    let change = holds_until.map(|it| it.trunc_subsecs(0));
    let Some(change) = change.filter(|change| *change < end) else {
        return end;
    };
    let seconds = (change - at).num_seconds().max(0);
    let earlier = seconds * i64::from(spread) / (10 * i64::from(u16::MAX));
    let shortened = change - TimeDelta::seconds(earlier);
    shortened.max(at + MIN_LEASE).min(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: f64) -> DateTime<Utc> {
        #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
        let seconds = (hours * 3600.0) as i64;
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_lease_ends_with_the_next_change_but_lasts_an_hour() {
        let end =
            |change: Option<f64>, spread| lease_end(at(0.0), at(24.0), change.map(at), spread);
        for spread in [0, 1, u16::MAX] {
            assert_eq!(end(None, spread), at(24.0));
            assert_eq!(end(Some(24.0), spread), at(24.0));
            assert_eq!(end(Some(500.0), spread), at(24.0));
            assert_eq!(end(Some(0.5), spread), at(1.0));
            assert_eq!(end(Some(-3.0), spread), at(1.0));
        }
        assert_eq!(end(Some(20.0), 0), at(20.0));
        assert_eq!(end(Some(20.0), u16::MAX), at(18.0));
        let half = end(Some(20.0), u16::MAX / 2);
        assert!(at(18.0) < half && half < at(20.0), "{half}");
        assert_eq!(lease_end(at(0.0), at(0.5), Some(at(0.2)), 0), at(0.5));
    }
}
