//! What looks like a copy, and what only looks like one.

mod copies;
mod installations;
mod numbers;
mod single_machines;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::suspicion::{Report, Suspicion, Trail};

use crate::signer::T0;

const SHARED: &[Suspicion] = &[Suspicion::SharedIdentity];

/// A License Server's side of one seat.
struct Seat {
    trail: Trail,
    at: DateTime<Utc>,
    found: Vec<Suspicion>,
}

impl Seat {
    fn new() -> Self {
        let trail = Trail {
            issued: 100,
            answered: 100,
            installation_id: "a".into(),
            ..Trail::default()
        };
        Self {
            trail,
            at: T0,
            found: Vec::new(),
        }
    }

    /// A validation by a site that knows `seq`; returns the new number.
    fn validate(&mut self, seq: u64, installation_id: &str) -> u64 {
        self.call(Some(seq), installation_id, false)
    }

    /// A validation or activation by a site that may omit its number.
    fn call(&mut self, newest_seq: Option<u64>, installation_id: &str, is_activation: bool) -> u64 {
        let report = Report {
            newest_seq,
            is_activation,
            installation_id,
            at: self.at,
            longest_lease: TimeDelta::hours(96),
            ..Report::default()
        };
        let (trail, found) = self.trail.followed(&report);
        self.trail = trail;
        self.found.extend(found);
        self.trail.issued += 1;
        self.trail.answered = self.trail.issued;
        self.trail.issued
    }
}

impl Seat {
    /// A heartbeat whose answer the site does not store.
    fn heartbeat(&mut self, seq: u64, installation_id: &str) {
        let answered = self.trail.answered;
        self.call(Some(seq), installation_id, false);
        self.trail.answered = answered;
    }
}
