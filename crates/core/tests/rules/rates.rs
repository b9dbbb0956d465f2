//! Rate limits.

use std::time::Duration;

use license_core::rate::{
    FAILURE_RATE, Rate, SEAT_RATE, SEATLESS_RATE, all_seatless_rate, max_site_entries,
    newcomer_rate,
};
use proptest::prelude::*;

/// How many of these calls are allowed, and the time of the last one.
fn allowed(rate: Rate, calls: impl IntoIterator<Item = Duration>) -> u64 {
    let mut full_at = Duration::ZERO;
    let mut allowed = 0;
    for now in calls {
        if let Ok(next) = rate.take(full_at, now) {
            full_at = next;
            allowed += 1;
        }
    }
    allowed
}

#[test]
fn a_burst_is_allowed_and_then_one_call_each_interval() {
    let rate = Rate {
        burst: 3,
        interval: Duration::from_secs(10),
    };
    let mut full_at = Duration::ZERO;
    for (now, expected) in [
        (0, Ok(())),
        (0, Ok(())),
        (0, Ok(())),
        (0, Err(10)),
        (4, Err(6)),
        (10, Ok(())),
        (10, Err(10)),
        // After a long pause the burst is available again, but no more.
        (1000, Ok(())),
        (1000, Ok(())),
        (1000, Ok(())),
        (1000, Err(10)),
    ] {
        let taken = rate.take(full_at, Duration::from_secs(now));
        assert_eq!(taken.map(|_| ()), expected.map_err(Duration::from_secs));
        full_at = taken.unwrap_or(full_at);
    }
}

#[test]
fn daily_limits_match_the_documentation() {
    let day = || (0..86_400_000).step_by(50).map(Duration::from_millis);
    assert_eq!(allowed(SEAT_RATE, day()), 2_899);
    assert_eq!(allowed(newcomer_rate(1), day()), 1_460);
    assert_eq!(allowed(FAILURE_RATE, day()), 8_669);
    assert_eq!(newcomer_rate(u32::MAX).burst, u32::MAX);
    assert_eq!(allowed(SEATLESS_RATE, day()), 2_899);
    assert_eq!(allowed(all_seatless_rate(1), day()), 86_600);
    assert_eq!((max_site_entries(1), max_site_entries(1_000)), (102, 2_100));
}

proptest! {
    /// In any period, no more calls are allowed than the burst plus one per interval, and callers
    /// that wait as requested are allowed.
    #[test]
    fn a_rate_is_never_exceeded_and_its_wait_is_exact(
        burst in 0u32..20,
        interval in 1u64..100,
        pauses in prop::collection::vec(0u64..150, 1..100),
    ) {
        let rate = Rate { burst, interval: Duration::from_secs(interval) };
        let (mut full_at, mut now) = (Duration::ZERO, 0);
        let mut admitted: Vec<u64> = Vec::new();
        for pause in pauses {
            now += pause;
            match rate.take(full_at, Duration::from_secs(now)) {
                Ok(next) => {
                    full_at = next;
                    admitted.push(now);
                }
                Err(wait) => {
                    let almost = Duration::from_secs(now) + wait - Duration::from_nanos(1);
                    prop_assert!(rate.take(full_at, almost).is_err());
                    prop_assert!(rate.take(full_at, Duration::from_secs(now) + wait).is_ok());
                }
            }
        }
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let most = u64::from(burst.max(1)) + (to - from) / interval;
                prop_assert!(((last - first) as u64) < most);
            }
        }
    }
}
