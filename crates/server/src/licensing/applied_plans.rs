//! What a plan file changes.

use license_core::catalogue::CatalogueEntry;

use crate::store::plans::PublishedPlan;

/// What was different from a plan file.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The entries of the catalogue that were added or described again.
    pub entries: Vec<Replaced<CatalogueEntry>>,
    /// The versions that were published.
    pub plans: Vec<Replaced<PublishedPlan>>,
}

/// Something new, and what was there before.
#[derive(Clone, Debug)]
pub struct Replaced<T> {
    /// What was there before.
    pub before: Option<T>,
    /// What is there now.
    pub after: T,
}
