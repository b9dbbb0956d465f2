//! The effective time for each clock and each limit.

mod license_files;
mod marks;
mod properties;
mod restarts;
mod signed_answers;
mod starts;
mod wall_clock;
mod without_stored_time;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::time_guard::{Readings, TimeGuard};

use crate::signer::T0;

/// A machine with clocks that the test controls.
#[derive(Clone)]
struct Machine {
    wall: DateTime<Utc>,
    running: Duration,
    since_boot: Duration,
    boots: u32,
}

impl Machine {
    fn new() -> Self {
        Self {
            wall: T0,
            running: Duration::ZERO,
            since_boot: Duration::from_secs(600),
            boots: 1,
        }
    }

    fn read(&self) -> Readings {
        Readings {
            wall: self.wall,
            running: self.running,
            since_boot: self.since_boot,
            boot_id: Some(self.boots.to_string()),
        }
    }

    fn run(&mut self, by: TimeDelta) {
        self.wall += by;
        self.running += by.to_std().unwrap();
        self.since_boot += by.to_std().unwrap();
    }

    fn sleep(&mut self, by: TimeDelta) {
        self.wall += by;
        self.since_boot += by.to_std().unwrap();
    }

    /// Power off and on again, with a new process.
    fn reboot(&mut self, off: TimeDelta, up: TimeDelta) {
        self.wall += off + up;
        self.running = Duration::ZERO;
        self.since_boot = up.to_std().unwrap();
        self.boots += 1;
    }
}

fn begun(machine: &Machine) -> TimeGuard {
    TimeGuard::start(None, None, Some(T0), DateTime::UNIX_EPOCH, machine.read()).0
}

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}
