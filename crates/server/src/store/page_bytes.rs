//! Pages are bounded by bytes as well as by rows, because some rows are far larger than others. Every
//! list that people can request is read here.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ColumnType, ConnectionTrait, EntityTrait, Iterable as _, QuerySelect as _, Select,
};

use super::StoreError;
use super::page::{Page, Room};

/// Maximum number of rows on a page.
const MAX_ROWS: u64 = 10_000;

/// The first rows of a list: at most `most`, and no more than fit on a page; at least 1.
///
/// # Errors
/// If the database returns an error.
pub(in crate::store) async fn page<E: EntityTrait>(
    db: &impl ConnectionTrait,
    found: Select<E>,
    most: u64,
) -> Result<Page<E::Model>, StoreError> {
    let (size, has_more) = fitting(db, found.clone(), &bytes(E::Column::iter()), most).await?;
    let rows = found.limit(size).all(db).await?;
    Ok(Page { rows, has_more })
}

/// How many of the first `most` rows of a list fit on a page, if each holds that many `bytes`, and
/// whether there are others. A row that is added meanwhile moves the others by one.
///
/// # Errors
/// If the database returns an error.
pub(in crate::store) async fn fitting<E: EntityTrait>(
    db: &impl ConnectionTrait,
    found: Select<E>,
    bytes: &str,
    most: u64,
) -> Result<(u64, bool), StoreError> {
    let most = most.min(MAX_ROWS);
    let lengths: Vec<i64> = found
        .select_only()
        .expr_as(Expr::cust(bytes.to_owned()), "bytes")
        .limit(most + 1)
        .into_tuple()
        .all(db)
        .await?;
    let mut room = Room::default();
    let rows = lengths.iter().take_while(|length| room.takes(**length));
    let size = most.min(rows.count() as u64);
    Ok((size, size < lengths.len() as u64))
}

/// What a row holds in these columns, in SQL: the bytes of its texts, which have no other bound.
pub(in crate::store) fn bytes<C: ColumnTrait>(columns: impl Iterator<Item = C>) -> String {
    let texts = columns.filter(|column| {
        matches!(
            column.def().get_column_type(),
            ColumnType::Text | ColumnType::String(_) | ColumnType::Json | ColumnType::JsonBinary
        )
    });
    let lengths = texts.map(|column| {
        let name = format!("\"{}\".\"{}\"", column.entity_name(), column.as_str());
        format!("COALESCE({}, 0)", length(&name))
    });
    let mut sum = "CAST(0 AS BIGINT)".to_owned();
    for length in lengths {
        sum.push_str(" + ");
        sum.push_str(&length);
    }
    sum
}

/// The length of a value in SQL, as a number of 64 bits with both engines.
pub(in crate::store) fn length(column: &str) -> String {
    format!("CAST(OCTET_LENGTH(CAST({column} AS TEXT)) AS BIGINT)")
}
