//! Find and publish plans, and apply a file of them.
//!
//! A published version never changes: other contents become the next version.

use std::collections::BTreeMap;

use chrono::SubsecRound as _;
use license_core::amendment::PlanVersion;
use license_core::catalogue::{Catalogue, CatalogueEntry, InvalidEntry};
use license_core::plan::{InvalidPlan, Plan, PlanChoice, check_name};
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::audit::{Action, Change};
use crate::licensing::applied_plans::{Applied, Replaced};
use crate::licensing::known_plans::KnownPlans;
use crate::licensing::plan_file::PlanFile;
use crate::store::locks::{self, Lock};
use crate::store::plans::{self, PublishedPlan};
use crate::store::{Store, StoreError, catalogue};

/// Maximum number of plans.
pub const MAX_PLANS: u64 = 1000;
/// Maximum number of versions of a plan.
pub const MAX_VERSIONS: u32 = 1000;
/// Maximum size of the newest versions of all plans together, and of all versions of one plan, in bytes
/// of JSON: forms and lists read all of them.
pub const MAX_PLANS_BYTES: u64 = 4 * 1024 * 1024;
/// Maximum number of entries in the catalogue.
pub const MAX_CATALOGUE_ENTRIES: u64 = 1000;

/// Why a plan was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindPlanError {
    /// There is no plan of this name.
    #[error("there is no plan '{0}'; 'license-server plans list' lists the plans")]
    Unknown(String),
    /// The plan does not have this version.
    #[error("the plan '{name}' has no version {version}; the newest is {newest}")]
    UnknownVersion {
        /// The plan.
        name: String,
        /// The version.
        version: u32,
        /// The newest version.
        newest: u32,
    },
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The version of a plan that is asked for.
///
/// # Errors
/// One [`FindPlanError`] for each reason that there is none.
pub async fn find_plan(
    db: &impl ConnectionTrait,
    choice: &PlanChoice,
) -> Result<PublishedPlan, FindPlanError> {
    let PlanChoice { name, version } = choice;
    if let Some(found) = plans::find(db, name, *version).await? {
        return Ok(found);
    }
    let newest = plans::find(db, name, None).await?;
    Err(match (newest, version) {
        (Some(newest), Some(version)) => FindPlanError::UnknownVersion {
            name: name.clone(),
            version: *version,
            newest: newest.version.version,
        },
        _ => FindPlanError::Unknown(name.clone()),
    })
}

/// All versions of a plan, newest first.
///
/// # Errors
/// [`FindPlanError::Unknown`], or if the database returns an error.
pub async fn plan_versions(
    db: &impl ConnectionTrait,
    name: &str,
) -> Result<Vec<PublishedPlan>, FindPlanError> {
    let unknown = || FindPlanError::Unknown(name.to_owned());
    check_name(name).map_err(|_| unknown())?;
    let versions = plans::versions(db, name).await?;
    match versions.is_empty() {
        true => Err(unknown()),
        false => Ok(versions),
    }
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A plan is invalid. Names of fields are those of the API.
    #[error("the plan '{name}' has an {error}")]
    Plan {
        /// The plan.
        name: String,
        /// The field, and what is wrong with it.
        error: InvalidPlan,
    },
    /// An entry of the catalogue is invalid.
    #[error("the catalogue entry '{key}' has an invalid {error}")]
    Entry {
        /// The entry.
        key: String,
        /// The field, and what is wrong with it.
        error: InvalidEntry,
    },
    /// The catalogue lists a key twice.
    #[error("the catalogue lists '{0}' twice")]
    EntryTwice(String),
    /// Licenses already grant it as something else.
    #[error(
        "the catalogue entry '{0}' has an invalid kind: the kind cannot be changed; use another \
         key"
    )]
    Kind(String),
    /// The version is not the next one of the plan.
    #[error("invalid version: the next version of the plan '{name}' is {next}, not {version}")]
    NotNext {
        /// The plan.
        name: String,
        /// The version that was asked for.
        version: u32,
        /// The next version.
        next: u32,
    },
    /// Others have published the same version at the same time.
    #[error("the plan '{0}' was changed at the same time; review the new version, and try again")]
    Raced(String),
    /// Others have changed the entry in the meantime.
    #[error(
        "the catalogue entry '{0}' was changed in the meantime; review the change, and try again"
    )]
    EntryChanged(String),
    /// There is no room for more.
    #[error(
        "there are {MAX_PLANS} plans already, and plans cannot be deleted; publish a version of an \
         existing plan, or issue licenses that differ from their plan"
    )]
    TooManyPlans,
    /// There is no room for more contents.
    #[error(
        "the newest versions of all plans would be {0} bytes long together; the maximum is \
         {MAX_PLANS_BYTES}: publish plans with fewer entitlements"
    )]
    PlansTooLong(u64),
    /// There is no room for another version with these contents.
    #[error(
        "with this version, the versions of the plan '{name}' would be {bytes} bytes long; the \
         maximum is {MAX_PLANS_BYTES}: publish a plan with another name"
    )]
    VersionsTooLong {
        /// The plan.
        name: String,
        /// The size of all versions, in bytes of JSON.
        bytes: u64,
    },
    /// There is no room for another version.
    #[error("the plan '{0}' has {MAX_VERSIONS} versions already; publish a plan with another name")]
    TooManyVersions(String),
    /// There is no room for another entry.
    #[error(
        "the catalogue has {MAX_CATALOGUE_ENTRIES} entries already, and entries cannot be deleted; \
         replace the description of an entry that is no longer sold"
    )]
    TooManyEntries,
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the catalogue and the newest versions of plans those of a file, all of them or none. What
/// the file does not name stays unchanged. Without `is_stored`, tells what would be done.
///
/// # Errors
/// One [`PublishError`] for each reason; nothing has changed then.
pub async fn apply(
    store: &Store,
    file: &PlanFile,
    change: &Change,
    is_stored: bool,
) -> Result<Applied, PublishError> {
    apply_over(store, file, &KnownPlans::default(), change, is_stored).await
}

