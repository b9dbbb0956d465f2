//! The tiers on sale.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// No limit.
pub const UNLIMITED: i64 = -1;

/// A named bundle of features and limits. Each can be overridden when a
/// license is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Map view; 16 cameras, 5 users, 2 TB, one machine.
    Standard,
    /// Adds analytics and health monitoring; 64 cameras, 20 users, 20 TB, one machine.
    Professional,
    /// Every feature, no limits, two machines.
    Enterprise,
}

/// The content of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The tier's name in a license.
    pub name: &'static str,
    /// Feature keys.
    pub features: &'static [&'static str],
    /// Maximum number of cameras, or [`UNLIMITED`].
    pub max_cameras: i64,
    /// Maximum number of users, or [`UNLIMITED`].
    pub max_users: i64,
    /// Maximum storage in GB, or [`UNLIMITED`].
    pub max_storage_gb: i64,
    /// The number of machines.
    pub seats: u32,
}

impl Tier {
    /// The content of the tier.
    #[must_use]
    pub fn bundle(self) -> Bundle {
        match self {
            Self::Standard => Bundle {
                name: "standard",
                features: &["module.map_view"],
                max_cameras: 16,
                max_users: 5,
                max_storage_gb: 2_000,
                seats: 1,
            },
            Self::Professional => Bundle {
                name: "professional",
                features: &[
                    "module.map_view",
                    "module.analytics_advanced",
                    "module.health_monitoring",
                ],
                max_cameras: 64,
                max_users: 20,
                max_storage_gb: 20_000,
                seats: 1,
            },
            Self::Enterprise => Bundle {
                name: "enterprise",
                features: &license_core::feature::LICENSED_FEATURES,
                max_cameras: UNLIMITED,
                max_users: UNLIMITED,
                max_storage_gb: UNLIMITED,
                seats: 2,
            },
        }
    }
}
