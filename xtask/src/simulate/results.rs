//! Runs the simulations, and compares their results with the targets.

use anyhow::Result;
use chrono::{DateTime, TimeDelta};

use super::call_counts::Rates;
use super::confirmation::Confirmation;
use super::fleet::{Fleet, FleetRecord, SiteRecords};
use super::license_server::Timeline;
use super::one_address::{AddressRecord, Limit, OneAddress};
use crate::program::now;

/// The peak after an outage may be this many times the steady state.
pub(super) const MAX_RATIO: f64 = 10.0;
/// The sites behind one address.
pub(super) const SITES_OF_ADDRESS: usize = 1_000;

/// The step of the plot.
const STEP: TimeDelta = TimeDelta::minutes(5);
/// Simulated time before an outage.
const BEFORE: TimeDelta = TimeDelta::hours(6);
/// Simulated time after an outage: until the sites that were confirmed together have validated
/// again.
const AFTER: TimeDelta = TimeDelta::hours(24);

/// What to simulate.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) sites: u64,
    pub(super) outages: Vec<u16>,
    pub(super) seeds: u64,
    pub(super) threads: usize,
}

/// All results, by outage and seed.
pub(super) struct Results {
    pub(super) plan: Plan,
    pub(super) window_seconds: u64,
    pub(super) fleets: Vec<FleetResult>,
    pub(super) addresses: Vec<AddressResult>,
}

/// One fleet after one outage.
pub(super) struct FleetResult {
    pub(super) outage_hours: u16,
    pub(super) seed: u64,
    pub(super) rates: Rates,
    pub(super) validations: u64,
    pub(super) heartbeats: u64,
    pub(super) sites: SiteRecords,
    /// From the end of the outage until all sites have a confirmed validation.
    pub(super) recovery: Option<TimeDelta>,
    /// Calls per second by the hours after the outage.
    pub(super) curve: Vec<(f64, f64)>,
}

/// The sites behind one address; without an outage for 0 hours.
pub(super) struct AddressResult {
    pub(super) outage_hours: u16,
    pub(super) seed: u64,
    pub(super) limited: AddressRecord,
    /// From the end of the outage until all sites have a confirmed validation.
    pub(super) recovery: Option<TimeDelta>,
    /// What would be without limits on calls.
    pub(super) unlimited: AddressRecord,
    pub(super) unlimited_recovery: Option<TimeDelta>,
}

impl Results {
    /// Runs all simulations, and reports progress on stderr.
    pub(super) fn run(plan: Plan) -> Result<Self> {
        let confirmation = Confirmation::signed_at(DateTime::UNIX_EPOCH)?;
        let (mut fleets, mut addresses) = (Vec::new(), Vec::new());
        for outage_hours in &plan.outages {
            for seed in 1..=plan.seeds {
                eprint!(
                    "── {} sites, outage of {outage_hours} h, seed {seed}",
                    plan.sites
                );
                let start = now();
                fleets.push(plan.fleet(&confirmation, *outage_hours, seed)?);
                eprintln!(": {:.0} s", start.elapsed().as_secs_f64());
            }
        }
        eprintln!("── {SITES_OF_ADDRESS} sites behind one address");
        for outage_hours in [0].iter().chain(&plan.outages) {
            for seed in 1..=plan.seeds {
                addresses.push(plan.address(&confirmation, *outage_hours, seed));
            }
        }
        Ok(Self {
            window_seconds: Fleet::window_seconds(plan.sites),
            plan,
            fleets,
            addresses,
        })
    }

    /// The targets that were missed; each says what happened.
    pub(super) fn missed_targets(&self) -> Vec<String> {
        let fleets = self.fleets.iter().filter_map(FleetResult::missed_target);
        let addresses = self
            .addresses
            .iter()
            .filter_map(AddressResult::missed_target);
        fleets.chain(addresses).collect()
    }
}

impl Plan {
    fn timeline(outage_hours: u16) -> Timeline {
        Timeline::new(BEFORE, TimeDelta::hours(outage_hours.into()), AFTER)
    }

    fn fleet(
        &self,
        confirmation: &Confirmation,
        outage_hours: u16,
        seed: u64,
    ) -> Result<FleetResult> {
        let timeline = Self::timeline(outage_hours);
        let fleet = Fleet {
            sites: self.sites,
            seed,
            timeline,
        };
        let FleetRecord {
            calls,
            validations,
            heartbeats,
            sites,
        } = fleet.run(confirmation, self.threads)?;
        Ok(FleetResult {
            outage_hours,
            seed,
            rates: calls.rates(),
            validations,
            heartbeats,
            sites,
            recovery: sites.recovered_at.map(|at| at - timeline.outage_end),
            curve: calls.curve(STEP),
        })
    }

    fn address(&self, confirmation: &Confirmation, outage_hours: u16, seed: u64) -> AddressResult {
        let timeline = Self::timeline(outage_hours);
        let run = |limit| {
            let address = OneAddress {
                sites: SITES_OF_ADDRESS,
                seed,
                timeline,
                limit,
            };
            address.run(confirmation)
        };
        let recovery = |record: &AddressRecord| {
            let at = record.sites.recovered_at;
            at.map(|at| at - timeline.outage_end)
        };
        let (limited, unlimited) = (run(Limit::EachSeat), run(Limit::None));
        AddressResult {
            outage_hours,
            seed,
            recovery: recovery(&limited),
            unlimited_recovery: recovery(&unlimited),
            limited,
            unlimited,
        }
    }
}

impl FleetResult {
    fn missed_target(&self) -> Option<String> {
        let ratio = self.rates.ratio();
        // A ratio that is no number is missed, too.
        let is_met = ratio <= MAX_RATIO;
        (!is_met).then(|| {
            format!(
                "outage of {} h, seed {}: the peak after the outage is {:.1} calls/s, {ratio:.1} \
                 times the steady state of {:.1}; the maximum is {MAX_RATIO:.0} times",
                self.outage_hours, self.seed, self.rates.peak_after, self.rates.steady
            )
        })
    }
}

impl AddressResult {
    fn missed_target(&self) -> Option<String> {
        let lost = |record: &AddressRecord| record.sites.lapsed + record.sites.unconfirmed;
        let (with, without) = (lost(&self.limited), lost(&self.unlimited));
        (with > without).then(|| {
            format!(
                "{SITES_OF_ADDRESS} sites behind one address, outage of {} h, seed {}: {with} \
                 sites lapsed or were not confirmed, {without} without limits on calls",
                self.outage_hours, self.seed
            )
        })
    }
}

#[cfg(test)]
mod tests;
