//! Decides whether a License Server can trust its wall clock enough to sign.
//!
//! A lease that is signed while the clock shows 2038 ends in 2038. A server therefore signs
//! only while its wall clock agrees with everything else that it knows about the time: the
//! database's clock, earlier signatures, and the clock that counts since boot.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Maximum difference between the wall clock and the database's clock.
pub const MAX_DATABASE_SKEW: TimeDelta = TimeDelta::minutes(10);
/// How far the wall clock may be ahead of the newest recorded instant when the server
/// starts.
pub const MAX_START_LEAD: TimeDelta = TimeDelta::hours(24);
/// How far the wall clock may be behind the newest recorded instant.
pub const MAX_BEHIND: TimeDelta = TimeDelta::minutes(10);
/// How far the wall clock may run ahead of the boot clock.
pub const MAX_JUMP: TimeDelta = TimeDelta::minutes(10);
/// The part of the running time that the wall clock may gain on the boot clock: a virtual
/// machine that is paused for backups loses a few seconds each time.
const DRIFT_DIVISOR: u32 = 100;

/// The clocks of a server at one instant. The boot clock is read first: if the machine is
/// suspended in between, the wall clock appears to be ahead for one reading, and never
/// behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: DateTime<Utc>,
    /// The time since boot.
    pub since_boot: Duration,
}

/// What a server knows about its clock. All instants are converted to the time that the
/// wall clock showed, or should have shown, at boot, so that they can be compared with
/// later readings.
#[derive(Clone, Debug)]
pub struct ClockWatch {
    /// The lowest observation of the wall clock. `None` until the first reading without
    /// doubt, if the clock was behind at startup.
    steady: Option<DateTime<Utc>>,
    /// The latest reading, to compute the allowed drift.
    observed: Duration,
    /// The newest recorded instant at startup.
    recorded: Option<Recorded>,
    /// By the database's clock.
    database: Option<DateTime<Utc>>,
}

/// An instant at which a server trusted its clock.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    at: DateTime<Utc>,
    /// What the wall clock would have shown at boot, assuming that no time has passed since.
    at_boot: DateTime<Utc>,
}

/// Why a server does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockDoubt {
    /// The database's clock shows a different time.
    #[error("the clock is {} the database's clock; correct the clock that is wrong", distance(*ahead))]
    Database {
        /// How far the wall clock is ahead; negative if it is behind.
        ahead: TimeDelta,
    },
    /// The clock has advanced by more than a day since the server last ran.
    #[error(
        "the clock is {} the newest recorded time {recorded}; if the clock is correct, run \
         'license-server clock accept'",
        distance(*ahead)
    )]
    Recorded {
        /// The newest recorded instant.
        recorded: DateTime<Utc>,
        /// How far the wall clock is ahead of the expected range.
        ahead: TimeDelta,
    },
    /// The clock shows a time before one at which a server has already run.
    #[error(
        "the clock is {} behind the newest recorded time {recorded}; if the clock is wrong, \
         correct it; if it is correct, run 'license-server clock accept'",
        span(*by)
    )]
    Behind {
        /// The newest recorded instant.
        recorded: DateTime<Utc>,
        /// How far the wall clock is behind it, at least.
        by: TimeDelta,
    },
    /// The clock was set forward while the server was running.
    #[error(
        "the clock was set forward by {}; if the clock is correct, run \
         'license-server clock accept'",
        span(*by)
    )]
    Jumped {
        /// By how much.
        by: TimeDelta,
    },
}

/// An instant at which a server may sign. Only [`ClockWatch::permit`] creates one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningTime(DateTime<Utc>);

impl SigningTime {
    /// The instant itself.
    #[must_use]
    pub fn instant(self) -> DateTime<Utc> {
        self.0
    }
}

impl Reading {
    /// What the wall clock would have shown at boot.
    fn at_boot(self) -> DateTime<Utc> {
        before(self.wall, self.since_boot)
    }
}

impl ClockWatch {
    /// The state at startup: the clocks, and the newest instant that any server has recorded
    /// in the database; `None` if nothing was ever signed.
    #[must_use]
    pub fn started(reading: Reading, recorded: Option<DateTime<Utc>>) -> Self {
        let recorded = recorded.map(|at| Recorded::new(at, reading));
        let is_behind = recorded.is_some_and(|it| it.ahead(reading) < -MAX_BEHIND);
        Self {
            steady: Some(reading.at_boot()).filter(|_| !is_behind),
            observed: reading.since_boot,
            recorded,
            database: None,
        }
    }

