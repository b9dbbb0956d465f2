//! Plans: named, versioned templates for licenses.
//!
//! A license names the version of the plan that it is sold as, and its amendments contain what that
//! version grants. So a plan can change, and sold licenses stay what they are.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::amendment::{Change, Contents, PlanVersion, Terms, UpdateRule};
use crate::calendar_duration::{CalendarDuration, EndsTooLate};
use crate::entitlement::{Entitlement, Period, Quantity};
use crate::feature::FeatureKey;
use crate::seat::{DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS};

pub use check::{
    InvalidPlan, MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS, MAX_PLAN_ENTITLEMENTS, MAX_TITLE_CHARS,
    check_name,
};

/// What a version of a plan consists of. A published version never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Its display name.
    pub title: String,
    /// What it is for; may be empty.
    #[serde(default)]
    pub description: String,
    /// Whether it is for trying the product out.
    #[serde(default)]
    pub trial: bool,
    /// Whether it is for add-on keys: its entitlements are added to licenses that exist, and no
    /// license is issued as it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub add_on: bool,
    /// How long a license lasts; `None` if it never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<CalendarDuration>,
    /// When the duration begins.
    #[serde(default, skip_serializing_if = "DurationFrom::is_issue")]
    pub duration_from: DurationFrom,
    /// The terms of a license; those of an add-on are the default ones, which have no effect.
    #[serde(default)]
    pub terms: PlanTerms,
    /// What a license grants.
    #[serde(default)]
    pub entitlements: Vec<PlanEntitlement>,
}

/// When the duration of a plan begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DurationFrom {
    /// When the license is issued, or at its start if that is later.
    #[default]
    Issue,
    /// When a machine first activates the license, or at its start if that is later.
    FirstActivation,
}

impl DurationFrom {
    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::FirstActivation => "first_activation",
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde requires"
    )]
    fn is_issue(&self) -> bool {
        *self == Self::Issue
    }
}

/// When a license ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LicenseEnd {
    /// At this instant, or never.
    At(Option<DateTime<Utc>>),
    /// So long after its first activation.
    AfterActivation(CalendarDuration),
}

/// Never.
impl Default for LicenseEnd {
    fn default() -> Self {
        Self::At(None)
    }
}

impl LicenseEnd {
    /// The end of a license with these contents.
    #[must_use]
    pub fn of(contents: &Contents) -> Self {
        match contents.lasts {
            Some(duration) => Self::AfterActivation(duration),
            None => Self::At(contents.expires_at),
        }
    }

    /// The change that sets it.
    #[must_use]
    pub fn change(self) -> Change {
        match self {
            Self::At(end) => Change::Expiry(end),
            Self::AfterActivation(duration) => Change::Lasts(duration),
        }
    }

    /// The last instant at which the license may be used, as far as it is known; `None` if it is not,
    /// or the license never ends.
    #[must_use]
    pub fn at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::At(end) => end,
            Self::AfterActivation(_) => None,
        }
    }
}

/// The terms of a plan. `None` is the server's own default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanTerms {
    /// See [`Terms::seats`].
    pub seats: u32,
    /// See [`Terms::moves`].
    #[serde(default = "default_moves")]
    pub moves: u32,
    /// See [`Terms::moves_period_days`].
    #[serde(default = "default_moves_period")]
    pub moves_period_days: u32,
    /// See [`Terms::lease_hours`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_hours: Option<u32>,
    /// See [`Terms::grace_hours`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_hours: Option<u32>,
    /// See [`Terms::offline_days`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_days: Option<u32>,
    /// For how long releases of the product are covered; `None` covers all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_for: Option<CalendarDuration>,
    /// See [`Terms::updates`].
    #[serde(default)]
    pub updates: UpdateRule,
}

/// One machine, and the default number of moves.
impl Default for PlanTerms {
    fn default() -> Self {
        Self {
            seats: 1,
            moves: DEFAULT_MOVES,
            moves_period_days: DEFAULT_MOVES_PERIOD_DAYS,
            lease_hours: None,
            grace_hours: None,
            offline_days: None,
            updates_for: None,
            updates: UpdateRule::default(),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde requires"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

fn default_moves() -> u32 {
    DEFAULT_MOVES
}

fn default_moves_period() -> u32 {
    DEFAULT_MOVES_PERIOD_DAYS
}

/// One thing that a plan grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEntitlement {
    /// The feature, or what is counted.
    pub key: String,
    /// How much; `None` for a feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// For how long, from the start of the license; `None` if it has no end of its own.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<CalendarDuration>,
}

/// The requested plan: its name, and the newest version unless one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanChoice {
    /// The name.
    pub name: String,
    /// The version; `None` for the newest one.
    pub version: Option<u32>,
}

/// Read from `professional` or `professional@3`.
impl FromStr for PlanChoice {
    type Err = InvalidPlan;

    fn from_str(text: &str) -> Result<Self, InvalidPlan> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => (name, Some(version)),
        };
        check_name(name)?;
        let version = version.map(|version| {
            let number = version.parse().ok().filter(|number| *number > 0);
            number.ok_or_else(|| InvalidPlan {
                field: "version".to_owned(),
                why: format!("'{version}' is not a version; expected 1 or more"),
            })
        });
        Ok(Self {
            name: name.to_owned(),
            version: version.transpose()?,
        })
    }
}

impl Plan {
    /// What it grants to a license whose time under the plan starts at `start`.
    ///
    /// # Errors
    /// [`EndsTooLate`] if something would end after the year 9999.
    pub fn granted(&self, start: DateTime<Utc>) -> Result<Vec<Entitlement>, EndsTooLate> {
        let granted = self.entitlements.iter().filter_map(|it| {
            let key = FeatureKey::parse(&it.key).ok()?;
            let until = it.duration.map(|it| it.last_second_from(start)).transpose();
            Some(until.map(|until| Entitlement {
                key,
                quantity: it.quantity,
                period: Period { from: None, until },
            }))
        });
        granted.collect()
    }

