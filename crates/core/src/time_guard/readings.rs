//! What the clocks of a machine show at one moment.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The clocks of a machine, read at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The wall clock, which anyone may set.
    pub wall: DateTime<Utc>,
    /// How long this process has been running, without suspends.
    pub running: Duration,
    /// The time since the machine was started (`CLOCK_BOOTTIME`), including suspends.
    pub since_boot: Duration,
    /// The boot id of the current start of the machine; `None` if unknown.
    pub boot_id: Option<String>,
}
