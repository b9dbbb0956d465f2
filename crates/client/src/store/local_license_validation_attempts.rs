//! `local_license_validation_attempts`: the log of activations and
//! validations.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use license_core::foreign_text;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Func, SimpleExpr};
use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait, QueryOrder as _, QuerySelect as _};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Rows older than this are pruned.
const KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// Most rows that are kept.
const KEPT_ROWS: u64 = 10_000;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "local_license_validation_attempts")]
pub struct Model {
    #[sea_orm(primary_key)]
    id: i32,
    license_key: Option<String>,
    result: String,
    error_message: Option<String>,
    hardware_id: Option<String>,
    attempted_at: Option<NaiveDateTime>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttemptResult {
    /// Confirmed.
    Success,
    /// A failed activation, for any reason.
    Failed,
    /// A validation without contact.
    Offline,
    /// A validation that the License Server answered with no.
    Denied,
}

impl AttemptResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Offline => "offline",
            Self::Denied => "denied",
        }
    }
}

/// One call that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When.
    pub at: DateTime<Utc>,
    /// The key that it was about.
    pub license_key: String,
    /// What came of it.
    pub result: AttemptResult,
    /// Why it did not succeed.
    pub error_message: Option<String>,
}

/// Adds a row.
///
/// # Errors
/// When the database refuses.
pub async fn append(
    db: &impl ConnectionTrait,
    attempt: &Attempt,
    hardware_id: &str,
) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        license_key: ActiveValue::Set(Some(attempt.license_key.clone())),
        result: ActiveValue::Set(attempt.result.as_str().to_owned()),
        error_message: ActiveValue::Set(
            attempt.error_message.as_deref().map(foreign_text::message),
        ),
        hardware_id: ActiveValue::Set(Some(hardware_id.to_owned())),
        attempted_at: ActiveValue::Set(Some(attempt.at.naive_utc())),
    };
    Entity::insert(row).exec_without_returning(db).await?;
    Ok(())
}

/// The hardware id of the newest success with this key: the identity that the
/// License Server knows this machine by.
///
/// # Errors
/// When the database refuses.
pub async fn newest_successful_hardware_id(
    db: &impl ConnectionTrait,
    license_key: &str,
) -> Result<Option<String>, StoreError> {
    let row = super::find::<Entity>(super::MAX_TEXT_CHARS)
        .filter(Column::LicenseKey.eq(license_key))
        .filter(Column::Result.eq(AttemptResult::Success.as_str()))
        .filter(Column::HardwareId.is_not_null())
        .order_by_desc(Column::Id)
        .limit(1)
        .one(db)
        .await?;
    Ok(row
        .and_then(|row| row.hardware_id)
        .filter(|id| !id.is_empty()))
}

/// A line of the log, as displayed. Any field may be missing in lines of version 1.0.0.
#[derive(Clone, Debug)]
pub struct LoggedAttempt {
    /// Grows with each line.
    pub id: i32,
    /// The key that it was about.
    pub license_key: Option<String>,
    /// `success`, `failed`, `offline` or `denied`.
    pub result: String,
    /// Why it did not succeed.
    pub error_message: Option<String>,
    /// The machine that called.
    pub hardware_id: Option<String>,
    /// When.
    pub attempted_at: Option<DateTime<Utc>>,
}

/// The retained log, newest line first.
///
/// # Errors
/// When the database refuses.
pub async fn newest(db: &impl ConnectionTrait) -> Result<Vec<LoggedAttempt>, StoreError> {
    let lines = super::find::<Entity>(super::MAX_TEXT_CHARS)
        .order_by_desc(Column::Id)
        .limit(KEPT_ROWS);
    Ok(logged(lines.all(db).await?))
}

/// How many lines of the log there are on one day, by what came of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptsOfDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// All lines.
    pub all: u64,
    /// Calls that were confirmed.
    pub confirmed: u64,
    /// Validations that the License Server answered with no.
    pub denied: u64,
    /// Activations that did not succeed.
    pub failed: u64,
}

/// The lines since an instant, counted by the database: a row for each day that has some.
///
/// # Errors
/// When the database refuses.
pub async fn count_by_day(
    db: &impl ConnectionTrait,
    from: DateTime<Utc>,
) -> Result<Vec<AttemptsOfDay>, StoreError> {
    let day = || SimpleExpr::from(Func::cust("DATE").arg(Expr::col((Entity, Column::AttemptedAt))));
    let count = |result: AttemptResult| {
        let is_so = Column::Result.eq(result.as_str());
        let one: SimpleExpr = CaseStatement::new().case(is_so, 1).into();
        one.count()
    };
    let rows: Vec<(NaiveDate, i64, i64, i64, i64)> = Entity::find()
        .select_only()
        .column_as(day(), "day")
        .column_as(Column::Id.count(), "lines")
        .column_as(count(AttemptResult::Success), "confirmed")
        .column_as(count(AttemptResult::Denied), "denied")
        .column_as(count(AttemptResult::Failed), "failed")
        .filter(Column::AttemptedAt.gte(from.naive_utc()))
        .group_by(day())
        .into_tuple()
        .all(db)
        .await?;
    let of_day = |(day, all, confirmed, denied, failed): (_, i64, i64, i64, i64)| AttemptsOfDay {
        day,
        all: all.unsigned_abs(),
        confirmed: confirmed.unsigned_abs(),
        denied: denied.unsigned_abs(),
        failed: failed.unsigned_abs(),
    };
    Ok(rows.into_iter().map(of_day).collect())
}

/// The newest lines since an instant that are no success, at most `limit`.
///
/// # Errors
/// When the database refuses.
pub async fn newest_failures(
    db: &impl ConnectionTrait,
    from: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<LoggedAttempt>, StoreError> {
    let lines = super::find::<Entity>(super::MAX_TEXT_CHARS)
        .filter(Column::AttemptedAt.gte(from.naive_utc()))
        .filter(Column::Result.ne(AttemptResult::Success.as_str()))
        .order_by_desc(Column::Id)
        .limit(limit);
    Ok(logged(lines.all(db).await?))
}

fn logged(rows: Vec<Model>) -> Vec<LoggedAttempt> {
    rows.into_iter()
        .map(|row| LoggedAttempt {
            id: row.id,
            license_key: row.license_key,
            result: row.result,
            // Another program may have written the row.
            error_message: row.error_message.as_deref().map(foreign_text::message),
            hardware_id: row.hardware_id,
            attempted_at: row.attempted_at.map(|at| at.and_utc()),
        })
        .collect()
}

/// Removes rows that are too old or too many; answers how many.
///
/// # Errors
/// When the database refuses.
pub async fn prune(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let too_old = Entity::delete_many()
        .filter(Column::AttemptedAt.lt((now - KEPT_FOR).naive_utc()))
        .exec(db)
        .await?;
    let first_too_many = Entity::find()
        .order_by_desc(Column::Id)
        .offset(KEPT_ROWS)
        .limit(1)
        .one(db)
        .await?;
    let Some(row) = first_too_many else {
        return Ok(too_old.rows_affected);
    };
    let too_many = Entity::delete_many()
        .filter(Column::Id.lte(row.id))
        .exec(db)
        .await?;
    Ok(too_old.rows_affected + too_many.rows_affected)
}
