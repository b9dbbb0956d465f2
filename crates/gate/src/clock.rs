//! Time. This is the only file that reads it.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::Utc;
use license_core::time_guard::Readings;
use rustix::time::{ClockId, clock_gettime};

#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How long the machine has been running, without suspends: the clock that
/// decisions are checked by. It is behind by one tick of the kernel's timer at
/// most, some milliseconds, and takes a third of the time of an exact one.
pub(crate) fn ticks() -> Duration {
    clock_gettime(ClockId::MonotonicCoarse)
        .try_into()
        .unwrap_or_default()
}

/// All clocks of the machine. Nothing is kept over a start of the process, so
/// which start of the machine it is does not matter.
#[expect(clippy::disallowed_methods, reason = "this is where time comes in")]
pub(crate) fn readings() -> Readings {
    Readings {
        wall: Utc::now(),
        running: BEGINNING.elapsed(),
        since_boot: clock_gettime(ClockId::Boottime)
            .try_into()
            .unwrap_or_default(),
        boot_id: None,
    }
}
