//! The time for deadlines when no keys are trusted.
//!
//! It is the wall clock, except after a jump: the rules are in
//! `license_core::wall_clock`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::evidence::Evidence;
use license_core::standing::Policy;
use license_core::wall_clock::{TOLERANCE, WallClock, WallReading};
use license_service::clock::{Clock, MachineClocks, Wait};
use tokio::sync::Notify;

use super::sleep_until;

/// The wall clock, whose jumps take effect only after an attempted validation.
pub(super) struct UnsignedClock {
    machine: Arc<dyn Clock>,
    wall: ArcSwap<WallClock>,
    /// Held while the clock is replaced.
    turn: Mutex<()>,
    /// Notified when a jump takes effect.
    was_set: Notify,
    /// The time until which an earlier process ran, according to the local copy.
    ran_until: Mutex<Option<DateTime<Utc>>>,
}

impl UnsignedClock {
    /// Starts with the wall clock's time.
    pub(super) fn start(machine: Arc<dyn Clock>) -> Self {
        let wall = WallClock::start(reading(&*machine));
        Self {
            machine,
            wall: ArcSwap::from_pointee(wall),
            turn: Mutex::new(()),
            was_set: Notify::new(),
            ran_until: Mutex::new(None),
        }
    }

    /// The current readings of the machine's clocks.
    pub(super) fn reading(&self) -> WallReading {
        reading(&*self.machine)
    }

    /// By how much the wall clock has jumped ahead of the time in effect; `None` if the wall clock
    /// is in effect.
    pub(super) fn ahead(&self) -> Option<TimeDelta> {
        self.wall.load().ahead(self.reading())
    }

    /// Reads the wall clock; returns by how much it has jumped ahead.
    pub(super) fn observe(&self) -> Option<TimeDelta> {
        let reading = self.reading();
        self.replace(|wall| wall.observed(reading));
        self.wall.load().ahead(reading)
    }

    /// The time that will be in effect after an attempted call that began at `begun`.
    pub(super) fn now_when_tried(&self, begun: WallReading) -> DateTime<Utc> {
        self.wall.load().tried(begun).now(self.reading())
    }

    /// A call that can confirm the license was attempted, and began at `begun`. Returns by how much
    /// that has set the time.
    pub(super) fn tried(&self, begun: WallReading) -> Option<TimeDelta> {
        let before = self.now();
        self.replace(|wall| wall.tried(begun));
        self.was_set.notify_waiters();
        let set = self.now() - before;
        Some(set).filter(|set| *set > TOLERANCE)
    }

    /// Restores the time until which an earlier process ran.
    pub(super) fn note_ran_until(&self, instant: Option<DateTime<Utc>>) {
        *self
            .ran_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = instant;
    }

    /// Restores the evidence of an earlier run.
    pub(super) fn restore(&self, evidence: &Evidence, policy: &Policy) {
        let reading = self.reading();
        let ran_until = *self
            .ran_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.replace(|wall| wall.recalled(evidence, ran_until, policy, reading));
    }

    fn replace(&self, next: impl FnOnce(WallClock) -> WallClock) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let wall = next(**self.wall.load());
        self.wall.store(Arc::new(wall));
    }
}

impl Clock for UnsignedClock {
    fn now(&self) -> DateTime<Utc> {
        self.wall.load().now(self.reading()).trunc_subsecs(6)
    }

    fn running(&self) -> Duration {
        self.machine.running()
    }

    fn machine(&self) -> MachineClocks {
        self.machine.machine()
    }

    fn ahead_of(&self, other: DateTime<Utc>) -> TimeDelta {
        self.machine.ahead_of(other)
    }

    fn sleep_until(&self, instant: DateTime<Utc>) -> Wait<'_> {
        Box::pin(sleep_until(self, &self.was_set, instant))
    }

    fn sleep(&self, duration: Duration) -> Wait<'_> {
        self.machine.sleep(duration)
    }

    fn floor(&self) -> DateTime<Utc> {
        self.machine.floor()
    }
}

fn reading(machine: &dyn Clock) -> WallReading {
    let (running, wall) = machine.running_and_now();
    WallReading { running, wall }
}
