//! The calls to the License Server so far, and how clock changes affect them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::schedule::calls::Calls;
use license_core::wall_clock::WallReading;

use super::{Knowledge, lock};

impl Knowledge {
    /// When the License Server was called.
    #[must_use]
    pub fn calls(&self) -> Calls {
        *lock(&self.calls)
    }

    /// Notes a call, and wakes the job that makes the next one.
    pub fn note_call(&self, note: impl FnOnce(&mut Calls)) {
        note(&mut lock(&self.calls));
        self.calls_changed.notify_one();
    }

    /// The next call may now be due at a different time, or in a different process.
    pub fn wake_calls(&self) {
        self.calls_changed.notify_one();
    }

    /// Waits until the next call may be due at a different time.
    pub async fn calls_changed(&self) {
        self.calls_changed.notified().await;
    }

    /// A signed response proves the time. Our request was sent when the process had been running
    /// for `sent`.
    pub fn prove_time(&self, signed: DateTime<Utc>, sent: Duration) {
        if self.parts.time.prove(signed, sent) {
            self.note_clock_set();
        }
    }

    /// A signed answer was imported from a file.
    pub fn answer_time(&self, signed: DateTime<Utc>) {
        if self.parts.time.answer(signed) {
            self.note_clock_set();
        }
    }

    /// A validation was attempted, with any result.
    pub fn note_validation_tried(&self) {
        if self.parts.time.validation_tried() {
            self.note_clock_set();
        }
    }

    /// A call that can confirm the license was tried, and began at `begun`.
    pub fn note_confirmation_tried(&self, begun: Option<WallReading>) {
        if self.parts.time.confirmation_tried(begun) {
            self.changed.notify_one();
        }
    }

    /// Reads the machine's clocks; returns whether there were notable events.
    pub fn observe_clocks(&self) -> bool {
        let is_notable = self.parts.time.observe();
        if is_notable {
            self.changed.notify_one();
        }
        is_notable
    }

    /// A call recorded in the future counts as made now.
    fn note_clock_set(&self) {
        let now = self.clock.now();
        self.note_call(|calls| calls.clock_set(now));
        self.changed.notify_one();
    }
}
