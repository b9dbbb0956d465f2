//! Checks whether changes can be stored.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use tokio::time::Instant;

use super::failure::{self, Failure};
use super::work::uninterrupted;
use super::{Database, Purpose, Transaction, writes};
use crate::clock::ticks;

/// How long all callers share one result of the check.
const SHARED_CHECK_MAX_AGE: Duration = Duration::from_secs(1);

/// A row that every database of the program has, and how to write it. All are parts of statements.
#[derive(Clone, Copy, Debug)]
pub struct CheckedRow {
    /// Its table.
    pub table: &'static str,
    /// The condition that it matches.
    pub row: &'static str,
    /// Writes the present value.
    pub unchanged: &'static str,
    /// Writes another value, which is rolled back.
    pub changed: &'static str,
}

/// The result of the last check.
#[derive(Clone)]
pub(super) struct Check {
    at: Instant,
    failure: Option<DbErr>,
}

impl CheckedRow {
    /// Returns whether the row was written.
    async fn write(&self, transaction: &Transaction, values: &str) -> Result<bool, DbErr> {
        let Self { table, row, .. } = self;
        let update = format!("UPDATE {table} SET {values} WHERE {row}");
        let written = transaction.execute_unprepared(&update).await?;
        Ok(written.rows_affected() > 0)
    }

    /// Why the present value was not written. It is no failure if only such changes are skipped, as
    /// PostgreSQL's `suppress_redundant_updates_trigger` does.
    async fn explain(&self, transaction: &Transaction) -> Result<(), DbErr> {
        let Self { table, row, .. } = self;
        let select = format!("SELECT 1 FROM {table} WHERE {row}");
        let select = Statement::from_string(transaction.get_database_backend(), select);
        if transaction.query_one_raw(select).await?.is_none() {
            return Err(DbErr::RecordNotUpdated);
        }
        let part = transaction.begin().await?;
        let is_written = self.write(&part, self.changed).await?;
        part.rollback().await?;
        match is_written {
            true => Ok(()),
            false => Err(writes::skips(table)),
        }
    }
}

impl Database {
    /// Whether changes can be stored: the present value is written to `row`, and committed. Returns within [`check`](super::Timeouts::check); all callers within a second share one result,
    /// so that anyone may ask.
    ///
    /// # Errors
    /// If they cannot, [`DbErr::RecordNotUpdated`] if the row does not exist, or if the tables do not
    /// fit this program.
    pub async fn check_writable(&self, row: CheckedRow) -> Result<(), DbErr> {
        let mut last = self.0.last_check.clone().lock_owned().await;
        if let Some(check) = &*last
            && ticks() - check.at < SHARED_CHECK_MAX_AGE
        {
            return check.failure.clone().map_or(Ok(()), Err);
        }
        let database = self.clone();
        // A caller who disconnects must not start another check.
        uninterrupted(async move {
            let deadline = ticks() + database.0.timeouts.check;
            let failure = match database.write_unchanged(row).await {
                Ok(()) => database.recheck_schema(deadline).await.err(),
                Err(error) => Some(error),
            };
            let at = ticks();
            *last = Some(Check {
                at,
                failure: failure.clone(),
            });
            failure.map_or(Ok(()), Err)
        })
        .await
    }

    async fn write_unchanged(&self, row: CheckedRow) -> Result<(), DbErr> {
        let began_at = ticks();
        let writing = async {
            // On PostgreSQL it does not wait for a turn, because it has its own connection.
            let turn = self.turn_to_change_file().await?;
            let transaction = self.begin_for(Purpose::Check, Vec::from_iter(turn)).await?;
            if !row.write(&transaction, row.unchanged).await? {
                row.explain(&transaction).await?;
            }
            transaction.commit().await?;
            // On a disk that is nearly full, a small change may still fit.
            self.0
                .writing
                .check_recent(self.0.timeouts.starved, ticks())
        };
        let timeout = self.0.timeouts.check;
        let written = tokio::time::timeout(timeout, writing).await;
        let is_held_up = match &written {
            Ok(Ok(())) => false,
            Ok(Err(error)) => Failure::of(error) == Failure::Busy,
            Err(_) => true,
        };
        // Other changes came first, and were stored; or PostgreSQL, which accepts changes, reports
        // that the row is locked by others.
        let is_answered = self.0.url.sqlite_file().is_none() && written.is_ok();
        if is_held_up && (is_answered || self.has_stored_since(began_at)) {
            return self
                .0
                .writing
                .check_recent(self.0.timeouts.starved, ticks());
        }
        written.unwrap_or_else(|_| {
            let error = self.explained(failure::timed_out(timeout));
            self.0.writing.failed(&error, ticks());
            self.0.pool.load().health().renew();
            Err(error)
        })
    }
}
