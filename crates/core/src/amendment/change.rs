//! What an amendment changes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::entitlement::Entitlement;
use crate::feature::FeatureKey;

/// One change to a license.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Grants something in addition.
    #[serde(with = "entitlement")]
    Grant(Entitlement),
    /// Ends everything that is granted of this key so far.
    End {
        /// The feature, or what is counted.
        #[serde(with = "feature_key")]
        key: FeatureKey,
    },
    /// The plan that the license is sold as. What the plan grants is recorded beside it.
    Plan(PlanVersion),
    /// The id of the customer.
    Customer(String),
    /// The first instant at which anything is in force.
    Start(Option<DateTime<Utc>>),
    /// The last instant at which the license may be used.
    Expiry(Option<DateTime<Utc>>),
    /// All terms.
    Terms(Terms),
}

/// A published version of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlanVersion {
    /// The name of the plan.
    pub name: String,
    /// Its version, from 1 on.
    pub version: u32,
}

/// Written as `professional@3`.
impl std::fmt::Display for PlanVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// The terms of a license. `None` is the server's own default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Maximum number of machines at the same time.
    pub seats: u32,
    /// How many times in a period a seat may move to another machine while the lease of the old
    /// one is still valid …
    pub moves: u32,
    /// … and the length of that period in days.
    pub moves_period_days: u32,
    /// How long a lease is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_hours: Option<u32>,
    /// How long the grace period after it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_hours: Option<u32>,
    /// Maximum length of a lease for a site without internet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_days: Option<u32>,
    /// Releases of the product until this instant are covered; `None` covers all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates_until: Option<DateTime<Utc>>,
    /// What happens with later releases.
    #[serde(default)]
    pub updates: UpdateRule,
}

/// What happens with a release of the product that a license does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRule {
    /// The site is warned.
    #[default]
    Warn,
    /// Licensed features are off; core features run.
    Enforce,
}

impl UpdateRule {
    /// The value in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

mod entitlement {
    use super::{
        Deserialize as _, Deserializer, Entitlement, Serialize as _, Serializer, Value, de,
    };

    pub(super) fn serialize<S: Serializer>(it: &Entitlement, to: S) -> Result<S::Ok, S::Error> {
        it.to_json().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Entitlement, D::Error> {
        let value = Value::deserialize(from)?;
        Entitlement::of_json(&value).map_err(de::Error::custom)
    }
}

mod feature_key {
    use super::{Deserialize as _, Deserializer, FeatureKey, Serializer, de};

    pub(super) fn serialize<S: Serializer>(key: &FeatureKey, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(key.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FeatureKey, D::Error> {
        let text = String::deserialize(from)?;
        FeatureKey::parse(&text).map_err(de::Error::custom)
    }
}
