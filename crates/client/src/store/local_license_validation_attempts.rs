//! `local_license_validation_attempts`: the log of activations and
//! validations.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use license_core::foreign_text;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Func, Order, Query, SimpleExpr};
use sea_orm::{
    ActiveValue, Condition, ConnectionTrait, DatabaseBackend, EntityTrait, QueryOrder as _,
    QueryResult, QuerySelect as _,
};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// Rows older than this are pruned.
const KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// Maximum number of rows that are kept.
const KEPT_ROWS: u64 = 10_000;
/// Number of rows of the log per query.
const ROWS_AT_A_TIME: u64 = 500;
/// Maximum memory for the displayed log, in bytes: all rows with messages of 1,000 ASCII
/// characters.
const MAX_LOG_BYTES: usize = 16 * 1024 * 1024;
/// Maximum length of a message that is read for display: the displayed 1,000 characters, plus room
/// for a license key that begins there, so that it is recognized and masked.
const MAX_MESSAGE_CHARS: i32 = 1_200;
/// Maximum length of another text that is read for display.
const MAX_NAME_CHARS: i32 = 255;

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

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[])
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttemptResult {
    /// Confirmed.
    Success,
    /// A failed activation, for any reason.
    Failed,
    /// A validation without contact.
    Offline,
    /// A validation that the License Server denied.
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

/// An attempted call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The time.
    pub at: DateTime<Utc>,
    /// The key of the call.
    pub license_key: String,
    /// The result.
    pub result: AttemptResult,
    /// The reason for a failure.
    pub error_message: Option<String>,
}

/// Adds a row.
///
/// # Errors
/// If the database returns an error.
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
    Ok(writes::insert(db, Entity::insert(row)).await?)
}

/// The hardware id of the newest success with this key: the identity that the
/// License Server knows this machine by.
///
/// # Errors
/// If the database returns an error.
pub async fn newest_successful_hardware_id(
    db: &impl ConnectionTrait,
    license_key: &str,
) -> Result<Option<String>, StoreError> {
    let row = super::find::<Entity>(db, |_| super::MAX_TEXT_CHARS)
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
    /// The key of the call.
    pub license_key: Option<String>,
    /// `success`, `failed`, `offline` or `denied`.
    pub result: String,
    /// The reason for a failure.
    pub error_message: Option<String>,
    /// The machine that made the call.
    pub hardware_id: Option<String>,
    /// The time.
    pub attempted_at: Option<DateTime<Utc>>,
}

impl LoggedAttempt {
    /// The total length of the line's text, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let texts = [&self.license_key, &self.error_message, &self.hardware_id];
        let optional: usize = texts.into_iter().flatten().map(String::len).sum();
        self.result.len() + optional
    }
}

/// The retained log, newest line first; the oldest lines are omitted if it exceeds 16 MiB.
///
/// # Errors
/// If the database returns an error.
pub async fn newest(db: &impl ConnectionTrait) -> Result<Vec<LoggedAttempt>, StoreError> {
    let mut log: Vec<LoggedAttempt> = Vec::new();
    let mut bytes = 0;
    while (log.len() as u64) < KEPT_ROWS {
        let older = log.last().map(|last| Column::Id.lt(last.id));
        let lines = lines(db).filter(Condition::all().add_option(older));
        let rows = lines.limit(ROWS_AT_A_TIME).all(db).await?;
        let is_last = (rows.len() as u64) < ROWS_AT_A_TIME;
        // Other users of the database can write texts that take long to sanitize.
        let part = tokio::task::spawn_blocking(|| logged(rows)).await;
        for line in part.map_err(|error| DbErr::Custom(error.to_string()))? {
            bytes += size_of::<LoggedAttempt>() + line.text_bytes();
            if bytes > MAX_LOG_BYTES {
                return Ok(log);
            }
            log.push(line);
        }
        if is_last {
            break;
        }
    }
    Ok(log)
}

