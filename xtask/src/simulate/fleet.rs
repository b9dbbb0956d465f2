//! A fleet: each site has its own seat, so the sites do not affect each other, and are simulated
//! one after the other. Memory does not depend on their number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use license_core::protocol::Call;
use license_core::rate::SEAT_RATE;

use super::call_counts::CallCounts;
use super::confirmation::{Confirmation, GRACE};
use super::license_server::{Allowance, START, Timeline};
use super::random::Random;
use super::site::{Record, Site};

/// Sites that a thread simulates before it adds up what it counted.
const CHUNK: u64 = 1_000;
/// The number of sites whose calls are counted by the second.
const COUNTED_BY_SECOND: u64 = 1_000_000;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fleet {
    pub(super) sites: u64,
    pub(super) seed: u64,
    pub(super) timeline: Timeline,
}

/// What the License Server saw of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FleetRecord {
    pub(super) calls: CallCounts,
    pub(super) validations: u64,
    pub(super) heartbeats: u64,
    pub(super) sites: SiteRecords,
}

/// What happened to several sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SiteRecords {
    pub(super) told_to_wait: u64,
    /// Sites that were in a grace period.
    pub(super) in_grace: u64,
    /// Sites with less than a quarter of their grace period left, lapsed ones included.
    pub(super) near_lapse: u64,
    pub(super) lapsed: u64,
    /// Sites whose newest validation was not confirmed at the end of the simulation.
    pub(super) unconfirmed: u64,
    /// When the last site had a confirmed validation again.
    pub(super) recovered_at: Option<DateTime<Utc>>,
    /// The least that a site had left of its grace period.
    pub(super) grace_left: Option<TimeDelta>,
}

impl SiteRecords {
    pub(super) fn add(&mut self, record: &Record) {
        let is_near = |left: TimeDelta| left < GRACE / 4;
        self.told_to_wait += record.told_to_wait;
        self.in_grace += u64::from(record.grace_left.is_some());
        self.near_lapse += u64::from(record.grace_left.is_some_and(is_near));
        self.lapsed += u64::from(record.has_lapsed());
        self.unconfirmed += u64::from(record.is_unconfirmed);
        self.add_extremes(record.recovered_at, record.grace_left);
    }

    fn merge(&mut self, other: &Self) {
        self.told_to_wait += other.told_to_wait;
        self.in_grace += other.in_grace;
        self.near_lapse += other.near_lapse;
        self.lapsed += other.lapsed;
        self.unconfirmed += other.unconfirmed;
        self.add_extremes(other.recovered_at, other.grace_left);
    }

    fn add_extremes(&mut self, recovered_at: Option<DateTime<Utc>>, left: Option<TimeDelta>) {
        self.recovered_at = self.recovered_at.max(recovered_at);
        self.grace_left = self.grace_left.into_iter().chain(left).min();
    }
}

impl Fleet {
    /// Simulates the fleet with this many threads, whose number does not affect the result.
    pub(super) fn run(&self, confirmation: &Confirmation, threads: usize) -> Result<FleetRecord> {
        let (next, total) = (AtomicU64::new(0), Mutex::new(self.nothing()));
        let work = || {
            loop {
                let from = next.fetch_add(CHUNK, Ordering::Relaxed);
                if from >= self.sites {
                    return;
                }
                let mut counted = self.nothing();
                for site in from..self.sites.min(from + CHUNK) {
                    self.simulate(confirmation, site, &mut counted);
                }
                if let Ok(mut total) = total.lock() {
                    total.merge(&counted);
                }
            }
        };
        let is_complete = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            // Joins every thread, even if one has panicked.
            threads
                .into_iter()
                .fold(true, |all, thread| all & thread.join().is_ok())
        });
        ensure!(is_complete, "a thread of the simulation panicked");
        Ok(total.into_inner()?)
    }

    /// The width of the windows in which calls are counted. A smaller fleet has as many calls in
    /// one of them as a million sites in a second, so that its peaks are not those of chance.
    pub(super) fn window_seconds(sites: u64) -> u64 {
        COUNTED_BY_SECOND.div_ceil(sites.max(1))
    }

    fn nothing(&self) -> FleetRecord {
        FleetRecord {
            calls: CallCounts::new(&self.timeline, Self::window_seconds(self.sites)),
            validations: 0,
            heartbeats: 0,
            sites: SiteRecords::default(),
        }
    }

    fn simulate(&self, confirmation: &Confirmation, number: u64, counted: &mut FleetRecord) {
        let mut site = Site::new(confirmation, Random::of_site(self.seed, number));
        let mut allowance = Allowance::full(Some(SEAT_RATE));
        let mut now = site.next_call(START);
        while now < self.timeline.end {
            site.call_what_is_due(now, |call| {
                counted.calls.add(now);
                match call {
                    Call::Heartbeat => counted.heartbeats += 1,
                    _ => counted.validations += 1,
                }
                self.timeline.respond(&mut allowance, now)
            });
            now = site.next_call(now);
        }
        counted.sites.add(&site.finish(self.timeline.end));
    }
}

impl FleetRecord {
    fn merge(&mut self, other: &Self) {
        self.calls.merge(&other.calls);
        self.validations += other.validations;
        self.heartbeats += other.heartbeats;
        self.sites.merge(&other.sites);
    }
}

#[cfg(test)]
mod tests;
