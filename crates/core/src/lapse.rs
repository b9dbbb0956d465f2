//! Why the licensed features of a site are off although it has a license, and what it is
//! [`shown`] then.

use crate::document::DenialReason;

pub mod shown;

/// Why licensed features are off although there is a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LapseReason {
    /// The License Server has denied the license, signed.
    Denied(DenialReason),
    /// The license's `expiresAt` has passed.
    LicenseExpired,
    /// The grace period has expired.
    GracePeriodExpired,
}

impl LapseReason {
    /// A code for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Denied(reason) => reason.as_str(),
            Self::LicenseExpired => "license_expired",
            Self::GracePeriodExpired => "grace_period_expired",
        }
    }
}
