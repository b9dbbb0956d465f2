//! `amendments`: what each license consists of. Rows are only added, never changed. Those from before
//! there were records of customers have names of customers; they are read as the ids of the records.

use chrono::NaiveDateTime;
use license_core::amendment::{Amendment, Change, MAX_AMENDMENTS, MAX_SCHEDULED};
use license_core::customer_id;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::page::Page;
use super::page_bytes::page;

/// More amendments than a license has: first activations set ends in addition.
const MAX_OF_LICENSE: u64 = MAX_AMENDMENTS as u64 + MAX_SCHEDULED as u64 + 1;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "amendments")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i64,
    license_id: String,
    number: i32,
    author: String,
    reason: Option<String>,
    order_reference: Option<String>,
    recorded_at: NaiveDateTime,
    effective_at: NaiveDateTime,
    undoes: Option<i32>,
    changes: Json,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&[Column::LicenseId, Column::Number]]).append_only()
}

/// A position in the list of a license's amendments, which begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AmendmentsCursor {
    /// Those with lower numbers follow.
    pub below: u32,
}

/// Adds an amendment to a license, which must be locked.
///
/// # Errors
/// If the database returns an error.
pub async fn insert(
    db: &impl ConnectionTrait,
    license_id: &str,
    amendment: &Amendment,
) -> Result<(), StoreError> {
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let changes = serde_json::to_value(&amendment.changes);
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        license_id: ActiveValue::Set(license_id.to_owned()),
        number: ActiveValue::Set(number(amendment.number)),
        author: ActiveValue::Set(amendment.author.clone()),
        reason: ActiveValue::Set(amendment.reason.clone()),
        order_reference: ActiveValue::Set(amendment.order.clone()),
        recorded_at: ActiveValue::Set(amendment.recorded_at.naive_utc()),
        effective_at: ActiveValue::Set(amendment.effective_at.naive_utc()),
        undoes: ActiveValue::Set(amendment.undoes.map(number)),
        changes: ActiveValue::Set(changes.map_err(|error| DbErr::Json(error.to_string()))?),
    };
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// All amendments of a license, in the order of their numbers: at least one.
///
/// # Errors
/// If the database returns an error, a row cannot be read, or there is none.
pub async fn of_license(
    db: &impl ConnectionTrait,
    license_id: &str,
) -> Result<Vec<Amendment>, StoreError> {
    let found = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .order_by_asc(Column::Number)
        .limit(MAX_OF_LICENSE);
    let rows = found.all(db).await?;
    if rows.is_empty() {
        return Err(StoreError::NoAmendments(license_id.to_owned()));
    }
    rows.into_iter().map(Amendment::try_from).collect()
}

/// A page of the amendments of a license, newest first: at most `most`.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn newest(
    db: &impl ConnectionTrait,
    license_id: &str,
    after: Option<&AmendmentsCursor>,
    most: u64,
) -> Result<Page<Amendment>, StoreError> {
    let mut found = Entity::find().filter(Column::LicenseId.eq(license_id));
    if let Some(cursor) = after {
        found = found.filter(Column::Number.lt(i64::from(cursor.below)));
    }
    let found = found.order_by_desc(Column::Number);
    page(db, found, most).await?.try_map(Amendment::try_from)
}

/// An amendment of any license.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The id of the license.
    pub license_id: String,
    /// The amendment.
    pub amendment: Amendment,
}

/// The next amendments of a license after the one with this number (0: from the first on), in the
/// order of their numbers, at most `most`.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn of_license_after(
    db: &impl ConnectionTrait,
    license_id: &str,
    number: u32,
    most: u64,
) -> Result<Vec<Recorded>, StoreError> {
    let found = Entity::find()
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::Number.gt(i64::from(number)))
        .order_by_asc(Column::Number);
    recorded(page(db, found, most).await?.rows)
}

/// The next amendments of the licenses with greater ids than `after`, in the order of these and of
/// their numbers, at most `most`.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn of_licenses_after(
    db: &impl ConnectionTrait,
    after: Option<&str>,
    most: u64,
) -> Result<Vec<Recorded>, StoreError> {
    let mut found = Entity::find();
    if let Some(after) = after {
        found = found.filter(Column::LicenseId.gt(after));
    }
    let found = found.order_by_asc(Column::LicenseId);
    let found = found.order_by_asc(Column::Number);
    recorded(page(db, found, most).await?.rows)
}

/// The amendments of a license up to a number, with all that the words about later ones depend on:
/// without their authors, reasons and orders.
///
/// # Errors
/// If the database returns an error, or a row cannot be read.
pub async fn changes_until(
    db: &impl ConnectionTrait,
    license_id: &str,
    number: u32,
) -> Result<Vec<Amendment>, StoreError> {
    let rows: Vec<(i32, NaiveDateTime, NaiveDateTime, Option<i32>, Json)> = Entity::find()
        .select_only()
        .columns([
            Column::Number,
            Column::RecordedAt,
            Column::EffectiveAt,
            Column::Undoes,
            Column::Changes,
        ])
        .filter(Column::LicenseId.eq(license_id))
        .filter(Column::Number.lte(i64::from(number)))
        .order_by_asc(Column::Number)
        .limit(MAX_OF_LICENSE)
        .into_tuple()
        .all(db)
        .await?;
    let read = rows.into_iter();
    let read = read.map(|(number, recorded_at, effective_at, undoes, changes)| {
        Amendment::try_from(Model {
            id: 0,
            license_id: String::new(),
            number,
            author: String::new(),
            reason: None,
            order_reference: None,
            recorded_at,
            effective_at,
            undoes,
            changes,
        })
    });
    read.collect()
}

fn recorded(rows: Vec<Model>) -> Result<Vec<Recorded>, StoreError> {
    let recorded = rows.into_iter().map(|row| {
        Ok(Recorded {
            license_id: row.license_id.clone(),
            amendment: row.try_into()?,
        })
    });
    recorded.collect()
}

impl TryFrom<Model> for Amendment {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let number = |number: i32| u32::try_from(number).unwrap_or_default();
        let changes = row.changes.to_string();
        let read = serde_json::from_value::<Vec<Change>>(row.changes);
        let read = read.map_err(|_| StoreError::Value {
            column: "amendments.changes",
            value: changes,
        })?;
        let changes = read.into_iter().map(|change| match change {
            Change::Customer(text) => Change::Customer(customer_id::of_amendment(&text)),
            change => change,
        });
        Ok(Self {
            number: number(row.number),
            author: row.author,
            reason: row.reason,
            order: row.order_reference,
            recorded_at: row.recorded_at.and_utc(),
            effective_at: row.effective_at.and_utc(),
            undoes: row.undoes.map(number),
            changes: changes.collect(),
        })
    }
}
