//! The time for deadlines when keys are trusted.
//!
//! The rules are in `license_core::time_guard`. This module supplies them with the machine's
//! clocks. Reading the time takes no lock: between two observations, only the running time of the
//! process advances it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::plausible_time::PlausibleTime;
use license_core::time_guard::{Believed, ClockEvent, Mark, Readings, TimeGuard};
use license_service::clock::{Clock, MachineClocks, Wait};
use tokio::sync::Notify;

use super::sleep_until;

/// A clock that a licensee cannot turn back.
pub struct EffectiveClock {
    machine: Arc<dyn Clock>,
    guard: ArcSwap<TimeGuard>,
    /// Held while the guard is replaced.
    turn: Mutex<()>,
    /// Notified when the time was set.
    was_set: Notify,
    /// The time that an earlier run stored elsewhere has been read, or is not needed.
    has_begun: AtomicBool,
    /// The number of signed responses that have set the time …
    answers: AtomicU64,
    /// … and the number of them that the database knows of.
    stored_answers: AtomicU64,
}

impl EffectiveClock {
    /// Starts with what an earlier run has stored in its file; returns the events to log. Without
    /// the file, time starts with [`EffectiveClock::restore`].
    pub(super) fn start(
        machine: Arc<dyn Clock>,
        kept: Option<&Believed>,
    ) -> (Self, Vec<ClockEvent>) {
        let floor = machine.floor();
        let (guard, events) = TimeGuard::start(kept, None, None, floor, readings(&*machine));
        let clock = Self {
            machine,
            guard: ArcSwap::from_pointee(guard),
            turn: Mutex::new(()),
            was_set: Notify::new(),
            has_begun: AtomicBool::new(kept.is_some()),
            answers: AtomicU64::new(0),
            stored_answers: AtomicU64::new(0),
        };
        (clock, events)
    }

    /// Reads the machine's clocks; returns notable events.
    pub(super) fn observe(&self) -> Vec<ClockEvent> {
        self.replace(TimeGuard::observed)
    }

    /// A signed response to our own request, for which we `waited`, proves the time.
    pub(super) fn prove(&self, signed: DateTime<Utc>, waited: Duration) -> Vec<ClockEvent> {
        self.set(|guard, readings| guard.proven(signed, waited, readings))
    }

    /// A signed answer was imported from a file.
    pub(super) fn answer(&self, signed: DateTime<Utc>) -> Vec<ClockEvent> {
        self.set(|guard, readings| guard.answered(signed, readings))
    }

    /// The current time for what a license grants.
    pub(super) fn plausible(&self) -> PlausibleTime {
        let now = self.guard.load().plausible(self.machine.running());
        now.moved_to(now.latest().trunc_subsecs(6))
    }

    /// The time stated in a request file when it is written.
    #[must_use]
    pub fn written_at(&self) -> DateTime<Utc> {
        self.guard.load().written_at(&readings(&*self.machine))
    }

    fn set(
        &self,
        next: impl FnOnce(&TimeGuard, Readings) -> (TimeGuard, Option<ClockEvent>),
    ) -> Vec<ClockEvent> {
        // The counter is incremented while the guard is held.
        let events = self.replace(|guard, readings| {
            self.has_begun.store(true, Ordering::SeqCst);
            self.answers.fetch_add(1, Ordering::SeqCst);
            let (guard, event) = next(guard, readings);
            (guard, event.into_iter().collect())
        });
        if !events.is_empty() {
            self.was_set.notify_waiters();
        }
        events
    }

    /// Restores a high-water mark and documents that an earlier run stored, the newest of them
    /// created at `signed`. Without a stored time, the time starts here. A signed response that
    /// came first replaces the mark.
    pub(super) fn restore(
        &self,
        mark: Option<&Mark>,
        signed: Option<DateTime<Utc>>,
    ) -> Vec<ClockEvent> {
        self.replace(|guard, readings| {
            let mark =
                mark.filter(|_| self.answers() == self.stored_answers.load(Ordering::SeqCst));
            if self.has_begun.swap(true, Ordering::SeqCst) {
                guard.recalled(mark, signed, readings)
            } else {
                TimeGuard::start(None, mark, signed, self.machine.floor(), readings)
            }
        })
    }

    /// A signed document that was created at `signed` was found: the time is no earlier than that.
    pub(super) fn learn(&self, signed: DateTime<Utc>) {
        self.replace(|guard, readings| (guard.at_least(signed, readings), Vec::new()));
    }

    /// A validation was attempted and may have proved nothing.
    pub(super) fn validation_tried(&self) -> Vec<ClockEvent> {
        let events = self.replace(TimeGuard::unanswered);
        if !events.is_empty() {
            self.was_set.notify_waiters();
        }
        events
    }

    /// Whether there is a time to store for the next run.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    /// The number of signed responses that have set the time since the start.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }

    /// The value to write to the database if it contains `stored`, and `answers` signed responses
    /// have set the time. A signed response that it does not include yet replaces any value.
    pub(super) fn mark_beside(&self, stored: Option<Mark>, answers: u64) -> Mark {
        let ours = self.guard.load().shared_mark();
        match stored {
            Some(stored) if answers == self.stored_answers.load(Ordering::SeqCst) => {
                ours.merged(stored)
            }
            _ => ours,
        }
    }

    /// The database now knows of this many responses.
    pub(super) fn note_stored(&self, answers: u64) {
        self.stored_answers.store(answers, Ordering::SeqCst);
    }

    /// What to store for the next run while this one continues.
    #[must_use]
    pub fn believed(&self) -> Believed {
        self.guard.load().believed()
    }

    /// What to store for the next run when this one stops.
    #[must_use]
    pub fn stopped(&self) -> Believed {
        self.guard.load().stopped()
    }

    /// Whether the kernel provides the boot id.
    #[must_use]
    pub fn knows_the_start(&self) -> bool {
        self.machine.machine().boot_id.is_some()
    }

    /// The current guard.
    #[must_use]
    pub fn guard(&self) -> arc_swap::Guard<Arc<TimeGuard>> {
        self.guard.load()
    }

    fn replace(
        &self,
        next: impl FnOnce(&TimeGuard, Readings) -> (TimeGuard, Vec<ClockEvent>),
    ) -> Vec<ClockEvent> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, events) = next(&self.guard.load(), readings(&*self.machine));
        self.guard.store(Arc::new(guard));
        events
    }
}

impl Clock for EffectiveClock {
    fn now(&self) -> DateTime<Utc> {
        let running = self.machine.running();
        self.guard.load().now(running).trunc_subsecs(6)
    }

    fn running(&self) -> Duration {
        self.machine.running()
    }

    fn machine(&self) -> MachineClocks {
        self.machine.machine()
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

fn readings(clock: &dyn Clock) -> Readings {
    let machine = clock.machine();
    Readings {
        running: clock.running(),
        wall: clock.now(),
        since_boot: machine.since_boot,
        boot_id: machine.boot_id,
    }
}

#[cfg(test)]
mod tests;