/// The same, unless others have changed what is replaced since it was `known`: then the error is
/// [`PublishError::NotNext`] or [`PublishError::EntryChanged`].
///
/// # Errors
/// As [`apply`].
pub async fn apply_over(
    store: &Store,
    file: &PlanFile,
    known: &KnownPlans,
    change: &Change,
    is_stored: bool,
) -> Result<Applied, PublishError> {
    repeated(|| try_apply(store, file, known, change, is_stored)).await
}

async fn try_apply(
    store: &Store,
    file: &PlanFile,
    known: &KnownPlans,
    change: &Change,
    is_stored: bool,
) -> Result<Applied, PublishError> {
    let transaction = store.begin().await?;
    let entries = save_entries(&transaction, &file.catalogue, known, change).await?;
    let kinds = catalogue::kinds(&transaction).await?;
    let mut published = Vec::new();
    for (name, contents) in &file.plans {
        let next = Next {
            name,
            version: known.next_version(name),
            contents,
        };
        published.extend(publish_next(&transaction, next, &kinds, change).await?);
    }
    if !published.is_empty() {
        check_all(&transaction).await?;
    }
    if is_stored {
        transaction.commit().await.map_err(StoreError::from)?;
    }
    Ok(Applied {
        entries,
        plans: published,
    })
}

/// Publishes the contents of a plan as its next version. Returns the newest version, and whether it
/// is new: the same contents are not published twice. A `version` must be that version.
///
/// # Errors
/// One [`PublishError`] for each reason; nothing has changed then.
pub async fn publish(
    store: &Store,
    name: &str,
    version: Option<u32>,
    contents: &Plan,
    change: &Change,
) -> Result<(PublishedPlan, bool), PublishError> {
    repeated(|| try_publish(store, name, version, contents, change)).await
}

async fn try_publish(
    store: &Store,
    name: &str,
    version: Option<u32>,
    contents: &Plan,
    change: &Change,
) -> Result<(PublishedPlan, bool), PublishError> {
    let transaction = store.begin().await?;
    let kinds = catalogue::kinds(&transaction).await?;
    let next = Next {
        name,
        version,
        contents,
    };
    let Some(published) = publish_next(&transaction, next, &kinds, change).await? else {
        let newest = plans::find(&transaction, name, None).await?;
        let newest = newest.filter(|it| version.is_none_or(|asked| asked == it.version.version));
        let newest = newest.map(|it| (it, false));
        return newest.ok_or_else(|| PublishError::Raced(name.to_owned()));
    };
    check_all(&transaction).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok((published.after, true))
}

