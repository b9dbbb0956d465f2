//! The state of a sold license, from the vendor's decision and the time.

use chrono::{DateTime, Utc};

use crate::document::DenialReason;
use crate::restored::Refusal;

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
    /// Valid.
    Active,
    /// Past its end.
    Expired,
    /// Suspended by the vendor.
    Suspended,
    /// Revoked by the vendor.
    Revoked,
}

impl LicenseState {
    /// The state of a license. The end is inclusive; the vendor's decision takes
    /// precedence.
    #[must_use]
    pub fn of(decided: Decided, expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        match decided {
            Decided::Valid if expires_at.is_some_and(|end| now > end) => Self::Expired,
            Decided::Valid => Self::Active,
            Decided::Suspended => Self::Suspended,
            Decided::Revoked => Self::Revoked,
        }
    }

    /// Why a site is refused the license; `None` if it is valid.
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Active => None,
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