    /// Records how far the wall clock is ahead of the database's clock, which was read at the
    /// same time.
    pub fn compare(&mut self, reading: Reading, ahead: TimeDelta) {
        // Correcting a clock that was behind at startup is not a jump.
        if self.database.is_none() && ahead < -MAX_DATABASE_SKEW {
            self.steady = None;
        }
        self.database = Some(minus(reading.at_boot(), ahead));
    }

    /// Records that a person has confirmed the clock when it showed `accepted`, shortly before
    /// `reading`. Returns whether this was the clock in question: a server whose clock shows
    /// another time stays in doubt.
    pub fn accept(&mut self, reading: Reading, accepted: DateTime<Utc>) -> bool {
        let is_meant = (reading.wall - accepted).abs() <= MAX_JUMP;
        if is_meant {
            self.steady = Some(reading.at_boot());
            self.observed = reading.since_boot;
            self.recorded = Some(Recorded::new(accepted, reading));
        }
        is_meant
    }

    /// Whether to sign at `at`, which was read from the wall clock shortly before
    /// `reading`.
    ///
    /// # Errors
    /// The first [`ClockDoubt`] that applies. It clears automatically when the clock is
    /// corrected.
    pub fn permit(
        &mut self,
        reading: Reading,
        at: DateTime<Utc>,
    ) -> Result<SigningTime, ClockDoubt> {
        let at_boot = reading.at_boot();
        if let Some(database) = self.database {
            let ahead = at_boot - database;
            if ahead.abs() > MAX_DATABASE_SKEW {
                return Err(ClockDoubt::Database { ahead });
            }
        }
        if let Some(recorded) = self.recorded {
            let ahead = recorded.ahead(reading);
            let recorded = recorded.at;
            if ahead > MAX_START_LEAD {
                return Err(ClockDoubt::Recorded { recorded, ahead });
            }
            if ahead < -MAX_BEHIND {
                let by = -ahead;
                return Err(ClockDoubt::Behind { recorded, by });
            }
        }
        // A wall clock that is known to be wrong is not a reference for later readings.
        let steady = self.advance(reading);
        // The clock may have been set while the document was created.
        let by = (at_boot - steady).max((at - reading.wall).abs());
        if by > MAX_JUMP {
            return Err(ClockDoubt::Jumped { by });
        }
        Ok(SigningTime(at))
    }

    /// Records a reading without doubt; returns the earliest time that the wall clock should
    /// have shown at boot, never before the recorded instants and the database's clock.
    fn advance(&mut self, reading: Reading) -> DateTime<Utc> {
        let passed = reading.since_boot.saturating_sub(self.observed);
        self.observed = reading.since_boot.max(self.observed);
        let drift = delta(passed / DRIFT_DIVISOR);
        let known = self.recorded.map(|it| it.at_boot).max(self.database);
        let shown = Some(reading.at_boot()).max(known);
        let drifted = self.steady.map(|steady| minus(steady, -drift));
        let steady = [shown, drifted].into_iter().flatten().min();
        let steady = steady.unwrap_or_else(|| reading.at_boot());
        self.steady = Some(steady);
        steady
    }
}

impl Recorded {
    fn new(at: DateTime<Utc>, reading: Reading) -> Self {
        Self {
            at,
            at_boot: before(at, reading.since_boot),
        }
    }

    /// How far the wall clock is ahead of it, without the time that has passed since.
    fn ahead(self, reading: Reading) -> TimeDelta {
        reading.at_boot() - self.at_boot
    }
}

fn before(instant: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    minus(instant, delta(span))
}

fn minus(instant: DateTime<Utc>, span: TimeDelta) -> DateTime<Utc> {
    instant.checked_sub_signed(span).unwrap_or(instant)
}

fn delta(span: Duration) -> TimeDelta {
    TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX)
}

/// "3 h 20 min ahead of", in whole minutes.
fn distance(ahead: TimeDelta) -> String {
    let side = if ahead < TimeDelta::zero() {
        "behind"
    } else {
        "ahead of"
    };
    format!("{} {side}", span(ahead.abs()))
}

fn span(span: TimeDelta) -> String {
    let (days, hours, minutes) = (
        span.num_days(),
        span.num_hours() % 24,
        span.num_minutes() % 60,
    );
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