/// Stores the entries that are new or different.
async fn save_entries(
    db: &impl ConnectionTrait,
    entries: &[CatalogueEntry],
    known: &KnownPlans,
    change: &Change,
) -> Result<Vec<Replaced<CatalogueEntry>>, PublishError> {
    if !entries.is_empty() {
        // Before they are read: the kind of an entry never changes.
        locks::hold(db, Lock::Catalogue).await?;
    }
    let stored = catalogue::list(db).await?;
    let stored = stored.into_iter().map(|it| (it.key.clone(), it));
    let mut stored: BTreeMap<String, CatalogueEntry> = stored.collect();
    let mut seen = std::collections::BTreeSet::new();
    let mut saved = Vec::new();
    for entry in entries {
        let key = &entry.key;
        if !seen.insert(key) {
            return Err(PublishError::EntryTwice(key.clone()));
        }
        entry.check().map_err(|error| PublishError::Entry {
            key: key.clone(),
            error,
        })?;
        let before = stored.insert(key.clone(), entry.clone());
        if before.as_ref().is_some_and(|it| it.kind != entry.kind) {
            return Err(PublishError::Kind(key.clone()));
        }
        if before.as_ref() == Some(entry) {
            continue;
        }
        if !known.has_entry(key, before.as_ref()) {
            return Err(PublishError::EntryChanged(key.clone()));
        }
        let saving = catalogue::save(db, entry);
        match &before {
            Some(_) => saving.await?,
            None => {
                let (max, count) = (MAX_CATALOGUE_ENTRIES, catalogue::count(db));
                let added = locks::add_within(db, Lock::Catalogue, max, count, saving).await?;
                added.ok_or(PublishError::TooManyEntries)?;
            }
        }
        let details = json!(entry);
        change
            .note_other(db, Action::CatalogueChanged, key, details)
            .await?;
        saved.push(Replaced {
            before,
            after: entry.clone(),
        });
    }
    Ok(saved)
}

/// The next version of a plan.
struct Next<'a> {
    name: &'a str,
    /// What it has to be; `None` for any.
    version: Option<u32>,
    contents: &'a Plan,
}

/// Publishes the next version of a plan; `None` if its newest version has these contents.
async fn publish_next(
    db: &impl ConnectionTrait,
    next: Next<'_>,
    kinds: &Catalogue,
    change: &Change,
) -> Result<Option<Replaced<PublishedPlan>>, PublishError> {
    let Next { name, contents, .. } = next;
    let invalid = |error| PublishError::Plan {
        name: name.to_owned(),
        error,
    };
    check_name(name).map_err(invalid)?;
    let before = plans::find(db, name, None).await?;
    if before.as_ref().is_some_and(|it| it.contents == *contents) {
        return Ok(None);
    }
    contents.check(kinds).map_err(invalid)?;
    let version = before.as_ref().map_or(0, |it| it.version.version) + 1;
    if let Some(asked) = next.version.filter(|asked| *asked != version) {
        return Err(PublishError::NotNext {
            name: name.to_owned(),
            version: asked,
            next: version,
        });
    }
    if version > MAX_VERSIONS {
        return Err(PublishError::TooManyVersions(name.to_owned()));
    }
    let after = PublishedPlan {
        version: PlanVersion {
            name: name.to_owned(),
            version,
        },
        published_at: Some(change.at.trunc_subsecs(0)),
        author: change.by.to_string(),
        contents: contents.clone(),
    };
    // Also for what all plans contain together.
    locks::hold(db, Lock::Plans).await?;
    let inserting = plans::insert(db, &after);
    let inserted = match &before {
        Some(_) => inserting.await.map(Some),
        None => locks::add_within(db, Lock::Plans, MAX_PLANS, plans::count(db), inserting).await,
    };
    let inserted = inserted.map_err(|error| match error.is_taken() {
        true => PublishError::Raced(name.to_owned()),
        false => error.into(),
    })?;
    inserted.ok_or(PublishError::TooManyPlans)?;
    check_versions(db, name).await?;
    let subject = after.version.to_string();
    let details = json!(contents);
    change
        .note_other(db, Action::PlanPublished, &subject, details)
        .await?;
    Ok(Some(Replaced { before, after }))
}

/// Checks how large all plans have become together.
async fn check_all(db: &impl ConnectionTrait) -> Result<(), PublishError> {
    match plans::bytes_of_newest(db).await? {
        0..=MAX_PLANS_BYTES => Ok(()),
        bytes => Err(PublishError::PlansTooLong(bytes)),
    }
}

/// Checks how large the versions of a plan have become together.
async fn check_versions(db: &impl ConnectionTrait, name: &str) -> Result<(), PublishError> {
    match plans::bytes_of_plan(db, name).await? {
        0..=MAX_PLANS_BYTES => Ok(()),
        bytes => Err(PublishError::VersionsTooLong {
            name: name.to_owned(),
            bytes,
        }),
    }
}
