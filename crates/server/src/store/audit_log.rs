//! `audit_log`: changes and their authors. Rows are only added, never changed.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::StoreError;
use super::page::Page;
use super::page_bytes::page;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    at: NaiveDateTime,
    actor: String,
    source: Option<String>,
    action: String,
    license_id: Option<String>,
    subject: String,
    details: Option<Json>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[]).append_only()
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct Entry {
    /// Grows with every entry. 0 until it is stored.
    pub number: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// The author: the name of a token, `break-glass` for the `ADMIN_TOKEN`, `command line`, `site`
    /// or `service`. In entries from before named tokens existed, it also contains what is now in
    /// `source`.
    pub actor: String,
    /// From where staff made the change: `console from 10.0.0.5` or `API from 10.0.0.5`; `null` for
    /// other authors.
    pub source: Option<String>,
    /// The action: `issued`, `renewed`, `amended`, `suspended`, `reinstated`, `revoked`, `seat_taken`,
    /// `seat_given_back`, `installation_changed`, `installation_key_unbound`, `proof_rule_changed`,
    /// `seat_freed`, `seat_moved`, `seat_released`,
    /// `offline_signed`, `site_entries_limited`, `site_entries_counted`, `key_made`, `key_revoked`,
    /// `keys_unchanged`, `keys_accepted`, `release_signed`, `clock_accepted`, `plan_published`,
    /// `catalogue_changed`, `answer_withheld`, `token_added`, `token_revoked`, `customer_added`,
    /// `customer_changed` or `customer_merged`.
    pub action: String,
    /// The id of the license; `null` if the entry is not about a license.
    pub license_id: Option<String>,
    /// The masked license key, the hardware id, the key id, the version of the release, the plan with
    /// its version, the key of the catalogue entry, the name of the token, or the id of the customer.
    pub subject: String,
    /// Further details.
    #[schema(value_type = Option<Object>)]
    pub details: Option<Value>,
}

/// A position in the log, read from the newest entry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditCursor {
    /// Older entries follow.
    pub before: i64,
}

/// Filters of entries.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those about this license.
    pub license_id: Option<String>,
    /// Only those older than this one.
    pub before: Option<i64>,
    /// Only those newer than this one.
    pub after: Option<i64>,
}

/// Adds an entry.
///
/// # Errors
/// If the database returns an error.
pub async fn append(db: &impl ConnectionTrait, entry: Entry) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        at: ActiveValue::Set(entry.at.naive_utc()),
        actor: ActiveValue::Set(entry.actor),
        source: ActiveValue::Set(entry.source),
        action: ActiveValue::Set(entry.action),
        license_id: ActiveValue::Set(entry.license_id),
        subject: ActiveValue::Set(entry.subject),
        details: ActiveValue::Set(entry.details),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// The newest entries, newest first: at most `most`, and no more than fit on a page.
///
/// # Errors
/// If the database returns an error.
pub async fn newest(
    db: &impl ConnectionTrait,
    filter: &Filter,
    most: u64,
) -> Result<Vec<Entry>, StoreError> {
    Ok(newest_page(db, filter, most).await?.rows)
}

/// The oldest entries, oldest first: at most `most`, and no more than fit on a page.
///
/// # Errors
/// If the database returns an error.
pub async fn oldest(
    db: &impl ConnectionTrait,
    filter: &Filter,
    most: u64,
) -> Result<Vec<Entry>, StoreError> {
    let found = filtered(filter).order_by_asc(Column::Id);
    Ok(page(db, found, most).await?.map(Entry::from).rows)
}

/// A page of the newest entries, newest first: at most `most`.
///
/// # Errors
/// If the database returns an error.
pub async fn newest_page(
    db: &impl ConnectionTrait,
    filter: &Filter,
    most: u64,
) -> Result<Page<Entry>, StoreError> {
    let found = filtered(filter).order_by_desc(Column::Id);
    Ok(page(db, found, most).await?.map(Entry::from))
}

/// Whether there is any entry about this.
///
/// # Errors
/// If the database returns an error.
pub async fn any_of(db: &impl ConnectionTrait, action: &str) -> Result<bool, StoreError> {
    let found = Entity::find().filter(Column::Action.eq(action));
    Ok(found.one(db).await?.is_some())
}

/// Whether there is any entry.
///
/// # Errors
/// If the database returns an error.
pub async fn any(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Entity::find().one(db).await?.is_some())
}

/// Whether there is an entry about this and no license, at `from` or later.
///
/// # Errors
/// If the database returns an error.
pub async fn any_of_service(
    db: &impl ConnectionTrait,
    action: &str,
    from: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let found = Entity::find()
        .filter(Column::LicenseId.is_null())
        .filter(Column::At.gte(from.naive_utc()))
        .filter(Column::Action.eq(action));
    Ok(found.one(db).await?.is_some())
}

/// Whether there is an entry about this and this machine of a license, at `from` or later.
///
/// # Errors
/// If the database returns an error.
pub async fn any_of_machine(
    db: &impl ConnectionTrait,
    action: &str,
    license_id: &str,
    hardware_id: &str,
    from: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let found = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::Subject.eq(hardware_id))
        .filter(Column::At.gte(from.naive_utc()))
        .filter(Column::Action.eq(action));
    Ok(found.one(db).await?.is_some())
}

fn filtered(filter: &Filter) -> Select<Entity> {
    let mut found = Entity::find();
    if let Some(license_id) = &filter.license_id {
        found = found.filter(Column::LicenseId.eq(license_id));
    }
    if let Some(before) = filter.before {
        found = found.filter(Column::Id.lt(before));
    }
    if let Some(after) = filter.after {
        found = found.filter(Column::Id.gt(after));
    }
    found
}

impl From<Model> for Entry {
    fn from(row: Model) -> Self {
        Self {
            number: row.id,
            at: row.at.and_utc(),
            actor: row.actor,
            source: row.source,
            action: row.action,
            license_id: row.license_id,
            subject: row.subject,
            details: row.details,
        }
    }
}
