//! Pages are bounded by bytes as well as by rows: a column may hold far more in one row than in
//! another.

use sea_orm::sea_query::Expr;
use sea_orm::{ConnectionTrait, EntityTrait, IdenStatic as _, QuerySelect as _, Select};

use super::StoreError;

/// Maximum number of bytes in one column of a page, unless a single row has more.
const MAX_PAGE_BYTES: i64 = 2 * 1024 * 1024;

/// How many of the first `most` rows of a list fit on a page with their values of a column; at least 1.
/// A row that is added meanwhile moves the others by one.
///
/// # Errors
/// If the database returns an error.
pub(in crate::store) async fn fitting<E: EntityTrait>(
    db: &impl ConnectionTrait,
    found: Select<E>,
    column: E::Column,
    most: u64,
) -> Result<u64, StoreError> {
    let length = length(column.as_str());
    let lengths: Vec<Option<i64>> = found
        .select_only()
        .expr_as(Expr::cust(length), "bytes")
        .limit(most)
        .into_tuple()
        .all(db)
        .await?;
    let mut left = MAX_PAGE_BYTES;
    let rows = lengths.iter().take_while(|length| {
        left = left.saturating_sub(length.unwrap_or_default());
        left >= 0
    });
    Ok((rows.count() as u64).max(1))
}

/// The length of a value in SQL, as a number of 64 bits with both engines.
pub(in crate::store) fn length(column: &str) -> String {
    format!("CAST(OCTET_LENGTH(CAST({column} AS TEXT)) AS BIGINT)")
}
