//! Time. This is the only file that reads it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::Utc;
use license_core::time_guard::Readings;

/// Nanoseconds on the clock that decisions are checked by. Its zero has no meaning, and
/// it may be negative.
pub(crate) type Ticks = i64;

#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clock that decisions are checked by, without suspends of the machine.
///
/// On Linux it is behind by one tick of the kernel's timer at most, some milliseconds,
/// and takes a third of the time of an exact one.
#[inline]
pub(crate) fn ticks() -> Ticks {
    platform::ticks()
}

/// All clocks of the machine. Nothing is kept over a start of the process, so
/// which start of the machine it is does not matter.
#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
pub(crate) fn readings() -> Readings {
    Readings {
        wall: Utc::now(),
        running: BEGINNING.elapsed(),
        since_boot: platform::since_boot(),
        boot_id: None,
    }
}

/// A duration in ticks; the longest one where it does not fit.
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

    /// With suspends.
    pub(super) fn since_boot() -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        time.try_into().unwrap_or_default()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use portable as platform;

/// What the standard library has everywhere. It is compiled for tests on Linux too, so
/// that it stays correct.
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod portable {
    use std::time::Duration;

    use super::{BEGINNING, Ticks, in_ticks};

    pub(super) fn ticks() -> Ticks {
        in_ticks(BEGINNING.elapsed())
    }

    /// Whether suspends count is up to the operating system: on Windows they do, on
    /// macOS they do not.
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
