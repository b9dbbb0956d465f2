//! Amendments: a license is what its amendments add up to at an instant.
//!
//! Amendments are numbered, and never changed or removed: another amendment undoes one. Each takes
//! effect when it is recorded or later, never earlier, so that what was signed before stays true.

mod change;
mod check;
mod difference;
mod effect;
mod recorded;
mod terms;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::calendar_duration::CalendarDuration;
use crate::entitlement::{Entitlement, Granted, Period};
use crate::plausible_time::PlausibleTime;

pub use change::{Change, PlanVersion};
pub use check::{
    AmendmentError, MAX_ALL_CHANGES, MAX_AMENDMENTS, MAX_CHANGES, MAX_ENTITLEMENTS, MAX_SCHEDULED,
    check, check_terms,
};
pub use effect::{Effect, Value, ValueChange, effects};
pub use recorded::corrected;
pub use terms::{
    MAX_GRACE_HOURS, MAX_LEASE_HOURS, MAX_OFFLINE_DAYS, TermChanges, Terms, UpdateRule,
};
pub use timeline::{State, contents, states};

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
    /// The first instant at which anything is in force; `None` if there is no such bound.
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

impl Origin {
    /// Whether it comes after another change in the same amendment.
    fn is_after(self, other: Self) -> bool {
        self.amendment == other.amendment && other.change < self.change
    }
}

/// The numbers of the amendments that are undone at `at`. One that undoes an amendment may be
/// undone itself, which restores the first.
#[must_use]
pub fn undone(amendments: &[Amendment], at: DateTime<Utc>) -> BTreeSet<u32> {
    let mut undoing: Vec<(u32, u32)> = amendments
        .iter()
        .filter(|it| it.effective_at <= at)
        .filter_map(|it| Some((it.number, it.undoes?)))
        .collect();
    // An amendment undoes only earlier ones, so the last one is not undone.
    undoing.sort_unstable();
    let mut undone = BTreeSet::new();
    for (number, undoes) in undoing.into_iter().rev() {
        if !undone.contains(&number) {
            undone.insert(undoes);
        }
    }
    undone
}

/// Whether an amendment is undone from `at` on for good, without an instant at which it is restored.
#[must_use]
pub fn is_undone_from(amendments: &[Amendment], number: u32, at: DateTime<Utc>) -> bool {
    let later = amendments.iter().map(|it| it.effective_at);
    let mut instants = later.filter(|it| at < *it).chain([at]);
    instants.all(|at| undone(amendments, at).contains(&number))
}

impl Contents {
    fn apply(&mut self, origin: Origin, change: &Change) {
        match change {
            Change::Grant(entitlement) => {
                self.granted.insert(origin, entitlement.clone());
            }
            // What was granted after this was recorded is not known to its author.
            Change::End { key } => self
                .granted
                .retain(|granted, it| it.key != *key || origin < *granted),
            Change::Plan(plan) => {
                if let Some(former) = self.plan_set_by.replace(origin) {
                    self.granted.retain(|granted, _| !former.is_after(*granted));
                }
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
    /// [`lasts`](Self::lasts) for some time. That time starts no earlier than the license. `None` if
    /// nothing changes, also if the license would end after the year 9999.
    #[must_use]
    pub fn first_activated(&self, at: DateTime<Utc>) -> Option<Change> {
        let start = self.starts_at.map_or(at, |starts_at| starts_at.max(at));
        let end = self.lasts?.last_second_from(start.trunc_subsecs(0)).ok()?;
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

/// What is granted at `at` and later, as a lease that is signed then carries it: also what
/// amendments will add or end that are already recorded.
#[must_use]
pub fn coming(amendments: &[Amendment], at: DateTime<Utc>) -> Vec<Entitlement> {
    let states = states(amendments, at);
    let ends = states.iter().skip(1).map(|next| {
        // Documents carry whole seconds.
        next.from.checked_sub_signed(TimeDelta::seconds(1))
    });
    let ends: Vec<_> = ends.chain([None]).collect();
    let mut periods: BTreeMap<Origin, Vec<Entitlement>> = BTreeMap::new();
    for (State { from, contents }, end) in states.iter().zip(ends) {
        let license = contents.period();
        let segment = Period {
            from: (*from != at).then_some(*from),
            until: end,
        };
        for (origin, granted) in &contents.granted {
            let period = granted.period.and(&license);
            let Some(period) = period.and_then(|period| period.and(&segment)) else {
                continue;
            };
            let known = periods.entry(*origin).or_default();
            match known.last_mut() {
                Some(last) if is_next(&last.period, &period) => last.period.until = period.until,
                _ => known.push(Entitlement {
                    period,
                    ..granted.clone()
                }),
            }
        }
    }
    let is_over = |it: &Entitlement| it.period.until.is_some_and(|until| until < at);
    let coming = periods.into_values().flatten();
    coming.filter(|it| !is_over(it)).collect()
}

/// Whether one period begins in the second after the other one has ended.
fn is_next(one: &Period, next: &Period) -> bool {
    let after = one
        .until
        .and_then(|until| until.checked_add_signed(TimeDelta::seconds(1)));
    after.is_some() && after == next.from
}
