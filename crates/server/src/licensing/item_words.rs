//! What is sold in words, for people: by the names of the catalogue.

use std::collections::BTreeMap;

use license_core::catalogue::CatalogueEntry;
use license_core::entitlement::{Entitlement, Quantity};
use license_core::folded_text::folded;
use sea_orm::ConnectionTrait;

use crate::store::{StoreError, catalogue};

/// The entries of the catalogue by their keys. What the catalogue does not have is called by its
/// key.
#[derive(Clone, Debug, Default)]
pub struct ItemNames(BTreeMap<String, CatalogueEntry>);

impl ItemNames {
    /// The names of everything in the catalogue.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn read(db: &impl ConnectionTrait) -> Result<Self, StoreError> {
        Ok(catalogue::list(db).await?.into_iter().collect())
    }

    /// The entries, by key.
    pub fn entries(&self) -> impl Iterator<Item = &CatalogueEntry> {
        self.0.values()
    }

    /// The entry with this key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&CatalogueEntry> {
        self.0.get(key)
    }

    /// What it is called, with the unit if the name does not contain it: `Storage, GB`.
    #[must_use]
    pub fn name(&self, key: &str) -> String {
        let Some(entry) = self.0.get(key) else {
            return key.to_owned();
        };
        match entry.unit.is_empty() || names_unit(entry) {
            true => entry.name.clone(),
            false => format!("{}, {}", entry.name, entry.unit),
        }
    }

    /// A feature, or so much of what is counted: `Map`, `16 cameras`, `1 camera`, `500 GB storage`.
    #[must_use]
    pub fn granted(&self, key: &str, quantity: Option<Quantity>) -> String {
        let Some(quantity) = quantity else {
            return self.name(key);
        };
        let number = quantity_words(quantity);
        match self.0.get(key) {
            None => format!("{number} {key}"),
            Some(entry) if entry.unit.is_empty() || quantity == Quantity::Unlimited => {
                format!("{number} {}", within_text(entry))
            }
            Some(entry) if !names_unit(entry) => {
                format!("{number} {} {}", entry.unit, within_text(entry))
            }
            Some(entry) if quantity == Quantity::Of(1) => format!("{number} {}", entry.unit),
            Some(entry) => format!("{number} {}", within_text(entry)),
        }
    }

    /// What follows the number in [`Self::granted`]: for one, for several, and for an unlimited
    /// quantity.
    #[must_use]
    pub fn after_number(&self, key: &str) -> [String; 3] {
        [Quantity::Of(1), Quantity::Of(2), Quantity::Unlimited].map(|quantity| {
            let granted = self.granted(key, Some(quantity));
            let rest = granted.split_once(' ').map(|(_, rest)| rest.to_owned());
            rest.unwrap_or(granted)
        })
    }

    /// [`Self::granted`] for an entitlement, without its time.
    #[must_use]
    pub fn entitled(&self, entitlement: &Entitlement) -> String {
        self.granted(entitlement.key.as_str(), entitlement.quantity)
    }
}

impl FromIterator<CatalogueEntry> for ItemNames {
    fn from_iter<T: IntoIterator<Item = CatalogueEntry>>(entries: T) -> Self {
        let entries = entries.into_iter().map(|it| (it.key.clone(), it));
        Self(entries.collect())
    }
}

/// A number, or that there is none.
#[must_use]
pub fn quantity_words(quantity: Quantity) -> String {
    let number = quantity.number();
    number.map_or("unlimited".to_owned(), |number| number.to_string())
}

/// Whether the name says what is counted, as in "ANPR lanes" with the unit "lane".
fn names_unit(entry: &CatalogueEntry) -> bool {
    folded(&entry.name).contains(&folded(&entry.unit))
}

/// The name as it is written within a sentence. Abbreviations keep their capitals.
fn within_text(entry: &CatalogueEntry) -> String {
    let mut chars = entry.name.chars();
    let (first, second) = (chars.next(), chars.clone().next());
    match (first, second) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => entry.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use license_core::catalogue::Kind;

    use super::*;

    fn names() -> ItemNames {
        let entry = |key: &str, kind, name: &str, unit: &str| CatalogueEntry {
            key: key.to_owned(),
            kind,
            name: name.to_owned(),
            unit: unit.to_owned(),
            description: String::new(),
        };
        [
            entry("cameras", Kind::Count, "Cameras", "camera"),
            entry("storage_gb", Kind::Count, "Storage", "GB"),
            entry("anpr_lanes", Kind::Count, "ANPR lanes", "lane"),
            entry("doors", Kind::Count, "Doors", ""),
            entry("module.map_view", Kind::Feature, "Map", ""),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_number_is_followed_by_the_same_words() {
        for (key, expected) in [
            ("cameras", ["camera", "cameras", "cameras"]),
            ("storage_gb", ["GB storage", "GB storage", "storage"]),
            ("anpr_lanes", ["lane", "ANPR lanes", "ANPR lanes"]),
            ("gates", ["gates", "gates", "gates"]),
        ] {
            assert_eq!(names().after_number(key), expected, "{key}");
        }
    }

    #[test]
    fn what_is_granted_reads_like_a_sentence() {
        for (key, quantity, expected) in [
            ("cameras", Some(Quantity::Of(16)), "16 cameras"),
            ("cameras", Some(Quantity::Of(1)), "1 camera"),
            ("cameras", Some(Quantity::Unlimited), "unlimited cameras"),
            ("storage_gb", Some(Quantity::Of(500)), "500 GB storage"),
            ("storage_gb", Some(Quantity::Unlimited), "unlimited storage"),
            ("anpr_lanes", Some(Quantity::Of(8)), "8 ANPR lanes"),
            ("doors", Some(Quantity::Of(2)), "2 doors"),
            ("gates", Some(Quantity::Of(2)), "2 gates"),
            ("module.map_view", None, "Map"),
            ("module.other", None, "module.other"),
        ] {
            assert_eq!(names().granted(key, quantity), expected, "{key}");
        }
    }

    #[test]
    fn a_unit_is_named_unless_the_name_does() {
        assert_eq!(names().name("storage_gb"), "Storage, GB");
        assert_eq!(names().name("anpr_lanes"), "ANPR lanes");
        assert_eq!(names().name("gates"), "gates");
    }
}
