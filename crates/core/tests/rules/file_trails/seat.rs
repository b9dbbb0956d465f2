//! A seat, and machines that write and read files.

use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use license_core::restored::next_number;
use license_core::suspicion::{Report, Suspicion, Trail};

use crate::signer::T0;

/// A License Server's side of one seat that is held.
pub(super) struct Seat {
    pub(super) trail: Trail,
    pub(super) at: DateTime<Utc>,
    pub(super) shared: u32,
    /// The greatest end of a lease.
    lease_end: Option<DateTime<Utc>>,
}

impl Seat {
    pub(super) fn new() -> Self {
        let trail = Trail {
            installation_id: "a".into(),
            ..Trail::default()
        };
        Self {
            trail,
            at: T0,
            shared: 0,
            lease_end: None,
        }
    }

    pub(super) fn pass(&mut self, span: TimeDelta) {
        self.at += span;
    }

    pub(super) fn call(&mut self, machine: &Machine) -> u64 {
        let report = Report {
            newest_seq: machine.known,
            is_activation: !machine.is_active,
            asks_for_lease: true,
            ..self.report()
        };
        self.follow(&report);
        self.trail.note_answer(&report, self.trail.issued);
        self.lease_end = self.lease_end.max(Some(self.at + ONLINE_LEASE));
        self.trail.issued
    }

    pub(super) fn heartbeat(&mut self, machine: &Machine) {
        self.follow(&Report {
            newest_seq: machine.known,
            ..self.report()
        });
    }

    pub(super) fn write(&self, machine: &Machine) -> Request {
        Request {
            newest_seq: machine.known,
            is_activation: !machine.is_active,
            written_at: self.at,
            nonce: nonce(),
        }
    }

    pub(super) fn sign(&mut self, request: &Request) -> u64 {
        let has_lease = self.trail.issued > 0;
        let nonce = request.nonce.to_string();
        let report = Report {
            newest_seq: request.newest_seq,
            is_activation: request.is_activation,
            written_at: Some(request.written_at),
            has_running_lease: has_lease,
            asks_for_lease: true,
            nonce: &nonce,
            ..self.report()
        };
        self.follow(&report);
        let seq = self.trail.issued;
        let exp = self.at + LEASE;
        self.lease_end = self.lease_end.max(Some(exp));
        let found = self.trail.note_file(&report, seq, exp);
        self.shared += u32::from(found.is_some());
        seq
    }

    /// By file, immediately.
    pub(super) fn renew(&mut self, machine: &mut Machine) {
        let request = self.write(machine);
        machine.takes(self.sign(&request));
    }

    fn report(&self) -> Report<'static> {
        Report {
            installation_id: "a",
            longest_lease: ONLINE_LEASE,
            lease_end: self.lease_end,
            at: self.at,
            ..Report::default()
        }
    }

    fn follow(&mut self, report: &Report<'_>) {
        // Through JSON, as it is stored.
        let files = serde_json::to_string(&self.trail.files).unwrap();
        self.trail.files = serde_json::from_str(&files).unwrap();
        let (trail, found) = self.trail.followed(report);
        self.trail = trail;
        assert!(found.iter().all(|it| *it == Suspicion::SharedIdentity));
        self.shared += u32::try_from(found.len()).unwrap();
        self.trail.issued = next_number(self.trail.issued, None, self.at);
    }
}

/// A site, or a copy with the same ids.
#[derive(Clone, Default)]
pub(super) struct Machine {
    pub(super) known: Option<u64>,
    pub(super) is_active: bool,
}

impl Machine {
    pub(super) fn takes(&mut self, answer: u64) {
        self.known = self.known.max(Some(answer));
        self.is_active = true;
    }
}

/// A request file.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) newest_seq: Option<u64>,
    pub(super) is_activation: bool,
    pub(super) written_at: DateTime<Utc>,
    pub(super) nonce: u32,
}

/// Each request has its own nonce.
pub(super) fn nonce() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A lease over the network with its grace.
const ONLINE_LEASE: TimeDelta = TimeDelta::hours(96);
/// A lease by file with its grace.
pub(super) const LEASE: TimeDelta = TimeDelta::days(93);

/// A day of a site with internet.
pub(super) fn day(seat: &mut Seat, site: &mut Machine) {
    site.takes(seat.call(site));
    for _ in 0..5 {
        seat.pass(TimeDelta::hours(4));
        seat.heartbeat(site);
    }
    seat.pass(TimeDelta::hours(4));
}

pub(super) fn online_for(days: usize) -> (Seat, Machine) {
    let (mut seat, mut site) = (Seat::new(), Machine::default());
    for _ in 0..days {
        day(&mut seat, &mut site);
    }
    assert_eq!(seat.shared, 0);
    (seat, site)
}
