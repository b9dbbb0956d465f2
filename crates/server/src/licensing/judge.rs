//! Decides whether a license may be used, and its status.

use chrono::{DateTime, Utc};
use license_core::entitlement::Period;
use license_core::license_state::LicenseState;
use license_core::restored::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::licenses::{License, Status};

/// The status of a license: the vendor's decision, or the phase of its validity period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = LicenseStatus)]
pub enum ShownStatus {
    /// Its start is in the future.
    Scheduled,
    /// It is valid, and ends in more than 30 days or never.
    Active,
    /// It is valid, and ends within 30 days.
    Expiring,
    /// Its end has passed.
    Expired,
    /// Suspended.
    Suspended,
    /// Revoked permanently.
    Revoked,
}

impl ShownStatus {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Scheduled,
        Self::Active,
        Self::Expiring,
        Self::Expired,
        Self::Suspended,
        Self::Revoked,
    ];

    /// The current status of a license.
    #[must_use]
    pub fn of(license: &License, now: DateTime<Utc>) -> Self {
        LicenseState::of(license.status.decided(), license.period(), now).into()
    }

    /// The state of licenses with this status.
    #[must_use]
    pub fn state(self) -> LicenseState {
        match self {
            Self::Scheduled => LicenseState::Scheduled,
            Self::Active => LicenseState::Active,
            Self::Expiring => LicenseState::Expiring,
            Self::Expired => LicenseState::Expired,
            Self::Suspended => LicenseState::Suspended,
            Self::Revoked => LicenseState::Revoked,
        }
    }

    /// A short code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.state().as_str()
    }

    /// The status with this code.
    #[must_use]
    pub fn named(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == code)
    }
}

impl From<LicenseState> for ShownStatus {
    fn from(state: LicenseState) -> Self {
        match state {
            LicenseState::Scheduled => Self::Scheduled,
            LicenseState::Active => Self::Active,
            LicenseState::Expiring => Self::Expiring,
            LicenseState::Expired => Self::Expired,
            LicenseState::Suspended => Self::Suspended,
            LicenseState::Revoked => Self::Revoked,
        }
    }
}

/// A license as programs see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ShownLicense {
    /// The license.
    #[serde(flatten)]
    pub license: License,
    /// Its current status.
    pub status: ShownStatus,
}

impl ShownLicense {
    /// A license in its current state.
    #[must_use]
    pub fn of(license: License, now: DateTime<Utc>) -> Self {
        let status = ShownStatus::of(&license, now);
        Self { license, status }
    }
}

/// Why a site is refused the license now; `None` if the license may be used. The end itself
/// is included.
#[must_use]
pub fn refusal(
    status: Status,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Refusal> {
    // A license is never refused for its start.
    let period = Period {
        from: None,
        until: expires_at,
    };
    LicenseState::of(status.decided(), period, now).refusal()
}
