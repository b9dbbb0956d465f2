//! Amendments in words, for people.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, Change, Terms};
use license_core::entitlement::{Entitlement, Quantity};
use sea_orm::ConnectionTrait;

use crate::store::{StoreError, customers};

/// The names of customers, by their ids.
pub type CustomerNames = BTreeMap<String, String>;

/// The present names of the customers that amendments are about.
///
/// # Errors
/// If the database returns an error.
pub async fn customer_names(
    db: &impl ConnectionTrait,
    amendments: &[Amendment],
) -> Result<CustomerNames, StoreError> {
    let changes = amendments.iter().flat_map(|it| &it.changes);
    let ids = changes.filter_map(|change| match change {
        Change::Customer(id) if !id.is_empty() => Some(id.clone()),
        _ => None,
    });
    customers::names(db, ids.collect()).await
}

/// What an amendment does, one statement for each change.
#[must_use]
pub fn words(amendment: &Amendment, names: &CustomerNames) -> Vec<String> {
    let undone = amendment
        .undoes
        .map(|number| format!("amendment {number} undone"));
    let changes = amendment.changes.iter().map(|it| change(it, names));
    undone.into_iter().chain(changes).collect()
}

fn change(change: &Change, names: &CustomerNames) -> String {
    match change {
        Change::Grant(entitlement) => grant(entitlement),
        Change::End { key } => format!("{} ended", key.as_str()),
        Change::Plan(plan) => format!("plan {plan}"),
        Change::Customer(id) => format!("customer '{}'", names.get(id).unwrap_or(id)),
        Change::Start(None) => "started".to_owned(),
        Change::Start(Some(at)) => format!("starts {}", time(*at)),
        Change::Expiry(None) => "never expires".to_owned(),
        Change::Expiry(Some(at)) => format!("expires {}", time(*at)),
        Change::Lasts(duration) => format!("lasts {duration} from its first activation"),
        Change::Terms(terms) => self::terms(terms),
    }
}

/// All terms, without those that are the server's own defaults.
fn terms(terms: &Terms) -> String {
    let always = format!(
        "seats {}, moves {} in {} days",
        terms.seats, terms.moves, terms.moves_period_days
    );
    let others = [
        terms.lease_hours.map(|it| format!("lease {it} hours")),
        terms
            .grace_hours
            .map(|it| format!("grace period {it} hours")),
        terms.offline_days.map(|it| format!("offline {it} days")),
        terms.updates_until.map(|it| {
            let rule = terms.updates.as_str();
            format!("updates until {} ({rule})", time(it))
        }),
    ];
    let all = std::iter::once(always).chain(others.into_iter().flatten());
    all.collect::<Vec<_>>().join(", ")
}

fn grant(entitlement: &Entitlement) -> String {
    let key = entitlement.key.as_str();
    let mut text = match entitlement.quantity {
        None => format!("{key} added"),
        Some(Quantity::Of(number)) => format!("{number} {key} added"),
        Some(Quantity::Unlimited) => format!("unlimited {key} added"),
    };
    if let Some(from) = entitlement.period.from {
        text = format!("{text} from {}", time(from));
    }
    if let Some(until) = entitlement.period.until {
        text = format!("{text} until {}", time(until));
    }
    text
}

/// To the second, because amendments take effect to the second.
fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