    /// The end of a license whose time under the plan starts at `start`, and that was not activated
    /// before.
    ///
    /// # Errors
    /// [`EndsTooLate`].
    pub fn end(&self, start: DateTime<Utc>) -> Result<LicenseEnd, EndsTooLate> {
        match (self.duration, self.duration_from) {
            (Some(duration), DurationFrom::FirstActivation) => {
                Ok(LicenseEnd::AfterActivation(duration))
            }
            _ => self.end_of_active(start),
        }
    }

    /// The same for a license that was activated before.
    fn end_of_active(&self, start: DateTime<Utc>) -> Result<LicenseEnd, EndsTooLate> {
        let end = self.duration.map(|it| it.last_second_from(start));
        Ok(LicenseEnd::At(end.transpose()?))
    }

    /// The terms of a license whose time under the plan starts at `start`.
    ///
    /// # Errors
    /// [`EndsTooLate`].
    pub fn terms(&self, start: DateTime<Utc>) -> Result<Terms, EndsTooLate> {
        let terms = &self.terms;
        let updates_until = terms.updates_for.map(|it| it.last_second_from(start));
        Ok(Terms {
            seats: terms.seats,
            moves: terms.moves,
            moves_period_days: terms.moves_period_days,
            lease_hours: terms.lease_hours,
            grace_hours: terms.grace_hours,
            offline_days: terms.offline_days,
            updates_until: updates_until.transpose()?,
            updates: terms.updates,
        })
    }
}

/// A license to issue: the differences from its plan.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The id of the customer.
    pub customer: String,
    /// The first instant at which anything is in force.
    pub starts_at: Option<DateTime<Utc>>,
    /// When the license ends.
    pub end: LicenseEnd,
    /// The terms.
    pub terms: Terms,
    /// Quantities in place of the plan's, which end with the plan; those of what the plan does not
    /// count stay when it is replaced.
    pub quantities: BTreeMap<FeatureKey, Quantity>,
    /// What the plan has and the license does not.
    pub without: BTreeSet<FeatureKey>,
    /// Features in addition, which stay when the plan is replaced.
    pub with: Vec<FeatureKey>,
}

/// What a license that is sold as a version of a plan consists of, whose time starts at `start`:
/// the changes of its first amendment.
///
/// # Errors
/// [`EndsTooLate`].
pub fn issued(
    version: PlanVersion,
    plan: &Plan,
    order: Order,
    start: DateTime<Utc>,
) -> Result<Vec<Change>, EndsTooLate> {
    let mut granted = plan.granted(start)?;
    granted.retain(|it| !order.without.contains(&it.key));
    let mut quantities = order.quantities;
    for it in &mut granted {
        it.quantity = quantities.remove(&it.key).or(it.quantity);
    }
    let others = quantities.into_iter();
    let mut with: Vec<Entitlement> = others
        .map(|(key, quantity)| Entitlement::count(key, quantity))
        .collect();
    for feature in order.with.into_iter().map(Entitlement::feature) {
        if !granted.contains(&feature) && !with.contains(&feature) {
            with.push(feature);
        }
    }
    let mut changes = vec![Change::Terms(order.terms)];
    changes.extend(granted.into_iter().map(Change::Grant));
    changes.push(Change::Customer(order.customer));
    changes.push(Change::Plan(version));
    if order.starts_at.is_some() {
        changes.push(Change::Start(order.starts_at));
    }
    changes.push(order.end.change());
    changes.extend(with.into_iter().map(Change::Grant));
    Ok(changes)
}

/// The terms and the end of a license after its plan is replaced, whose time under the new plan
/// starts at `start`.
///
/// What the former plan stated is replaced, and what was changed for this license stays: a term
/// that differs from the former plan's, and an end if neither plan has a duration. `former` is
/// `None` if its contents are not known; then all terms stay. A duration from the first activation
/// counts from `start`, unless the license is still waiting for its first activation.
///
/// # Errors
/// [`EndsTooLate`].
pub fn replaced(
    before: &Contents,
    former: Option<&Plan>,
    plan: &Plan,
    start: DateTime<Utc>,
) -> Result<(Terms, LicenseEnd), EndsTooLate> {
    let present = &before.terms;
    let new = plan.terms(start)?;
    let end = match (plan.duration, former.and_then(|it| it.duration)) {
        (None, None) => LicenseEnd::of(before),
        _ if before.lasts.is_some() => plan.end(start)?,
        _ => plan.end_of_active(start)?,
    };
    let Some(former) = former.map(|it| &it.terms) else {
        return Ok((present.clone(), end));
    };
    let terms = Terms {
        seats: new_term(present.seats, former.seats, new.seats),
        moves: new_term(present.moves, former.moves, new.moves),
        moves_period_days: new_term(
            present.moves_period_days,
            former.moves_period_days,
            new.moves_period_days,
        ),
        lease_hours: new_term(present.lease_hours, former.lease_hours, new.lease_hours),
        grace_hours: new_term(present.grace_hours, former.grace_hours, new.grace_hours),
        offline_days: new_term(present.offline_days, former.offline_days, new.offline_days),
        updates_until: match (plan.terms.updates_for, former.updates_for) {
            (None, None) => present.updates_until,
            _ => new.updates_until,
        },
        updates: new_term(present.updates, former.updates, new.updates),
    };
    Ok((terms, end))
}

/// The new plan's term, unless the license has another one than the former plan.
fn new_term<T: Copy + PartialEq>(present: T, former: T, new: T) -> T {
    if present == former { new } else { present }
}
