//! The standing of an installation, as the License Server sees it.

use chrono::{DateTime, Utc};
use license_core::fleet::{Signed, standing_seen};
use license_core::lapse::LapseReason;
use license_core::restored::Refusal;
use license_core::standing::Standing;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::licensing::judge::refusal;
use crate::store::licenses::Status;

/// The standing of an installation, as seen by the License Server.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Deserialize,
    Serialize,
    ToSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = InstallationStanding)]
pub enum Seen {
    /// Its lease is valid.
    Active,
    /// Its validation is overdue; it works until its grace period ends.
    Grace,
    /// It has not validated for so long that its licensed features are off.
    Silent,
    /// Its license is suspended or revoked, or has expired.
    Stopped,
}

impl Seen {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Grace, Self::Silent, Self::Stopped];

    /// Derived from the license's state and the last signed document.
    #[must_use]
    pub fn of(
        status: Status,
        expires_at: Option<DateTime<Utc>>,
        signed: Option<Signed>,
        now: DateTime<Utc>,
    ) -> Self {
        let denial = refusal(status, expires_at, now).map(Refusal::reason);
        match standing_seen(denial.as_ref(), signed, now) {
            Standing::Active => Self::Active,
            Standing::Grace { .. } => Self::Grace,
            Standing::Lapsed(LapseReason::GracePeriodExpired) | Standing::Unlicensed => {
                Self::Silent
            }
            Standing::Lapsed(LapseReason::Denied(_) | LapseReason::LicenseExpired) => Self::Stopped,
        }
    }

    /// The code in URLs and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Grace => "grace",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}
