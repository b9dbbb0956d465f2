//! What can be sold: the features, and what is counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entitlement::Quantity;
use crate::feature::{FeatureKey, is_core};

/// Maximum length of a name and of a unit in the catalogue, in characters: the width of their
/// columns.
pub const MAX_NAME_CHARS: usize = 100;
/// Maximum length of a description in the catalogue, in characters.
pub const MAX_DESCRIPTION_CHARS: usize = 1000;

/// Whether something is on or off, or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A feature, which is on or off.
    Feature,
    /// Something of which a license grants a number.
    Count,
}

impl Kind {
    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Count => "count",
        }
    }

    /// The kind with this code.
    #[must_use]
    pub fn of(code: &str) -> Option<Self> {
        [Self::Feature, Self::Count]
            .into_iter()
            .find(|kind| kind.as_str() == code)
    }
}

/// Something that can be sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogueEntry {
    /// The feature, or what is counted.
    pub key: String,
    /// What it is.
    pub kind: Kind,
    /// Its name, for people.
    pub name: String,
    /// What one of it is called, for people; empty for a feature.
    #[serde(default)]
    pub unit: String,
    /// What it is good for; may be empty.
    #[serde(default)]
    pub description: String,
}

/// Why an entry is not accepted: the field and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct InvalidEntry {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl CatalogueEntry {
    /// Checks the lengths and forms of all fields.
    ///
    /// # Errors
    /// The first field that is not accepted.
    pub fn check(&self) -> Result<(), InvalidEntry> {
        let invalid = |field, why| Err(InvalidEntry { field, why });
        if let Err(error) = FeatureKey::parse(&self.key) {
            return invalid("key", error.to_string());
        }
        if is_core(&self.key) {
            let why = "core features are part of every license and cannot be sold".to_owned();
            return invalid("key", why);
        }
        if self.name.is_empty() {
            return invalid("name", "missing".to_owned());
        }
        for (field, text, max) in [
            ("name", &self.name, MAX_NAME_CHARS),
            ("unit", &self.unit, MAX_NAME_CHARS),
            ("description", &self.description, MAX_DESCRIPTION_CHARS),
        ] {
            if text.chars().count() > max || text.contains('\0') {
                return invalid(field, format!("limited to {max} characters"));
            }
        }
        Ok(())
    }
}

/// Why something cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSold {
    /// The catalogue does not contain it.
    #[error(
        "'{0}' is not in the catalogue; check the spelling, or add it in the console or with \
         'license-server plans apply'"
    )]
    Unknown(String),
    /// Something that is counted needs a quantity.
    #[error("a quantity is required, because '{0}' is counted")]
    QuantityMissing(String),
    /// A feature has no quantity.
    #[error("a quantity is not allowed, because '{0}' is a feature")]
    QuantityUnexpected(String),
}

impl NotSold {
    /// The field of the entitlement that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "key",
            Self::QuantityMissing(_) | Self::QuantityUnexpected(_) => "quantity",
        }
    }
}

/// The kind of everything that can be sold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue(BTreeMap<String, Kind>);

impl Catalogue {
    /// The kind of something; `None` if it cannot be sold. Core features are known, because older
    /// licenses list them.
    #[must_use]
    pub fn kind(&self, key: &str) -> Option<Kind> {
        let known = self.0.get(key).copied();
        known.or_else(|| is_core(key).then_some(Kind::Feature))
    }

    /// Checks whether something can be granted with a quantity, or without one.
    ///
    /// # Errors
    /// [`NotSold`].
    pub fn check(&self, key: &str, quantity: Option<Quantity>) -> Result<(), NotSold> {
        match (self.kind(key), quantity) {
            (None, _) => Err(NotSold::Unknown(key.to_owned())),
            (Some(Kind::Count), None) => Err(NotSold::QuantityMissing(key.to_owned())),
            (Some(Kind::Feature), Some(_)) => Err(NotSold::QuantityUnexpected(key.to_owned())),
            (Some(Kind::Count), Some(_)) | (Some(Kind::Feature), None) => Ok(()),
        }
    }
}

impl<'a> FromIterator<&'a CatalogueEntry> for Catalogue {
    fn from_iter<T: IntoIterator<Item = &'a CatalogueEntry>>(entries: T) -> Self {
        let kinds = entries.into_iter().map(|it| (it.key.clone(), it.kind));
        Self(kinds.collect())
    }
}
