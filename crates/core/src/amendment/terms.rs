//! The terms of a license.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::seat::{DEFAULT_MOVES, DEFAULT_MOVES_PERIOD_DAYS};

/// Maximum length of a lease, in hours: 90 days.
pub const MAX_LEASE_HOURS: u32 = 2_160;
/// Maximum length of the grace period after a lease, in hours: 30 days.
pub const MAX_GRACE_HOURS: u32 = 720;
/// Maximum length of the lease of a site without internet, in days: 10 years.
pub const MAX_OFFLINE_DAYS: u32 = 3_650;

/// The terms of a license. `None` is the server's own default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Maximum number of machines at the same time.
    pub seats: u32,
    /// How many times in a period a seat may move to another machine while the lease of the old
    /// one is still valid …
    pub moves: u32,
    /// … and the length of that period in days.
    pub moves_period_days: u32,
    /// How long a lease is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_hours: Option<u32>,
    /// Length of the grace period after the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_hours: Option<u32>,
    /// Length of the lease of a site without internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_days: Option<u32>,
    /// Releases of the product until this instant are covered; `None` covers all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_until: Option<DateTime<Utc>>,
    /// What happens with later releases.
    #[serde(default)]
    pub updates: UpdateRule,
}

/// One machine, and the default number of moves.
impl Default for Terms {
    fn default() -> Self {
        Self {
            seats: 1,
            moves: DEFAULT_MOVES,
            moves_period_days: DEFAULT_MOVES_PERIOD_DAYS,
            lease_hours: None,
            grace_hours: None,
            offline_days: None,
            updates_until: None,
            updates: UpdateRule::Warn,
        }
    }
}

/// What happens with a release of the product that a license does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRule {
    /// The site is warned.
    #[default]
    Warn,
    /// Licensed features are off; core features run.
    Enforce,
}

impl UpdateRule {
    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }

    /// The rule with this code.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        [Self::Warn, Self::Enforce]
            .into_iter()
            .find(|rule| rule.as_str() == code)
    }
}

/// Other terms. What is `None` stays unchanged; `Some(None)` is the server's own default, and for
/// [`Terms::updates_until`] no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TermChanges {
    /// See [`Terms::seats`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats: Option<u32>,
    /// See [`Terms::moves`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves: Option<u32>,
    /// See [`Terms::moves_period_days`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves_period_days: Option<u32>,
    /// See [`Terms::lease_hours`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "changed")]
    pub lease_hours: Option<Option<u32>>,
    /// See [`Terms::grace_hours`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "changed")]
    pub grace_hours: Option<Option<u32>>,
    /// See [`Terms::offline_days`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "changed")]
    pub offline_days: Option<Option<u32>>,
    /// See [`Terms::updates_until`].
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "changed")]
    pub updates_until: Option<Option<DateTime<Utc>>>,
    /// See [`Terms::updates`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates: Option<UpdateRule>,
}

/// A member that is present, also with null.
fn changed<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl TermChanges {
    /// What makes the terms `after` out of the terms `before`.
    #[must_use]
    pub fn between(before: &Terms, after: &Terms) -> Self {
        Self {
            seats: changed_to(before.seats, after.seats),
            moves: changed_to(before.moves, after.moves),
            moves_period_days: changed_to(before.moves_period_days, after.moves_period_days),
            lease_hours: changed_to(before.lease_hours, after.lease_hours),
            grace_hours: changed_to(before.grace_hours, after.grace_hours),
            offline_days: changed_to(before.offline_days, after.offline_days),
            updates_until: changed_to(before.updates_until, after.updates_until),
            updates: changed_to(before.updates, after.updates),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn changed_to<T: Copy + PartialEq>(before: T, after: T) -> Option<T> {
    (before != after).then_some(after)
}

impl Terms {
    /// These terms with changes.
    #[must_use]
    pub fn with(self, changes: &TermChanges) -> Self {
        Self {
            seats: changes.seats.unwrap_or(self.seats),
            moves: changes.moves.unwrap_or(self.moves),
            moves_period_days: changes.moves_period_days.unwrap_or(self.moves_period_days),
            lease_hours: changes.lease_hours.unwrap_or(self.lease_hours),
            grace_hours: changes.grace_hours.unwrap_or(self.grace_hours),
            offline_days: changes.offline_days.unwrap_or(self.offline_days),
            updates_until: changes.updates_until.unwrap_or(self.updates_until),
            updates: changes.updates.unwrap_or(self.updates),
        }
    }
}
