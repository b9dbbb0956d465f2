//! Amounts of anything that a license may count, by key.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Resource;
use crate::feature::FeatureKey;

/// Maximum number of keys in the counts of one report.
pub const MAX_REPORT_KEYS: usize = 32;

/// Amounts by key. A [`Resource`] is not among them: it has its own field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<FeatureKey, u64>);

impl Counts {
    /// The amount of `key`; `None` if unknown.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<u64> {
        self.0.get(key).copied()
    }

    /// The keys, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &FeatureKey> {
        self.0.keys()
    }

    /// Keys and amounts, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(key, amount)| (key.as_str(), *amount))
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Ignores every [`Resource`].
impl FromIterator<(FeatureKey, u64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (FeatureKey, u64)>>(amounts: T) -> Self {
        let amounts = amounts.into_iter();
        let others = amounts.filter(|(key, _)| Resource::of(key.as_str()).is_none());
        Self(others.collect())
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Reads at most [`MAX_REPORT_KEYS`], and ignores keys that cannot be a license's.
impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("amounts by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
                let mut amounts = BTreeMap::new();
                while amounts.len() < MAX_REPORT_KEYS
                    && let Some((key, amount)) = map.next_entry::<String, u64>()?
                {
                    if let Ok(key) = FeatureKey::parse(&key) {
                        amounts.insert(key, amount);
                    }
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(amounts.into_iter().collect())
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
