//! The state of a sold license, from the vendor's decision, the license's period and the time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::document::DenialReason;
use crate::entitlement::Period;
use crate::restored::Refusal;

/// A license that ends within this time is expiring.
pub const EXPIRING_WITHIN: TimeDelta = TimeDelta::days(30);

/// The vendor's decision about a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The license is valid until its end.
    Valid,
    /// Suspended.
    Suspended,
    /// Revoked.
    Revoked,
}

/// The state of a sold license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LicenseState {
    /// Valid, with nothing in force before its start.
    Scheduled,
    /// Valid.
    Active,
    /// Valid, and ends within [`EXPIRING_WITHIN`].
    Expiring,
    /// Past its end.
    Expired,
    /// Suspended by the vendor.
    Suspended,
    /// Revoked by the vendor.
    Revoked,
}

impl LicenseState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Scheduled,
        Self::Active,
        Self::Expiring,
        Self::Expired,
        Self::Suspended,
        Self::Revoked,
    ];

    /// The state at `now` of a license with this period, from its first to its last instant. The
    /// vendor's decision takes precedence, then the end, then the start.
    #[must_use]
    pub fn of(decided: Decided, period: Period, now: DateTime<Utc>) -> Self {
        match decided {
            Decided::Valid if period.until.is_some_and(|end| end < now) => Self::Expired,
            Decided::Valid if period.from.is_some_and(|start| now < start) => Self::Scheduled,
            Decided::Valid if period.until.is_some_and(|end| end <= soon(now)) => Self::Expiring,
            Decided::Valid => Self::Active,
            Decided::Suspended => Self::Suspended,
            Decided::Revoked => Self::Revoked,
        }
    }

    /// What the licenses in this state at `now` have in common, for searches in a database.
    #[must_use]
    pub fn bounds(self, now: DateTime<Utc>) -> StateBounds {
        let valid = StateBounds {
            decided: Decided::Valid,
            has_started: None,
            ends: None,
        };
        let valid_with = |has_started, ends| StateBounds {
            has_started,
            ends: Some(ends),
            ..valid
        };
        match self {
            Self::Scheduled => valid_with(Some((false, now)), End::From(now)),
            Self::Active => valid_with(Some((true, now)), End::After(soon(now))),
            Self::Expiring => valid_with(Some((true, now)), End::Between(now, soon(now))),
            Self::Expired => valid_with(None, End::Before(now)),
            Self::Suspended => StateBounds {
                decided: Decided::Suspended,
                ..valid
            },
            Self::Revoked => StateBounds {
                decided: Decided::Revoked,
                ..valid
            },
        }
    }

    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// Why a site is refused the license; `None` if it is valid.
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Scheduled | Self::Active | Self::Expiring => None,
            Self::Expired => Some(Refusal::Expired),
            Self::Suspended => Some(Refusal::Suspended),
            Self::Revoked => Some(Refusal::Revoked),
        }
    }

    /// The reason for denying the license; `None` if it is valid.
    #[must_use]
    pub fn denial(self) -> Option<DenialReason> {
        self.refusal().map(Refusal::reason)
    }
}

/// The last end of a license that is expiring at `now`.
fn soon(now: DateTime<Utc>) -> DateTime<Utc> {
    let soon = now.checked_add_signed(EXPIRING_WITHIN);
    soon.unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Bounds of all licenses in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBounds {
    /// The vendor's decision.
    pub decided: Decided,
    /// Whether they have started at this instant; a license without a start always has. `None`
    /// for both.
    pub has_started: Option<(bool, DateTime<Utc>)>,
    /// When they end; `None` for any time.
    pub ends: Option<End>,
}

/// When licenses end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Before this instant.
    Before(DateTime<Utc>),
    /// At this instant or later, or never.
    From(DateTime<Utc>),
    /// After this instant, or never.
    After(DateTime<Utc>),
    /// From the first to the second instant, both included.
    Between(DateTime<Utc>, DateTime<Utc>),
}
