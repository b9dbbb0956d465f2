//! Reads numbers from the tables of the VMS, which belong to it: read-only, and with a timeout.

use std::time::Duration;

use license_service::database::{Database, within};
use sea_orm::{ConnectionTrait as _, DatabaseBackend, Statement};

use super::StoreError;

/// Timeout of a query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The number that `query` yields: the first column of its only row, rounded
/// down. `None` for no row, null, or a number below zero.
///
/// # Errors
/// If the database rejects the query, or takes too long.
pub async fn number(db: &Database, query: &str) -> Result<Option<u64>, StoreError> {
    let query = without_end(query);
    let backend = db.get_database_backend();
    let number = match backend {
        DatabaseBackend::Postgres => "double precision",
        _ => "real",
    };
    // A subquery can only read; the cast converts all numbers to one type.
    // It may end with a comment, which ends with its line.
    let sql = format!("SELECT CAST(({query}\n) AS {number})");
    let asking = async {
        let transaction = db.begin_reading_others().await?;
        let row = transaction
            .query_one_raw(Statement::from_string(backend, sql))
            .await?;
        transaction.rollback().await?;
        let value = row.map(|row| row.try_get_by_index::<Option<f64>>(0));
        Ok(value.transpose()?.flatten())
    };
    let value: Result<Option<f64>, StoreError> = within(QUERY_TIMEOUT, asking).await;
    // The tables belong to the VMS, so advice about ours would mislead.
    let value = value.map_err(|error| StoreError::UsageQuery(error.trouble().what))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number is not negative, and one that is too large becomes the maximum"
    )]
    Ok(value.filter(|v| *v >= 0.0).map(|v| v as u64))
}

/// The query without the semicolon that ends it, and without comments behind that.
fn without_end(query: &str) -> &str {
    let is_end = |&(at, _): &(usize, &str)| {
        let (before, after) = query.split_at(at);
        let is_in_text = before.matches('\'').count() % 2 == 1;
        !is_in_text && is_without_sql(after)
    };
    let end = query.match_indices(';').find(is_end);
    end.map_or(query, |(at, _)| &query[..at])
}

/// Whether there are only spaces, semicolons and comments.
fn is_without_sql(mut text: &str) -> bool {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        let end = match text.get(..2) {
            Some("--") => text.find('\n'),
            Some("/*") => text.find("*/").map(|at| at + 2),
            _ => return text.is_empty(),
        };
        let Some(end) = end else {
            return true;
        };
        text = &text[end..];
    }
}

/// The number of rows of a table of the VMS; `None` if there is no such table, or if counting its
/// rows could run code of other database users with the rights of this service.
///
/// # Errors
/// If the database returns an error, or takes too long.
pub async fn rows(db: &Database, table: &'static str) -> Result<Option<u64>, StoreError> {
    let counting = async {
        let reading = db.begin_reading_others().await?;
        let Some(name) = reading.ordinary_table(table).await? else {
            return Ok(None);
        };
        let count = format!("SELECT CAST(count(*) AS bigint) FROM {name}");
        let count = Statement::from_string(db.get_database_backend(), count);
        let row = reading.query_one_raw(count).await?;
        reading.rollback().await?;
        let rows = row.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
        Ok(rows.and_then(|rows| u64::try_from(rows).ok()))
    };
    let rows: Result<_, StoreError> = within(QUERY_TIMEOUT, counting).await;
    rows.map_err(|error| StoreError::UsageQuery(error.trouble().what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_query_is_no_part_of_it() {
        for (query, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT 1 -- all", "SELECT 1 -- all"),
            ("SELECT 1 ; ;\n", "SELECT 1 "),
            ("SELECT 1; -- all; of them", "SELECT 1"),
            ("SELECT 1; /* all */ ; -- of them\n", "SELECT 1"),
            ("SELECT 1 WHERE 'é' <> ';'", "SELECT 1 WHERE 'é' <> ';'"),
            (
                "SELECT 1 WHERE '; -- ' <> ''",
                "SELECT 1 WHERE '; -- ' <> ''",
            ),
            ("SELECT 1; SELECT 2", "SELECT 1; SELECT 2"),
        ] {
            assert_eq!(without_end(query), expected);
        }
    }
}
