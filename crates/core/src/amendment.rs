//! Amendments: a license is what its amendments add up to at an instant.
//!
//! Amendments are numbered, and never changed or removed: another amendment undoes one. Each takes
//! effect when it is recorded or later, never earlier, so that what was signed before stays true.

#[cfg(test)]
mod applied_tests;
mod change;
mod check;
mod difference;
mod effect;
mod instants;
mod listed;
mod recorded;
mod steps;
mod terms;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::calendar_duration::CalendarDuration;
use crate::entitlement::{Entitlement, Granted, Period};
use crate::plausible_time::PlausibleTime;
use instants::{Instants, undone_at};

pub use change::{Change, PlanVersion};
pub use check::{
    AmendmentError, MAX_ALL_CHANGES, MAX_AMENDMENTS, MAX_CHANGES, MAX_ENTITLEMENTS, MAX_SCHEDULED,
    check, check_terms,
};
pub use effect::{Effect, Shortfall, Value, ValueChange, effects, shortfall};
pub use listed::{coming, documents, listed};
pub use recorded::{corrected, judged_at};
pub use steps::{Step, steps};
pub use terms::{
    MAX_GRACE_HOURS, MAX_LEASE_HOURS, MAX_OFFLINE_DAYS, TermChanges, Terms, UpdateRule,
};
pub use timeline::{State, contents, states};

/// The last second of the year 9999: documents carry no later one.
pub(crate) const LAST_SECOND: DateTime<Utc> = match DateTime::from_timestamp(253_402_300_799, 0) {
    Some(last) => last,
    None => DateTime::<Utc>::MAX_UTC,
};

/// A recorded change to a license.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amendment {
    /// 1 for the amendment with which the license was issued, then without gaps.
    pub number: u32,
    /// Who made it.
    pub author: String,
    /// Why, for people.
    pub reason: Option<String>,
    /// The reference of the order.
    pub order: Option<String>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// When it takes effect.
    pub effective_at: DateTime<Utc>,
    /// The number of the amendment that it undoes from then on.
    pub undoes: Option<u32>,
    /// What it changes, in this order.
    pub changes: Vec<Change>,
}

/// What a license consists of at an instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The plan and its version.
    pub plan: Option<PlanVersion>,
    /// Which change set the plan.
    pub plan_set_by: Option<Origin>,
    /// The id of the customer.
    pub customer: String,
    /// The first instant at which anything is in force; `None` if it has no start.
    pub starts_at: Option<DateTime<Utc>>,
    /// The last instant at which the license may be used; `None` if it never ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// How long it may be used from its first activation on; `None` if it was activated, or its end
    /// does not depend on that.
    pub lasts: Option<CalendarDuration>,
    /// Its terms.
    pub terms: Terms,
    /// What is granted, with the amendment and the change that granted it.
    pub granted: BTreeMap<Origin, Entitlement>,
}

/// Which change granted an entitlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The number of the amendment.
    pub amendment: u32,
    /// The place among its changes, from 0.
    pub change: usize,
}

/// The numbers of the amendments that are undone at `at`. One that undoes an amendment may be
/// undone itself, which restores the first.
#[must_use]
pub fn undone(amendments: &[Amendment], at: DateTime<Utc>) -> BTreeSet<u32> {
    let amendments: Vec<&Amendment> = amendments.iter().collect();
    let undone = undone_at(&amendments, &[at]).into_iter();
    let undone = undone.filter(|(_, at)| !at.is_empty());
    undone.map(|(number, _)| number).collect()
}

/// Whether an amendment is undone from `at` on for good, without an instant at which it is restored.
#[must_use]
pub fn is_undone_from(amendments: &[Amendment], number: u32, at: DateTime<Utc>) -> bool {
    let all: Vec<&Amendment> = amendments.iter().collect();
    let instants = instants_from(&all, at);
    let undone = undone_at(&all, &instants);
    let always = Instants::from_place(0, instants.len());
    undone.get(&number).is_some_and(|it| it.include(&always))
}

