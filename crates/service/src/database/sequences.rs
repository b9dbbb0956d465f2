//! Advances PostgreSQL sequences that are behind the ids of their tables, as after a restore of
//! only the rows (`pg_dump --data-only`, COPY): every new row would get an existing id.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use sqlx::postgres::PgDatabaseError;

use super::quoted::quoted;

/// Maximum number of tables that are remembered until the next change.
const MAX_TABLES: usize = 32;

/// A table, with its schema.
type Table = (String, String);

/// The tables whose sequences have issued an existing id.
#[derive(Default)]
pub(super) struct Sequences(Mutex<BTreeSet<Table>>);

impl Sequences {
    /// Remembers the table if the error is about its primary key.
    pub(super) fn note(&self, error: &sqlx::Error) {
        if let Some(table) = duplicate_id(error) {
            let mut tables = self.lock();
            if tables.len() < MAX_TABLES {
                tables.insert(table);
            }
        }
    }

    /// Advances the sequences of the remembered tables past the greatest id. `setval` is not rolled
    /// back with the transaction, and never moves a sequence back here.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn advance(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let tables = std::mem::take(&mut *self.lock());
        for (schema, table) in tables {
            advance(db, &schema, &table).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table of a row whose primary key already exists.
pub(super) fn duplicate_id(error: &sqlx::Error) -> Option<Table> {
    let error = error.as_database_error()?;
    let error = error.try_downcast_ref::<PgDatabaseError>()?;
    let (schema, table) = (error.schema()?, error.table()?);
    // unique_violation; the name that PostgreSQL gives to a primary key
    let is_id = error.code() == "23505" && error.constraint()? == format!("{table}_pkey");
    is_id.then(|| (schema.to_owned(), table.to_owned()))
}

async fn advance(db: &impl ConnectionTrait, schema: &str, table: &str) -> Result<(), DbErr> {
    let ask = |sql: &str| {
        let qualified = format!("{}.{}", quoted(schema), quoted(table));
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [qualified.into()])
    };
    let row = db
        .query_one_raw(ask("SELECT quote_ident(a.attname), \
             pg_get_serial_sequence($1, a.attname) \
             FROM pg_index i JOIN pg_attribute a \
             ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
             WHERE i.indrelid = $1::regclass AND i.indisprimary AND i.indnkeyatts = 1 \
             AND has_sequence_privilege(pg_get_serial_sequence($1, a.attname), 'UPDATE')"))
        .await?;
    let Some(row) = row else {
        // A different kind of key, or another user's sequence.
        return Ok(());
    };
    let (column, sequence): (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let (schema, table) = (quoted(schema), quoted(table));
    let advanced = Statement::from_sql_and_values(
        DbBackend::Postgres,
        format!(
            "SELECT setval($1::regclass, greatest(max({column}), \
             pg_sequence_last_value($1::regclass))) FROM {schema}.{table}"
        ),
        [sequence.clone().into()],
    );
    db.query_one_raw(advanced).await?;
    tracing::warn!(
        sequence,
        "advanced a sequence that was behind the ids of its table, which happens if only the rows \
         are restored"
    );
    Ok(())
}