/// The number of lines of the log on one day, by result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptsOfDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// All lines.
    pub all: u64,
    /// Confirmed calls.
    pub confirmed: u64,
    /// Validations that the License Server denied.
    pub denied: u64,
    /// Failed activations.
    pub failed: u64,
}

/// The number of lines by day from an instant on, counted by the database: one row for each day
/// with lines.
///
/// # Errors
/// If the database returns an error.
pub async fn count_by_day(
    db: &impl ConnectionTrait,
    from: DateTime<Utc>,
    days: u32,
) -> Result<Vec<AttemptsOfDay>, StoreError> {
    let backend = db.get_database_backend();
    let at = super::cut(backend, &Column::AttemptedAt, super::MAX_VALUE_CHARS);
    let (day, count) = match backend {
        DatabaseBackend::Postgres => (at.cast_as("pg_catalog.date"), "pg_catalog.count"),
        _ => (Func::cust("date").arg(at).into(), "count"),
    };
    let count = |counted: SimpleExpr| SimpleExpr::from(Func::cust(count).arg(counted));
    let lines = |result: AttemptResult| {
        let is_so = Column::Result.eq(result.as_str());
        count(CaseStatement::new().case(is_so, 1).into())
    };
    let counting = Query::select()
        .expr(day)
        .expr(count(Expr::val(1)))
        .expr(lines(AttemptResult::Success))
        .expr(lines(AttemptResult::Denied))
        .expr(lines(AttemptResult::Failed))
        .from(Entity)
        .and_where(Column::AttemptedAt.gte(from.naive_utc()))
        .and_where(Column::AttemptedAt.lt((from + TimeDelta::days(days.into())).naive_utc()))
        // By the day, which is the first.
        .add_group_by([Expr::cust("1")])
        .limit(days.into())
        .to_owned();
    let rows = db.query_all(&counting).await?;
    let of_day = |row: &QueryResult| {
        let number = |at| row.try_get_by_index(at).map(i64::unsigned_abs);
        Ok(AttemptsOfDay {
            day: row.try_get_by_index(0)?,
            all: number(1)?,
            confirmed: number(2)?,
            denied: number(3)?,
            failed: number(4)?,
        })
    };
    rows.iter().map(of_day).collect()
}

/// The newest lines since an instant that are not successes, at most `limit`.
///
/// # Errors
/// If the database returns an error.
pub async fn newest_failures(
    db: &impl ConnectionTrait,
    from: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<LoggedAttempt>, StoreError> {
    let lines = lines(db)
        .filter(Column::AttemptedAt.gte(from.naive_utc()))
        .filter(Column::Result.ne(AttemptResult::Success.as_str()))
        .limit(limit);
    Ok(logged(lines.all(db).await?))
}

/// Lines with every text truncated to its displayed part, newest first.
fn lines(db: &impl ConnectionTrait) -> Select<Entity> {
    let rows = super::find::<Entity>(db, |column| match column {
        Column::ErrorMessage => MAX_MESSAGE_CHARS,
        _ => MAX_NAME_CHARS,
    });
    rows.order_by_desc(Column::Id)
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

/// Removes rows that are too old or too many; returns their number.
///
/// # Errors
/// If the database returns an error.
pub async fn prune(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let too_old = Entity::delete_many()
        .filter(Column::AttemptedAt.lt((now - KEPT_FOR).naive_utc()))
        .exec(db)
        .await?;
    let first_too_many = Query::select()
        .column(Column::Id)
        .from(Entity)
        .order_by(Column::Id, Order::Desc)
        .offset(KEPT_ROWS)
        .limit(1)
        .to_owned();
    let too_many = Entity::delete_many()
        .filter(
            Expr::col(Column::Id).lte(SimpleExpr::SubQuery(None, Box::new(first_too_many.into()))),
        )
        .exec(db)
        .await?;
    Ok(too_old.rows_affected + too_many.rows_affected)
}
