//! `trial_codes`: the codes that start trials, and how many each has started. A row contains the hash
//! of its code. One row without a hash counts the trials that were started without a code.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use license_core::issued_code::IssuedCode;
use license_core::trial::Allowance;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, LockType};
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _,
};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::page::{Page, Storable};
use super::page_bytes::page;

/// The id of the row that counts the trials without a code.
pub const WITHOUT_CODE: &str = "00000000-0000-0000-0000-000000000000";

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "trial_codes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: String,
    code_hash: Option<String>,
    code_masked: String,
    plan: String,
    max_starts: Option<i32>,
    max_a_day: i32,
    ends_at: Option<NaiveDateTime>,
    note: Option<String>,
    created_at: NaiveDateTime,
    created_by: String,
    withdrawn_at: Option<NaiveDateTime>,
    withdrawn_by: Option<String>,
    started: i32,
    day: Option<NaiveDate>,
    started_on_day: i32,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::Id], &[Column::CodeHash]])
}

/// A trial code, without the code itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTrialCode {
    /// UUID.
    pub id: String,
    /// The beginning and the end of the code; empty for the row without a code.
    pub masked: String,
    /// The plan of its trials, with the version; empty for the row without a code.
    pub plan: String,
    /// How many trials it starts, and how many it has started.
    pub allowance: Allowance,
    /// For people.
    pub note: Option<String>,
    /// When it was created …
    pub created_at: DateTime<Utc>,
    /// … and by whom.
    pub created_by: String,
    /// When it was withdrawn …
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// … and by whom.
    pub withdrawn_by: Option<String>,
}

/// A position in the list of codes, which begins with the newest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrialCodesCursor {
    /// When the last one was created.
    pub created_at: Storable<DateTime<Utc>>,
    /// Its id.
    pub id: String,
}

/// Adds a code.
///
/// # Errors
/// If the database returns an error, for example because the code exists.
pub async fn insert(
    db: &impl ConnectionTrait,
    code: &IssuedCode,
    stored: &StoredTrialCode,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        code_hash: ActiveValue::Set(Some(code.hash())),
        ..row(stored)
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// Stores a code that is locked.
///
/// # Errors
/// If the database returns an error.
pub async fn save(db: &impl ConnectionTrait, stored: &StoredTrialCode) -> Result<(), StoreError> {
    Ok(writes::save(db, &row(stored)).await?)
}

fn row(stored: &StoredTrialCode) -> ActiveModel {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let allowance = &stored.allowance;
    ActiveModel {
        id: ActiveValue::Set(stored.id.clone()),
        code_hash: ActiveValue::NotSet,
        code_masked: ActiveValue::Set(stored.masked.clone()),
        plan: ActiveValue::Set(stored.plan.clone()),
        max_starts: ActiveValue::Set(allowance.max.map(number)),
        max_a_day: ActiveValue::Set(number(allowance.max_a_day)),
        ends_at: ActiveValue::Set(allowance.ends_at.map(|at| at.naive_utc())),
        note: ActiveValue::Set(stored.note.clone()),
        created_at: ActiveValue::Set(stored.created_at.naive_utc()),
        created_by: ActiveValue::Set(stored.created_by.clone()),
        withdrawn_at: ActiveValue::Set(stored.withdrawn_at.map(|at| at.naive_utc())),
        withdrawn_by: ActiveValue::Set(stored.withdrawn_by.clone()),
        started: ActiveValue::Set(number(allowance.started)),
        day: ActiveValue::Set(allowance.day),
        started_on_day: ActiveValue::Set(number(allowance.started_on_day)),
    }
}

/// The code.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    code: &IssuedCode,
) -> Result<Option<StoredTrialCode>, StoreError> {
    let found = Entity::find().filter(Column::CodeHash.eq(code.hash()));
    Ok(found.one(db).await?.map(StoredTrialCode::from))
}

/// The code with this id.
///
/// # Errors
/// If the database returns an error.
pub async fn find_by_id(
    db: &impl ConnectionTrait,
    id: &str,
) -> Result<Option<StoredTrialCode>, StoreError> {
    let found = Entity::find_by_id(id).one(db).await?;
    Ok(found.map(StoredTrialCode::from))
}

/// Locks a code until the transaction ends, and returns its current state: other changes to it wait.
///
/// # Errors
/// If the database returns an error.
pub async fn hold(
    db: &impl ConnectionTrait,
    id: &str,
) -> Result<Option<StoredTrialCode>, StoreError> {
    // On SQLite, the transaction already has exclusive access to the file.
    let found = Entity::find_by_id(id).lock(LockType::NoKeyUpdate);
    Ok(found.one(db).await?.map(StoredTrialCode::from))
}

/// The number of codes.
///
/// # Errors
/// If the database returns an error.
pub async fn count(db: &impl ConnectionTrait) -> Result<u64, StoreError> {
    Ok(codes().count(db).await?)
}

/// A page of the codes, newest first.
///
/// # Errors
/// If the database returns an error.
pub async fn newest(
    db: &impl ConnectionTrait,
    after: Option<&TrialCodesCursor>,
    most: u64,
) -> Result<Page<StoredTrialCode>, StoreError> {
    let mut found = codes();
    if let Some(cursor) = after {
        let at = cursor.created_at.get().naive_utc();
        let same = Column::CreatedAt
            .eq(at)
            .and(Column::Id.lt(cursor.id.as_str()));
        found = found.filter(Condition::any().add(Column::CreatedAt.lt(at)).add(same));
    }
    let found = found
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id);
    Ok(page(db, found, most).await?.map(StoredTrialCode::from))
}

fn codes() -> Select<Entity> {
    Entity::find().filter(Column::CodeHash.is_not_null())
}

impl From<Model> for StoredTrialCode {
    fn from(row: Model) -> Self {
        let number = |number: i32| u32::try_from(number).unwrap_or_default();
        Self {
            id: row.id,
            masked: row.code_masked,
            plan: row.plan,
            allowance: Allowance {
                max: row.max_starts.map(number),
                max_a_day: number(row.max_a_day),
                ends_at: row.ends_at.map(|at| at.and_utc()),
                is_withdrawn: row.withdrawn_at.is_some(),
                started: number(row.started),
                day: row.day,
                started_on_day: number(row.started_on_day),
            },
            note: row.note,
            created_at: row.created_at.and_utc(),
            created_by: row.created_by,
            withdrawn_at: row.withdrawn_at.map(|at| at.and_utc()),
            withdrawn_by: row.withdrawn_by,
        }
    }
}
