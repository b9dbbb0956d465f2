//! The results for programs.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::fleet::SiteRecords;
use super::results::{AddressResult, FleetResult, MAX_RATIO, Results, SITES_OF_ADDRESS};

/// The content of `simulate.json`. Times are in seconds, rates in calls per second.
pub(super) fn json(results: &Results) -> Value {
    let fleets: Vec<Value> = results.fleets.iter().map(fleet).collect();
    let addresses: Vec<Value> = results.addresses.iter().map(address).collect();
    json!({
        "sites": results.plan.sites,
        "seeds": results.plan.seeds,
        "windowSeconds": results.window_seconds,
        "maxRatio": MAX_RATIO,
        "missedTargets": results.missed_targets(),
        "fleets": fleets,
        "oneAddress": {"sites": SITES_OF_ADDRESS, "runs": addresses},
    })
}

fn fleet(fleet: &FleetResult) -> Value {
    let rates = &fleet.rates;
    json!({
        "outageHours": fleet.outage_hours,
        "seed": fleet.seed,
        "validations": fleet.validations,
        "heartbeats": fleet.heartbeats,
        "steadyRate": rounded(rates.steady),
        "peakRateDuringOutage": rounded(rates.peak_during),
        "peakRateAfterOutage": rounded(rates.peak_after),
        "ratio": rounded(rates.ratio()),
        "surgeSeconds": seconds(rates.surge),
        "echoRate": rounded(rates.echo),
        "echoAfterSeconds": rates.echo_after.num_seconds(),
        "recoverySeconds": seconds(fleet.recovery),
        "siteRecords": sites(&fleet.sites),
    })
}

fn address(address: &AddressResult) -> Value {
    json!({
        "outageHours": address.outage_hours,
        "seed": address.seed,
        "calls": address.limited.calls.total(),
        "peakRate": rounded(address.limited.calls.peak()),
        "mostUsedOfBurst": address.limited.most_used,
        "recoverySeconds": seconds(address.recovery),
        "recoverySecondsWithoutLimits": seconds(address.unlimited_recovery),
        "siteRecords": sites(&address.limited.sites),
    })
}

fn sites(records: &SiteRecords) -> Value {
    json!({
        "toldToWait": records.told_to_wait,
        "inGrace": records.in_grace,
        "nearLapse": records.near_lapse,
        "lapsed": records.lapsed,
        "unconfirmedAtEnd": records.unconfirmed,
        "leastGraceLeftSeconds": seconds(records.grace_left),
    })
}

fn seconds(time: Option<TimeDelta>) -> Value {
    time.map_or(Value::Null, |time| json!(time.num_seconds()))
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