/// `at`, and each later instant at which amendments take effect, in order.
fn instants_from(amendments: &[&Amendment], at: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let later = amendments.iter().map(|it| it.effective_at);
    let mut instants: Vec<_> = later.filter(|it| at < *it).chain([at]).collect();
    instants.sort_unstable();
    instants.dedup();
    instants
}

/// The first of the amendments `numbers` that `next` restores at some instant at which it is undone
/// without `next`.
pub(crate) fn restored(amendments: &[Amendment], next: &Amendment, numbers: &[u32]) -> Option<u32> {
    let before: Vec<&Amendment> = amendments.iter().collect();
    let after: Vec<&Amendment> = amendments.iter().chain([next]).collect();
    let instants = instants_from(&after, next.effective_at);
    let [before, after] = [before, after].map(|it| undone_at(&it, &instants));
    let is_restored = |number: &&u32| {
        let undone = before.get(number);
        undone.is_some_and(|it| {
            let still = after.get(number);
            !still.is_some_and(|still| still.include(it)) && !it.is_empty()
        })
    };
    numbers.iter().find(is_restored).copied()
}

/// The end of a license that starts at `starts_at` and lasts so long from its first activation on,
/// which is at `at`.
fn end_of_first_activation(
    lasts: CalendarDuration,
    starts_at: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> DateTime<Utc> {
    let start = starts_at.map_or(at, |starts_at| starts_at.max(at));
    let end = lasts.last_second_from(start.trunc_subsecs(0));
    end.unwrap_or(LAST_SECOND)
}

impl Contents {
    /// Applies a change, apart from what it grants or ends.
    fn set(&mut self, origin: Origin, change: &Change) {
        match change {
            Change::Grant(_) | Change::End { .. } => {}
            Change::Plan(plan) => {
                self.plan_set_by = Some(origin);
                self.plan = Some(plan.clone());
            }
            Change::Customer(customer) => self.customer.clone_from(customer),
            Change::Start(starts_at) => self.starts_at = *starts_at,
            Change::Expiry(expires_at) => {
                self.expires_at = *expires_at;
                self.lasts = None;
            }
            Change::Lasts(duration) => {
                self.expires_at = None;
                self.lasts = Some(*duration);
            }
            Change::Terms(terms) => self.terms = terms.clone(),
            Change::TermChanges(changes) => {
                self.terms = std::mem::take(&mut self.terms).with(changes);
            }
        }
    }

    /// What its first activation, at `at`, changes: it sets the end of a license that
    /// [`lasts`](Self::lasts) for some time. That time starts no earlier than the license, and ends
    /// with the year 9999 at the latest. `None` if nothing changes.
    #[must_use]
    pub fn first_activated(&self, at: DateTime<Utc>) -> Option<Change> {
        let end = end_of_first_activation(self.lasts?, self.starts_at, at);
        Some(Change::Expiry(Some(end)))
    }

    /// From the first instant at which anything is in force to the last one at which the license may
    /// be used.
    #[must_use]
    pub fn period(&self) -> Period {
        Period {
            from: self.starts_at,
            until: self.expires_at,
        }
    }

    /// What is granted from the license's start on. The end of the license is left out: it ends the
    /// license, whose entitlements stay what they are.
    #[must_use]
    pub fn sold(&self) -> Granted {
        let license = Period {
            from: self.starts_at,
            until: None,
        };
        Granted::of(self.granted.values().filter_map(|granted| {
            Some(Entitlement {
                period: granted.period.and(&license)?,
                ..granted.clone()
            })
        }))
    }
}

/// The last instant from `at` on at which the license consists of, and has in force, what it does
/// at `at`: these `contents`. `None` if that never changes. The end of the license itself does not
/// count.
#[must_use]
pub fn holds_until(
    amendments: &[Amendment],
    contents: &Contents,
    at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let later = amendments.iter().map(|it| it.effective_at);
    sells_until(&contents.sold(), later.filter(|it| at < *it).min(), at)
}

/// The same for a license that sells this until it consists of something else, from `next` on.
fn sells_until(
    sold: &Granted,
    next: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let before = next.and_then(|it| it.checked_sub_signed(TimeDelta::nanoseconds(1)));
    let sold = sold.holds_until(PlausibleTime::exact(at));
    before.into_iter().chain(sold).min()
}
