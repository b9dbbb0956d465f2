//! What looks like a copy, and what only looks like one.

mod copies;
mod installations;
mod numbers;
mod single_machines;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::suspicion::{Report, Suspicion, Trail};

use crate::signer::T0;

const SHARED: &[Suspicion] = &[Suspicion::SharedIdentity];
/// A lease with its grace.
const LEASE: TimeDelta = TimeDelta::hours(96);

/// A License Server's side of one seat.
struct Seat {
    trail: Trail,
    at: DateTime<Utc>,
    /// The end of the last lease.
    lease_end: DateTime<Utc>,
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
            lease_end: T0 + LEASE,
            found: Vec::new(),
        }
    }

    /// A validation by a site that knows `seq`; returns the new number.
    fn validate(&mut self, seq: u64, installation_id: &str) -> u64 {
        self.call(Some(seq), installation_id, false)
    }

    /// A validation or activation by a site that may omit its number.
    fn call(&mut self, newest_seq: Option<u64>, installation_id: &str, is_activation: bool) -> u64 {
        self.follow(Report {
            newest_seq,
            is_activation,
            installation_id,
            asks_for_lease: true,
            ..Report::default()
        });
        self.trail.answered = self.trail.issued;
        self.lease_end = self.at + LEASE;
        self.trail.issued
    }

    /// A heartbeat whose answer the site does not store.
    fn heartbeat(&mut self, seq: u64, installation_id: &str) {
        self.follow(Report {
            newest_seq: Some(seq),
            installation_id,
            ..Report::default()
        });
    }

    fn follow(&mut self, report: Report<'_>) {
        let report = Report {
            at: self.at,
            longest_lease: report.longest_lease.max(LEASE),
            lease_end: Some(self.lease_end),
            ..report
        };
        let (trail, found) = self.trail.followed(&report);
        self.trail = trail;
        self.found.extend(found);
        self.trail.issued += 1;
    }
}
