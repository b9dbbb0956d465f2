//! What the log and the vendor's support want to know about the clocks.

use chrono::TimeDelta;

/// Something about the clocks that the log and the vendor's support want to
/// know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The wall clock is behind the effective time. It is ignored.
    Behind {
        /// By how much.
        by: TimeDelta,
    },
    /// The wall clock is too far ahead to be believed now.
    Doubted {
        /// By how much.
        ahead: TimeDelta,
    },
    /// A wall clock that was in doubt has stood long enough.
    Believed {
        /// By how much the time has moved.
        ahead: TimeDelta,
    },
    /// The boot clock has leapt further than is believed.
    BootClockLeapt {
        /// By how much.
        by: TimeDelta,
    },
    /// A signed answer has set the time.
    Set {
        /// By how much; negative is back.
        by: TimeDelta,
    },
    /// No time was kept, and the wall clock is far ahead of what is known. It
    /// counts after one validation that proves nothing else.
    AwaitsValidation {
        /// By how much.
        ahead: TimeDelta,
    },
    /// No time was kept, and a validation has proved nothing: the wall clock
    /// counts.
    Assumed {
        /// By how much the time has moved.
        ahead: TimeDelta,
    },
}
