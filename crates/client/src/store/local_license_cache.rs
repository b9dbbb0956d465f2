//! `local_license_cache`: the license that was activated.
//!
//! A site has one current license: the newest activation that is not marked
//! invalid. Older ones stay as rows, marked, as history.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::stored_time;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Func, Query};
use sea_orm::{Condition, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{StoreError, shallow_json};

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "local_license_cache")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i32,
    #[sea_orm(unique)]
    license_key: String,
    // Stored as text, so that invalid JSON does not hide the license.
    #[sea_orm(column_type = "Json", select_as = "text")]
    license_data: String,
    cached_at: Option<NaiveDateTime>,
    valid_until: NaiveDateTime,
    last_validated_at: Option<NaiveDateTime>,
    is_valid: Option<bool>,
    validation_error: Option<String>,
    in_grace_period: Option<bool>,
    grace_period_started_at: Option<NaiveDateTime>,
    grace_period_expires_at: Option<NaiveDateTime>,
    license_signature: String,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 1] = [Column::LicenseKey];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedLicense {
    /// The activated key.
    pub license_key: String,
    /// The license object; empty if the column contains something else, or one that is nested too
    /// deep.
    pub license_data: Map<String, Value>,
    /// When it was activated.
    pub cached_at: Option<DateTime<Utc>>,
    /// The latest instant at which the next validation is due.
    pub valid_until: DateTime<Utc>,
    /// The last confirmed validation.
    pub last_validated_at: Option<DateTime<Utc>>,
    /// The result of the last validation, for people.
    pub validation_error: Option<String>,
    /// Whether a grace period is running, ours or the License Server's.
    pub in_grace_period: bool,
    /// When grace started.
    pub grace_period_started_at: Option<DateTime<Utc>>,
    /// When grace ends. This service computes it; the column is for version 1.0.0.
    pub grace_period_expires_at: Option<DateTime<Utc>>,
    /// The signed document, or any other text that the License Server sent as the signature.
    pub license_signature: String,
}

/// The current license.
///
/// # Errors
/// If the database returns an error.
pub async fn current(db: &impl ConnectionTrait) -> Result<Option<CachedLicense>, StoreError> {
    let row = super::find::<Entity>(db, |_| super::MAX_DOCUMENT_CHARS)
        .filter(
            Condition::any()
                .add(Column::IsValid.eq(true))
                .add(Column::IsValid.is_null()),
        )
        // An activation without a time counts as older than any with one, on both engines.
        .order_by_desc(Expr::col(Column::CachedAt).is_not_null())
        .order_by_desc(Column::CachedAt)
        .order_by_desc(Column::Id)
        .limit(1)
        .one(db)
        .await?;
    Ok(row.map(CachedLicense::from))
}

/// The row of this key, even if it is not the current license.
///
/// # Errors
/// If the database returns an error.
pub async fn find(
    db: &impl ConnectionTrait,
    license_key: &str,
) -> Result<Option<CachedLicense>, StoreError> {
    let row = super::find::<Entity>(db, |_| super::MAX_DOCUMENT_CHARS)
        .filter(Column::LicenseKey.eq(license_key));
    Ok(row.one(db).await?.map(CachedLicense::from))
}

/// Whether a license was ever activated here.
///
/// # Errors
/// If the database returns an error.
pub async fn is_empty(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    let any = Query::select()
        .expr(Expr::val(1))
        .from(Entity)
        .limit(1)
        .to_owned();
    Ok(db.query_one(&any).await?.is_none())
}

/// Creates or changes the row of this key, and makes it the current one.
///
/// # Errors
/// If the database returns an error.
pub async fn save(db: &impl ConnectionTrait, cached: &CachedLicense) -> Result<(), StoreError> {
    let others = Column::LicenseKey.ne(&cached.license_key);
    writes::update_all::<Entity>(db, others, vec![(Column::IsValid, false.into())]).await?;

    let data = Value::Object(cached.license_data.clone()).to_string();
    // If it were bound as a JSON value, PostgreSQL would receive `jsonb`, which loses the order of
    // fields. Both engines have a conversion function of this name from text, which keeps the
    // order.
    let data = Func::cust("json").arg(Expr::val(data).cast_as("text"));
    let grace_started_at = cached.grace_period_started_at.map(naive);
    let grace_expires_at = cached.grace_period_expires_at.map(naive);
    let row = vec![
        (Column::LicenseKey, Expr::val(&cached.license_key)),
        (Column::LicenseData, data.into()),
        (Column::CachedAt, Expr::val(cached.cached_at.map(naive))),
        (Column::ValidUntil, Expr::val(naive(cached.valid_until))),
        (
            Column::LastValidatedAt,
            Expr::val(cached.last_validated_at.map(naive)),
        ),
        (Column::IsValid, Expr::val(true)),
        (
            Column::ValidationError,
            Expr::val(cached.validation_error.clone()),
        ),
        (Column::InGracePeriod, Expr::val(cached.in_grace_period)),
        (Column::GracePeriodStartedAt, Expr::val(grace_started_at)),
        (Column::GracePeriodExpiresAt, Expr::val(grace_expires_at)),
        (
            Column::LicenseSignature,
            Expr::val(&cached.license_signature),
        ),
    ];
    let columns: Vec<_> = row.iter().map(|(column, _)| *column).collect();
    Ok(writes::upsert::<Entity>(db, row, &KEY, &columns).await?)
}

/// Removes the row of this key, after which no license is current.
///
/// # Errors
/// If the database returns an error.
pub async fn remove(db: &impl ConnectionTrait, license_key: &str) -> Result<(), StoreError> {
    Entity::delete_many()
        .filter(Column::LicenseKey.eq(license_key))
        .exec(db)
        .await?;
    Ok(())
}

impl From<Model> for CachedLicense {
    fn from(row: Model) -> Self {
        // Invalid data of the Python service is omitted.
        let license_data = shallow_json::object(&row.license_data).unwrap_or_default();
        Self {
            license_key: row.license_key,
            license_data,
            cached_at: row.cached_at.map(utc),
            valid_until: utc(row.valid_until),
            last_validated_at: row.last_validated_at.map(utc),
            validation_error: row.validation_error,
            in_grace_period: row.in_grace_period.unwrap_or_default(),
            grace_period_started_at: row.grace_period_started_at.map(utc),
            grace_period_expires_at: row.grace_period_expires_at.map(utc),
            license_signature: row.license_signature,
        }
    }
}

/// SQLite stores instants as texts, of any year.
fn utc(time: NaiveDateTime) -> DateTime<Utc> {
    stored_time::bounded(time.and_utc())
}

fn naive(time: DateTime<Utc>) -> NaiveDateTime {
    time.naive_utc()
}
