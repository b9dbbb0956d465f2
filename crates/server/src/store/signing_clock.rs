//! `signing_clock`: one row with the last time at which the License Server ran with a trusted
//! clock. No row means that it has never run.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::signing_clock::SigningTime;
use license_service::database::ExpectedTable;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, ConnectionTrait, DbBackend, EntityTrait, Statement};

use super::StoreError;

/// The only row.
const ROW: i64 = 1;

/// A row as the database library sees it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_clock")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    id: i64,
    recorded_at: NaiveDateTime,
    accepted_at: Option<NaiveDateTime>,
}

/// There are no relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// One row for each of these.
const KEY: [Column; 1] = [Column::Id];

/// What this program needs of the table.
pub(super) fn expected() -> ExpectedTable {
    ExpectedTable::of::<Entity>(&[&KEY])
}

/// The record about the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The newest instant at which the License Server trusted its clock.
    pub at: DateTime<Utc>,
    /// The time that the clock showed when a person last accepted it.
    pub accepted_at: Option<DateTime<Utc>>,
}

/// The record; `None` if nothing was ever signed.
///
/// # Errors
/// If the database returns an error.
pub async fn find(db: &impl ConnectionTrait) -> Result<Option<Recorded>, StoreError> {
    let row = Entity::find_by_id(ROW).one(db).await?;
    Ok(row.map(|row| Recorded {
        at: row.recorded_at.and_utc(),
        accepted_at: row.accepted_at.map(|at| at.and_utc()),
    }))
}

/// Records that the clock was trusted at this instant. The record never moves back: with several
/// servers, the one that is ahead counts. The first record is created only if `may_begin` is set.
///
/// # Errors
/// If the database returns an error.
pub async fn record(
    db: &impl ConnectionTrait,
    at: SigningTime,
    may_begin: bool,
) -> Result<(), StoreError> {
    let now = at.instant();
    let moved = Entity::update_many()
        .col_expr(Column::RecordedAt, Expr::value(now.naive_utc()))
        .filter(Column::Id.eq(ROW))
        .filter(Column::RecordedAt.lt(now.naive_utc()))
        .exec(db)
        .await?;
    if moved.rows_affected == 0 && may_begin {
        let first = row(now, None);
        let mut is_there = OnConflict::columns(KEY);
        Entity::insert(first)
            .on_conflict(is_there.do_nothing().to_owned())
            .exec_without_returning(db)
            .await?;
    }
    Ok(())
}

/// Records that a person accepted a clock that showed `now`. This may go back, to correct a record
/// made with a wrong clock.
///
/// # Errors
/// If the database returns an error.
pub async fn accept(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut again = OnConflict::columns(KEY);
    again.update_columns([Column::RecordedAt, Column::AcceptedAt]);
    Entity::insert(row(now, Some(now)))
        .on_conflict(again)
        .exec_without_returning(db)
        .await?;
    Ok(())
}

fn row(at: DateTime<Utc>, accepted_at: Option<DateTime<Utc>>) -> ActiveModel {
    ActiveModel {
        id: ActiveValue::Set(ROW),
        recorded_at: ActiveValue::Set(at.naive_utc()),
        accepted_at: ActiveValue::Set(accepted_at.map(|at| at.naive_utc())),
    }
}

/// The time of the database's own clock; `None` with SQLite, which has none.
///
/// # Errors
/// If the database returns an error.
pub async fn database_time(db: &impl ConnectionTrait) -> Result<Option<DateTime<Utc>>, StoreError> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    // Not now(), which returns the start of the transaction.
    let ask = "SELECT clock_timestamp() AT TIME ZONE 'UTC' AS shown";
    let row = db
        .query_one_raw(Statement::from_string(DbBackend::Postgres, ask))
        .await?;
    let shown: Option<NaiveDateTime> = row.map(|row| row.try_get("", "shown")).transpose()?;
    Ok(shown.map(|shown| shown.and_utc()))
}
