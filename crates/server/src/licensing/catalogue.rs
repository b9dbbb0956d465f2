//! The tiers: names in the API for three of the plans.

use clap::ValueEnum;
use license_core::plan::PlanChoice;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// No limit.
pub const UNLIMITED: i64 = -1;

/// The newest version of the plan with this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// `standard`.
    Standard,
    /// `professional`.
    Professional,
    /// `enterprise`.
    Enterprise,
}

impl Tier {
    /// The name of the plan, which is also the tier's name in a license.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Professional => "professional",
            Self::Enterprise => "enterprise",
        }
    }
}

impl From<Tier> for PlanChoice {
    fn from(tier: Tier) -> Self {
        Self {
            name: tier.name().to_owned(),
            version: None,
        }
    }
}
