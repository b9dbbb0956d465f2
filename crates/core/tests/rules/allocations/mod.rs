//! Allocations: what is signed and has not ended never exceeds the license, and no seat loses what
//! its documents hold.

mod grants;
mod holdings;
mod properties;
mod releases;
mod reservations;
mod totals;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::allocation::{Claim, Holding, Pool, Staircase, Totals};
use license_core::entitlement::{Entitlement, Granted, Period, Quantity};
use license_core::feature::FeatureKey;

fn at(hours: i64) -> DateTime<Utc> {
    "2026-11-24T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::hours(hours)
}

/// The last second of each step in hours, and its amount.
fn staircase(steps: &[(i64, u64)]) -> Staircase {
    let steps = steps.iter().map(|(until, amount)| (at(*until), *amount));
    let steps = steps.map(|(until, amount)| Staircase::level(amount, until));
    steps.fold(Staircase::default(), |all, step| all.joined(&step))
}

fn cameras(quantity: Quantity, from: Option<i64>, until: Option<i64>) -> Entitlement {
    Entitlement {
        key: FeatureKey::parse("cameras").unwrap(),
        quantity: Some(quantity),
        period: Period {
            from: from.map(at),
            until: until.map(at),
        },
    }
}

/// The totals from hour 0 on.
fn totals(entitlements: impl IntoIterator<Item = Entitlement>) -> Totals {
    let sold = [(at(0), Granted::of(entitlements))];
    Totals::of(&sold, "cameras", at(0), DateTime::<Utc>::MAX_UTC)
}

fn always(total: u64) -> Totals {
    totals([cameras(Quantity::Of(total), None, None)])
}

/// A seat whose only document carries this.
fn holding(steps: &[(i64, u64)]) -> Holding {
    let unlimited = totals([cameras(Quantity::Unlimited, None, None)]);
    Holding::default().with(&staircase(steps), &unlimited, at(-1_000))
}

fn pool<'a>(totals: &'a Totals, others: &'a [Holding]) -> Pool<'a> {
    Pool::new(totals, others.iter().map(Claim::from), at(0))
}
