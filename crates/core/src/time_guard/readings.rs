//! What the clocks of a machine show at one moment.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The clocks of a machine, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The wall clock: anybody may set it.
    pub wall: DateTime<Utc>,
    /// How long this process has been running. It does not count suspends.
    pub running: Duration,
    /// How long ago the machine was started (`CLOCK_BOOTTIME`), with suspends.
    pub since_boot: Duration,
    /// Which start of the machine that was; `None` if unknown.
    pub boot_id: Option<String>,
}
