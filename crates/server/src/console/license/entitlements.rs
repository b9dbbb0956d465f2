//! What a license grants: as a list, on a timeline, and what is scheduled.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use license_console::plot::{Lane, MAX_LANES, timeline};
use license_core::amendment::{Amendment, Change, Value, contents, effects, judged_at, undone};
use license_core::entitlement::Entitlement;
use license_core::feature::FeatureKey;

use crate::config::Terms;
use crate::console::term_words::{TermFact, term_facts};
use crate::licensing::amendment_words::Told;
use crate::licensing::day_words::{first_day, last_day};
use crate::licensing::item_words::{ItemNames, quantity_words};
use crate::store::licenses::License;

/// Maximum number of entitlements in the list.
const MAX_LISTED: usize = 200;
/// Maximum number of scheduled changes in the list.
const MAX_SCHEDULED: usize = 50;
/// The text alternative of the timeline.
const SUMMARY: &str = "Entitlements from today on; the table lists the same dates";

/// What a license grants from now on.
pub(super) struct Entitlements {
    /// The name and the version of the plan; empty if the license has none.
    pub(super) plan: (String, String),
    pub(super) rows: Vec<Row>,
    /// How many entitlements are not listed.
    pub(super) others: usize,
    /// Empty if nothing has a date.
    pub(super) timeline: String,
    pub(super) scheduled: Vec<Scheduled>,
    /// How many scheduled changes are not listed.
    pub(super) later: usize,
    pub(super) terms: Vec<TermFact>,
}

/// One entitlement.
pub(super) struct Row {
    pub(super) name: String,
    /// Empty for a feature.
    pub(super) quantity: String,
    /// Empty if it is in force.
    pub(super) from: String,
    /// Empty if it has no end of its own.
    pub(super) until: String,
}

/// What changes from an instant on.
pub(super) struct Scheduled {
    pub(super) when: String,
    pub(super) statements: Vec<String>,
}

/// What a license grants, which is up to date at `now`.
pub(super) fn entitlements(
    settings: &Terms,
    license: &License,
    told: &Told<'_>,
    now: DateTime<Utc>,
) -> Entitlements {
    let (amendments, items) = (told.amendments(), told.items());
    let now = judged_at(amendments, now);
    let mut granted = license.entitlements(amendments, now);
    granted.sort_by_cached_key(|it| (items.name(it.key.as_str()), it.period));
    let (plan, version) = license.plan.split_once('@').unwrap_or_default();
    let mut scheduled = scheduled(told, now);
    let later = scheduled.len().saturating_sub(MAX_SCHEDULED);
    scheduled.truncate(MAX_SCHEDULED);
    let others = granted.len().saturating_sub(MAX_LISTED);
    Entitlements {
        plan: (plan.to_owned(), version.to_owned()),
        timeline: drawn(&granted, items, now),
        rows: granted
            .iter()
            .take(MAX_LISTED)
            .map(|it| row(it, items))
            .collect(),
        others,
        scheduled,
        later,
        terms: term_facts(settings, &contents(amendments, now).terms, None),
    }
}

fn row(entitlement: &Entitlement, items: &ItemNames) -> Row {
    let period = entitlement.period;
    Row {
        name: items.name(entitlement.key.as_str()),
        quantity: entitlement.quantity.map(quantity_words).unwrap_or_default(),
        from: period.from.map(first_day).unwrap_or_default(),
        until: period.until.map(last_day).unwrap_or_default(),
    }
}

/// The timeline: what has dates first.
fn drawn(granted: &[Entitlement], items: &ItemNames, now: DateTime<Utc>) -> String {
    let has_dates = |it: &&Entitlement| it.period.from.is_some() || it.period.until.is_some();
    let (dated, others): (Vec<_>, Vec<_>) = granted.iter().partition(has_dates);
    if dated.is_empty() {
        return String::new();
    }
    let lanes = dated.into_iter().chain(others).take(MAX_LANES);
    let lanes = lanes.map(|it| Lane {
        name: items.entitled(it),
        from: it.period.from,
        until: it.period.until,
    });
    timeline(SUMMARY, now, &lanes.collect::<Vec<_>>())
}

/// What changes after `now`, in chronological order.
fn scheduled(told: &Told<'_>, now: DateTime<Utc>) -> Vec<Scheduled> {
    let mut by_time: BTreeMap<DateTime<Utc>, Vec<String>> = BTreeMap::new();
    let mut values: BTreeMap<FeatureKey, Value> = BTreeMap::new();
    for effect in effects(&[], told.amendments(), now) {
        for change in effect.changes {
            let before = values.insert(change.key.clone(), change.after);
            if now < effect.at {
                let statement =
                    value_words(told.items(), change.key.as_str(), before, change.after);
                by_time.entry(effect.at).or_default().push(statement);
            }
        }
    }
    let never = undone(told.amendments(), DateTime::<Utc>::MAX_UTC);
    let is_coming = |it: &&Amendment| now < it.effective_at && !never.contains(&it.number);
    let coming = told.amendments().iter().filter(is_coming);
    // What these grant and end is said already.
    let coming: Vec<Amendment> = coming.map(without_grants).collect();
    let of: Vec<&Amendment> = coming.iter().collect();
    for (amendment, others) in coming.iter().zip(told.statements(&of)) {
        let statements = by_time.entry(amendment.effective_at).or_default();
        statements.extend(others);
        statements.push(format!("amendment {} takes effect", amendment.number));
    }
    let scheduled = by_time.into_iter().map(|(at, statements)| Scheduled {
        when: first_day(at),
        statements,
    });
    scheduled.collect()
}

/// An amendment without its changes to what is granted.
fn without_grants(amendment: &Amendment) -> Amendment {
    let is_other = |change: &&Change| !matches!(change, Change::Grant(_) | Change::End { .. });
    Amendment {
        changes: amendment.changes.iter().filter(is_other).cloned().collect(),
        ..amendment.clone()
    }
}

/// The value that something gets.
pub(in crate::console) fn value_words(
    items: &ItemNames,
    key: &str,
    before: Option<Value>,
    after: Value,
) -> String {
    let name = items.name(key);
    match (before, after) {
        (_, Value::Feature(true)) => format!("{name}: on"),
        (_, Value::Feature(false)) => format!("{name}: off"),
        (Some(Value::Count(before)), Value::Count(after)) if before != after => {
            let (before, after) = (quantity_words(before), quantity_words(after));
            format!("{name}: {after} instead of {before}")
        }
        (_, Value::Count(after)) => format!("{name}: {}", quantity_words(after)),
    }
}
