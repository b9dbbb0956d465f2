//! How long the leases of a license are: what its terms say, or else the settings.

use chrono::TimeDelta;

use crate::config::Terms;
use crate::store::licenses::License;

/// The lengths of the leases of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseTerms {
    /// How long a lease is valid.
    pub(super) lease: TimeDelta,
    /// How long the grace period after the lease is.
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

/// How long the lease of a site without internet is, with a default.
pub(super) fn offline_lease(license: &License, default: TimeDelta) -> TimeDelta {
    let days = license.offline_days.map(|it| TimeDelta::days(it.into()));
    days.unwrap_or(default)
}
