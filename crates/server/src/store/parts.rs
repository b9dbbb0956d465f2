//! Lists of values in statements: each value once, and no more of them than a database takes.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Value};

use super::StoreError;

/// Values in one statement. SQLite takes 32,766, older versions 999.
const MAX_VALUES: usize = 500;

/// Some of the values of a list, for one statement. Only [`in_parts`] creates one.
#[derive(Debug)]
pub(in crate::store) struct Part<T>(Vec<T>);

impl<T: Into<Value>> Part<T> {
    /// Whether a column has one of these values.
    #[expect(
        clippy::disallowed_methods,
        reason = "every other place has to say how many values there can be"
    )]
    pub(in crate::store) fn has(self, column: impl ColumnTrait) -> Expr {
        column.is_in(self.0)
    }
}

/// Executes a statement for each part of a list, without repetitions, and returns all results.
///
/// # Errors
/// The first one of the statements.
pub(in crate::store) async fn in_parts<T, R, F>(
    values: impl IntoIterator<Item = T>,
    statement: impl Fn(Part<T>) -> F,
) -> Result<Vec<R>, StoreError>
where
    T: Ord,
    F: Future<Output = Result<Vec<R>, sea_orm::DbErr>>,
{
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    let mut results = Vec::new();
    while !values.is_empty() {
        let rest = values.split_off(values.len().min(MAX_VALUES));
        results.extend(statement(Part(values)).await?);
        values = rest;
    }
    Ok(results)
}
