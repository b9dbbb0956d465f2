//! What an amendment changes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{TermChanges, Terms};
use crate::calendar_duration::CalendarDuration;
use crate::entitlement::Entitlement;
use crate::feature::FeatureKey;

/// One change to a license.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Grants something in addition.
    #[serde(with = "entitlement")]
    Grant(Entitlement),
    /// Ends everything of this key that earlier amendments, and earlier changes of this one, grant.
    End {
        /// The feature, or what is counted.
        #[serde(with = "feature_key")]
        key: FeatureKey,
    },
    /// The plan that the license is sold as. It ends what the former plan granted. What this one
    /// grants are the [`Change::Grant`]s before it in the same amendment.
    Plan(PlanVersion),
    /// The id of the customer.
    Customer(String),
    /// The first instant at which anything is in force.
    Start(Option<DateTime<Utc>>),
    /// The last instant at which the license may be used. It replaces a [`Change::Lasts`].
    Expiry(Option<DateTime<Utc>>),
    /// How long the license may be used from its first activation on, at which it gets its
    /// [`Change::Expiry`]. Until then it has no end.
    Lasts(CalendarDuration),
    /// All terms, as a license is issued with.
    Terms(Terms),
    /// Some terms; the others stay what they are.
    TermChanges(TermChanges),
}

impl Change {
    /// Whether it changes terms.
    #[must_use]
    pub fn is_about_terms(&self) -> bool {
        matches!(self, Self::Terms(_) | Self::TermChanges(_))
    }
}

/// A published version of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlanVersion {
    /// The name of the plan.
    pub name: String,
    /// Its version, starting at 1.
    pub version: u32,
}

/// Written as `professional@3`.
impl std::fmt::Display for PlanVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
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
