//! `signing_clock`: one row with the last time at which the License Server ran with a trusted
//! clock. No row means that it has never run.

use chrono::{DateTime, NaiveDateTime, Utc};
use license_core::signing_clock::SigningTime;
use license_service::database::{ExpectedTable, writes};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, OnConflict};
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
    let is_older = Column::RecordedAt.lt(now.naive_utc());
    let moved = vec![(Column::RecordedAt, Expr::value(now.naive_utc()))];
    let is_moved = writes::update_if::<Entity>(db, Column::Id.eq(ROW).and(is_older), moved).await?;
    if !is_moved && may_begin {
        let is_there = OnConflict::columns(KEY).do_nothing().to_owned();
        let first = Entity::insert(row(now, None)).on_conflict(is_there);
        writes::insert_if_missing(db, first, Column::Id.eq(ROW)).await?;
    }
    Ok(())
}

/// Records that a person accepted a clock that showed `now`. This may go back, to correct a record
/// made with a wrong clock.
///
/// # Errors
/// If the database returns an error.
pub async fn accept(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<(), StoreError> {
    let row = writes::values(&row(now, Some(now)));
    let changed = [Column::RecordedAt, Column::AcceptedAt];
    Ok(writes::upsert::<Entity>(db, row, &KEY, &changed).await?)
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
