//! What has become of a license that was sold, by what the vendor decided and the time.

use chrono::{DateTime, Utc};

use crate::document::DenialReason;

/// What the vendor decided about a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It may be used until its end.
    Valid,
    /// Not for the time being.
    Suspended,
    /// Never again.
    Revoked,
}

/// What has become of a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LicenseState {
    /// It may be used.
    Active,
    /// Its end has passed.
    Expired,
    /// The vendor has taken it back for the time being.
    Suspended,
    /// The vendor has taken it back for good.
    Revoked,
}

impl LicenseState {
    /// The state of a license. The end itself is included; what the vendor decided comes
    /// first.
    #[must_use]
    pub fn of(decided: Decided, expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        match decided {
            Decided::Valid if expires_at.is_some_and(|end| now > end) => Self::Expired,
            Decided::Valid => Self::Active,
            Decided::Suspended => Self::Suspended,
            Decided::Revoked => Self::Revoked,
        }
    }

    /// Why a site that asks is denied; `None` where it may use the license.
    #[must_use]
    pub fn denial(self) -> Option<DenialReason> {
        match self {
            Self::Active => None,
            Self::Expired => Some(DenialReason::Expired),
            Self::Suspended => Some(DenialReason::Suspended),
            Self::Revoked => Some(DenialReason::Revoked),
        }
    }
}
