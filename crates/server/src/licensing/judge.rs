//! Decides whether a license may be used, and its status.

use chrono::{DateTime, Utc};
use license_core::license_state::{Decided, LicenseState};
use license_core::restored::Refusal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::licenses::{License, Status};

/// The status of a license: the vendor's decision, or its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = LicenseStatus)]
pub enum ShownStatus {
    /// The license may be used.
    Active,
    /// Its end has passed.
    Expired,
    /// Suspended.
    Suspended,
    /// Revoked permanently.
    Revoked,
}

impl ShownStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Expired, Self::Suspended, Self::Revoked];

    /// The current status of a license.
    #[must_use]
    pub fn of(license: &License, now: DateTime<Utc>) -> Self {
        match state(license.status, license.expires_at, now) {
            LicenseState::Active => Self::Active,
            LicenseState::Expired => Self::Expired,
            LicenseState::Suspended => Self::Suspended,
            LicenseState::Revoked => Self::Revoked,
        }
    }

    /// The vendor's decision for licenses with this status.
    #[must_use]
    pub fn decided(self) -> Status {
        match self {
            Self::Active | Self::Expired => Status::Active,
            Self::Suspended => Status::Suspended,
            Self::Revoked => Status::Revoked,
        }
    }

    /// Whether the end of licenses with this status has passed; `None` if it may or may not have
    /// passed.
    #[must_use]
    pub fn has_ended(self) -> Option<bool> {
        match self {
            Self::Active => Some(false),
            Self::Expired => Some(true),
            Self::Suspended | Self::Revoked => None,
        }
    }

    /// A short code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
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
    state(status, expires_at, now).refusal()
}

fn state(status: Status, expires_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> LicenseState {
    let decided = match status {
        Status::Active => Decided::Valid,
        Status::Suspended => Decided::Suspended,
        Status::Revoked => Decided::Revoked,
    };
    LicenseState::of(decided, expires_at, now)
}
