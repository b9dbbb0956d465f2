//! Checks whether rows can be read. PostgreSQL has times that the library's types cannot represent,
//! such as `infinity`; the library panics when the caller reads such a row.

use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::failure;

/// Range of a time in microseconds around 2000-01-01: about 260,000 years.
const MAX_MICROSECONDS: u64 = 8_200_000_000_000_000_000;
/// The same range in days.
const MAX_DAYS: u32 = 95_000_000;

pub(super) async fn checked_one(
    db: &impl ConnectionTrait,
    statement: Statement,
) -> Result<Option<QueryResult>, DbErr> {
    let row = db.query_one_raw(statement).await?;
    row.iter().try_for_each(check)?;
    Ok(row)
}

pub(super) async fn checked_all(
    db: &impl ConnectionTrait,
    statement: Statement,
) -> Result<Vec<QueryResult>, DbErr> {
    let rows = db.query_all_raw(statement).await?;
    rows.iter().try_for_each(check)?;
    Ok(rows)
}

/// Whether all times in a row can be read.
pub(super) fn check(row: &QueryResult) -> Result<(), DbErr> {
    let Some(row) = row.try_as_pg_row() else {
        return Ok(());
    };
    for column in row.columns() {
        let kind = column.type_info().name();
        if !matches!(kind, "TIMESTAMP" | "TIMESTAMPTZ" | "DATE") {
            continue;
        }
        let Ok(value) = row.try_get_raw(column.ordinal()) else {
            continue;
        };
        if value.is_null() {
            continue;
        }
        let is_readable = match value.as_bytes() {
            Ok(bytes) => is_readable(bytes),
            Err(_) => true,
        };
        if !is_readable {
            return Err(DbErr::Custom(failure::UNREADABLE.to_owned()));
        }
    }
    Ok(())
}

fn is_readable(bytes: &[u8]) -> bool {
    if let Ok(bytes) = bytes.try_into() {
        return i64::from_be_bytes(bytes).unsigned_abs() <= MAX_MICROSECONDS;
    }
    match bytes.try_into() {
        Ok(bytes) => i32::from_be_bytes(bytes).unsigned_abs() <= MAX_DAYS,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_and_what_comes_near_it_is_not_readable() {
        for micros in [i64::MAX, i64::MIN, 9_000_000_000_000_000_000] {
            assert!(!is_readable(&micros.to_be_bytes()), "{micros}");
        }
        for days in [i32::MAX, i32::MIN, 100_000_000] {
            assert!(!is_readable(&days.to_be_bytes()), "{days}");
        }
        assert!(is_readable(&0_i64.to_be_bytes()));
        assert!(is_readable(&9_000_i32.to_be_bytes()));
    }
}
