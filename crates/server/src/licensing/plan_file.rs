//! A reviewed file of plans, in TOML.

use std::collections::BTreeMap;

use license_core::catalogue::CatalogueEntry;
use license_core::plan::Plan;
use serde::Deserialize;

/// What a file says. Its fields are named as in the API.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Entries of the catalogue.
    #[serde(default)]
    pub catalogue: Vec<CatalogueEntry>,
    /// Plans, by name.
    #[serde(default)]
    pub plans: BTreeMap<String, Plan>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It is not TOML, or has other fields than expected.
    #[error("the file is not a plan file: {0}")]
    Toml(#[from] toml::de::Error),
    /// It says nothing.
    #[error("the file contains neither [[catalogue]] nor [plans.NAME]")]
    Empty,
}

impl PlanFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PlanFileError`], with the line.
    pub fn parse(text: &str) -> Result<Self, PlanFileError> {
        let file: Self = toml::from_str(text)?;
        match file.catalogue.is_empty() && file.plans.is_empty() {
            true => Err(PlanFileError::Empty),
            false => Ok(file),
        }
    }
}
