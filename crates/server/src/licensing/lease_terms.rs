//! How long the leases of a license are: what its terms say, or else the settings.

use chrono::TimeDelta;

use crate::config::Terms;
use crate::store::licenses::License;

/// The lengths of the leases of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseTerms {
    /// How long a lease is valid.
    pub(super) lease: TimeDelta,
    /// Length of the grace period after the lease.
    pub(super) grace: TimeDelta,
}

impl LeaseTerms {
    /// Those of a license, with the settings as defaults.
    pub(super) fn of(license: &License, settings: &Terms) -> Self {
        let hours = |hours: Option<u32>| hours.map(|it| TimeDelta::hours(it.into()));
        Self {
            lease: hours(license.lease_hours).unwrap_or(settings.lease_hours),
            grace: hours(license.grace_hours).unwrap_or(settings.grace_hours),
        }
    }

    /// A lease and its grace period.
    pub(super) fn longest(self) -> TimeDelta {
        self.lease + self.grace
    }
}

/// How long the leases of sites without internet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineLease {
    /// So long, unless the license says otherwise: a setting of the server.
    Default(TimeDelta),
    /// At most so long, also if the license allows more: for one file.
    AtMost(TimeDelta),
}

impl OfflineLease {
    /// The length without a term of the license.
    #[must_use]
    pub fn length(self) -> TimeDelta {
        let (Self::Default(length) | Self::AtMost(length)) = self;
        length
    }

    /// The length for a license.
    pub(super) fn of(self, license: &License) -> TimeDelta {
        let term = license.offline_days.map(|it| TimeDelta::days(it.into()));
        match (self, term) {
            (Self::Default(length) | Self::AtMost(length), None) => length,
            (Self::Default(_), Some(term)) => term,
            (Self::AtMost(length), Some(term)) => length.min(term),
        }
    }
}

impl From<TimeDelta> for OfflineLease {
    /// As a default.
    fn from(length: TimeDelta) -> Self {
        Self::Default(length)
    }
}
