//! Reads the time. No other file does.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::Utc;
use license_core::time_guard::Readings;

/// Nanoseconds on the clock used for decisions. The origin is arbitrary, and values may
/// be negative.
pub(crate) type Ticks = i64;

#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the time"
)]
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clock used for decisions. It does not count time in which the machine is suspended.
///
/// On Linux it lags by at most one tick of the kernel's timer, a few milliseconds,
/// and takes a third of the time of a precise clock.
#[inline]
pub(crate) fn ticks() -> Ticks {
    platform::ticks()
}

/// All clocks of the machine. No reading outlives the process, so the boot id is not
/// needed.
#[expect(
    clippy::disallowed_methods,
    reason = "the only place that reads the time"
)]
pub(crate) fn readings() -> Readings {
    Readings {
        wall: Utc::now(),
        running: BEGINNING.elapsed(),
        since_boot: platform::since_boot(),
        boot_id: None,
    }
}

/// Converts a duration to ticks; the maximum if it does not fit.
pub(crate) fn in_ticks(duration: Duration) -> Ticks {
    Ticks::try_from(duration.as_nanos()).unwrap_or(Ticks::MAX)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod platform {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::Ticks;

    #[inline]
    pub(super) fn ticks() -> Ticks {
        let time = clock_gettime(ClockId::MonotonicCoarse);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    /// Includes time in which the machine is suspended.
    pub(super) fn since_boot() -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        time.try_into().unwrap_or_default()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use portable as platform;

/// Uses only the standard library. It is also compiled for tests on Linux, so that it
/// stays correct.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod portable {
    use std::time::Duration;

    use super::{BEGINNING, Ticks, in_ticks};

    pub(super) fn ticks() -> Ticks {
        in_ticks(BEGINNING.elapsed())
    }

    /// Whether suspended time counts depends on the operating system: it does on Windows,
    /// and does not on macOS.
    pub(super) fn since_boot() -> Duration {
        BEGINNING.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_forward() {
        for ticks in [ticks as fn() -> Ticks, portable::ticks] {
            let before = ticks();
            let start = BEGINNING.elapsed();
            while BEGINNING.elapsed() - start < Duration::from_millis(20) {}
            let passed = ticks() - before;
            assert!((5_000_000..5_000_000_000).contains(&passed), "{passed}");
        }
        assert!(portable::since_boot() <= BEGINNING.elapsed());
    }
}
