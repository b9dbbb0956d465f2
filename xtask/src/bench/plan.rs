//! How much to measure.

use std::time::Duration;

use super::Bench;
use crate::stage::Profile;

/// The size of a run.
pub(super) struct Plan {
    pub(super) profile: Profile,
    pub(super) is_quick: bool,
    /// Of each measurement of requests.
    pub(super) seconds: u64,
    pub(super) rounds: u64,
    /// Of events.
    pub(super) subscribers: u32,
}

impl Plan {
    pub(super) fn of(command: &Bench) -> Self {
        let (seconds, rounds, subscribers) = match command.quick {
            true => (1, 1, 50),
            false => (5, 5, 1_000),
        };
        Self {
            profile: command.profile,
            is_quick: command.quick,
            seconds: command.seconds.unwrap_or(seconds),
            rounds: command.rounds.unwrap_or(rounds),
            subscribers: command.subscribers.unwrap_or(subscribers),
        }
    }

    #[cfg(test)]
    pub(super) fn quick() -> Self {
        Self {
            profile: Profile::Dev,
            is_quick: true,
            seconds: 1,
            rounds: 1,
            subscribers: 50,
        }
    }

    /// The first value for a quick run, otherwise the second.
    pub(super) fn sized<T>(&self, quick: T, full: T) -> T {
        match self.is_quick {
            true => quick,
            false => full,
        }
    }

    /// Seconds of one measurement of a plot, and its rounds.
    pub(super) fn growth(&self) -> (u64, u64) {
        (self.seconds.min(2), self.rounds.min(3))
    }

    /// Of so many measurements in each round.
    pub(super) fn time_of(&self, measurements: u64) -> Duration {
        Duration::from_secs(measurements * self.seconds * self.rounds)
    }

    /// Whether speed and size are those of what is shipped.
    pub(super) fn is_release(&self) -> bool {
        self.profile == Profile::Release
    }

    pub(super) fn profile_name(&self) -> &'static str {
        match self.is_release() {
            true => "release",
            false => "dev",
        }
    }
}
