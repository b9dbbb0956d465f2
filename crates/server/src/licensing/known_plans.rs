//! What the author of a plan file knew about what the file replaces, so that changes of others are
//! not overwritten without being seen.

use std::collections::BTreeMap;

use license_core::catalogue::CatalogueEntry;
use license_core::plan::check_name;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};

use crate::licensing::applied_plans::Replaced;
use crate::licensing::plan_file::PlanFile;
use crate::licensing::plan_words::{Difference, entry_difference, plan_difference};
use crate::store::plans::PublishedPlan;
use crate::store::{StoreError, catalogue, plans};

/// Some plans and entries of the catalogue as they were at a time. In JSON, it passes through a form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownPlans {
    /// The newest version of each plan; 0 if there was none.
    plans: BTreeMap<String, u32>,
    /// The entries; `None` for those that did not exist.
    entries: BTreeMap<String, Option<CatalogueEntry>>,
}

impl KnownPlans {
    /// This version as the newest one of its plan.
    #[must_use]
    pub fn of_plan(newest: &PublishedPlan) -> Self {
        let version = &newest.version;
        Self {
            plans: BTreeMap::from([(version.name.clone(), version.version)]),
            ..Self::default()
        }
    }

    /// These entries.
    #[must_use]
    pub fn of_entries(entries: &[CatalogueEntry]) -> Self {
        let entries = entries.iter().map(|it| (it.key.clone(), Some(it.clone())));
        Self {
            entries: entries.collect(),
            ..Self::default()
        }
    }

    /// What everything is now that a file names.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn read(db: &impl ConnectionTrait, file: &PlanFile) -> Result<Self, StoreError> {
        let mut known = Self::default();
        for name in file.plans.keys() {
            let version = newest(db, name).await?.map_or(0, |it| it.version.version);
            known.plans.insert(name.clone(), version);
        }
        let mut entries = entries(db).await?;
        for entry in &file.catalogue {
            let now = entries.remove(&entry.key);
            known.entries.entry(entry.key.clone()).or_insert(now);
        }
        Ok(known)
    }

    /// The same with what only `other` knows.
    #[must_use]
    pub fn completed(mut self, other: Self) -> Self {
        for (name, version) in other.plans {
            self.plans.entry(name).or_insert(version);
        }
        for (key, entry) in other.entries {
            self.entries.entry(key).or_insert(entry);
        }
        self
    }

    /// What others have changed since then of what a file names.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn changed_since(
        &self,
        db: &impl ConnectionTrait,
        file: &PlanFile,
    ) -> Result<Vec<Difference>, StoreError> {
        let mut changed = Vec::new();
        let mut entries = entries(db).await?;
        for CatalogueEntry { key, .. } in &file.catalogue {
            let (Some(before), Some(after)) = (self.entries.get(key), entries.remove(key)) else {
                continue;
            };
            if before.as_ref() != Some(&after) {
                let before = before.clone();
                changed.push(entry_difference(&Replaced { before, after }));
            }
        }
        for name in file.plans.keys() {
            let version = self.plans.get(name).copied();
            let after = newest(db, name).await?;
            let Some(after) = after.filter(|it| Some(it.version.version) != version) else {
                continue;
            };
            let before = plans::find(db, name, Some(version.unwrap_or_default())).await?;
            let mut difference = plan_difference(&Replaced {
                before,
                after: after.clone(),
            });
            difference
                .heading
                .push_str(&format!(", by {}", after.author));
            changed.push(difference);
        }
        Ok(changed)
    }

    /// The version that a plan has next; `None` if it is not known.
    pub(super) fn next_version(&self, name: &str) -> Option<u32> {
        Some(self.plans.get(name)?.saturating_add(1))
    }

    /// Whether an entry is what was known, or is not known.
    pub(super) fn has_entry(&self, key: &str, now: Option<&CatalogueEntry>) -> bool {
        let known = self.entries.get(key);
        known.is_none_or(|known| known.as_ref() == now)
    }
}

/// No plan has a name with a NUL character, which PostgreSQL does not accept.
async fn newest(
    db: &impl ConnectionTrait,
    name: &str,
) -> Result<Option<PublishedPlan>, StoreError> {
    match check_name(name) {
        Ok(()) => plans::find(db, name, None).await,
        Err(_) => Ok(None),
    }
}

async fn entries(
    db: &impl ConnectionTrait,
) -> Result<BTreeMap<String, CatalogueEntry>, StoreError> {
    let entries = catalogue::list(db).await?.into_iter();
    Ok(entries.map(|it| (it.key.clone(), it)).collect())
}
