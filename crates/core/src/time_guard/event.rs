//! What the log and the vendor's support want to know about the clocks.

use chrono::TimeDelta;

/// An event of the clocks that is logged and reported to the vendor's support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// The wall clock is behind the effective time, and is ignored.
    Behind {
        /// By how much.
        by: TimeDelta,
    },
    /// The wall clock is too far ahead to be accepted now.
    Doubted {
        /// By how much.
        ahead: TimeDelta,
    },
    /// A wall clock that was in doubt has persisted long enough.
    Believed {
        /// By how much the time was advanced.
        ahead: TimeDelta,
    },
    /// The boot clock has jumped further than is accepted.
    BootClockLeapt {
        /// By how much.
        by: TimeDelta,
    },
    /// A signed response has set the time.
    Set {
        /// By how much; negative means back.
        by: TimeDelta,
    },
    /// No time was stored, and the wall clock is far ahead of what is known. It is used after one
    /// validation that does not prove another time.
    AwaitsValidation {
        /// By how much.
        ahead: TimeDelta,
    },
    /// No time was stored, and a validation has proved nothing: the wall clock is used.
    Assumed {
        /// By how much the time was advanced.
        ahead: TimeDelta,
    },
}
