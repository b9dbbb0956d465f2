//! Many sites behind one address, against the limits on calls.
//!
//! The sites call in the order of time, and each call counts against the allowance that the License
//! Server would use.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, Utc};
use license_core::rate::{Rate, SEAT_RATE};

use super::call_counts::CallCounts;
use super::confirmation::Confirmation;
use super::fleet::SiteRecords;
use super::license_server::{Allowance, START, Timeline};
use super::random::Random;
use super::site::Site;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct OneAddress {
    pub(super) sites: usize,
    pub(super) seed: u64,
    pub(super) timeline: Timeline,
    pub(super) limit: Limit,
}

/// Which calls share an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// Those of one seat, as in the License Server.
    EachSeat,
    /// Every call is allowed, to see what the limits change.
    None,
    /// Those of the address, to see that a wrong limit is noticed.
    #[cfg(test)]
    WholeAddress,
}

/// What happened to the sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AddressRecord {
    /// Counted by the second.
    pub(super) calls: CallCounts,
    pub(super) sites: SiteRecords,
    /// The largest number of calls that were missing from an allowance.
    pub(super) most_used: u32,
}

impl OneAddress {
    pub(super) fn run(&self, confirmation: &Confirmation) -> AddressRecord {
        let mut sites: Vec<Site> = (0..self.sites)
            .map(|site| Site::new(confirmation, Random::of_site(self.seed, site as u64)))
            .collect();
        let mut allowances = self.allowances();
        let mut calls = CallCounts::new(&self.timeline, 1);
        let next_calls = sites.iter().map(|site| site.next_call(START)).zip(0..);
        let mut next_calls: BinaryHeap<Reverse<(DateTime<Utc>, usize)>> =
            next_calls.map(Reverse).collect();
        while let Some(Reverse((now, number))) = next_calls.pop() {
            if now >= self.timeline.end {
                break;
            }
            let shared_by = self.sites.div_ceil(allowances.len());
            let allowance = &mut allowances[number / shared_by];
            sites[number].call_what_is_due(now, |_| {
                calls.add(now);
                self.timeline.respond(allowance, now)
            });
            next_calls.push(Reverse((sites[number].next_call(now), number)));
        }
        let mut records = SiteRecords::default();
        for site in sites {
            records.add(&site.finish(self.timeline.end));
        }
        let most_used = allowances.iter().map(|allowance| allowance.most_used).max();
        AddressRecord {
            calls,
            sites: records,
            most_used: most_used.unwrap_or_default(),
        }
    }

    fn allowances(&self) -> Vec<Allowance> {
        let all = |rate: Option<Rate>| vec![Allowance::full(rate); self.sites];
        match self.limit {
            Limit::EachSeat => all(Some(SEAT_RATE)),
            Limit::None => all(None),
            #[cfg(test)]
            Limit::WholeAddress => vec![Allowance::full(Some(SEAT_RATE))],
        }
    }
}

#[cfg(test)]
mod tests;
