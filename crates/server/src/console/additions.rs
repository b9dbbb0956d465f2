//! Rows of a form for things to add, each with a quantity, a first and a last day.

use license_core::entitlement::Period;

use super::fields::{self, Fields};
use crate::http::error::ApiError;
use crate::licensing::amend::Addition;

/// A row for something to add.
pub(super) struct AdditionRow {
    pub(super) number: usize,
    pub(super) key: String,
    pub(super) quantity: String,
    pub(super) from: String,
    pub(super) until: String,
}

impl AdditionRow {
    fn is_used(&self) -> bool {
        let texts = [&self.key, &self.quantity, &self.from, &self.until];
        texts.into_iter().any(|text| !text.is_empty())
    }
}

/// The first `count` rows, as they were filled in.
pub(super) fn addition_rows(fields: &Fields, count: usize) -> impl Iterator<Item = AdditionRow> {
    (0..count).map(|number| {
        let field = |name: &str| fields.text(&format!("add_{name}.{number}")).to_owned();
        AdditionRow {
            number,
            key: field("key"),
            quantity: field("quantity"),
            from: field("from"),
            until: field("until"),
        }
    })
}

/// What is to be added by the first `count` rows. Empty rows are skipped.
///
/// # Errors
/// For each field with an invalid value.
pub(super) fn additions(fields: &Fields, count: usize) -> Result<Vec<Addition>, ApiError> {
    let used = addition_rows(fields, count).filter(AdditionRow::is_used);
    used.map(addition).collect()
}

fn addition(row: AdditionRow) -> Result<Addition, ApiError> {
    if row.key.is_empty() {
        let number = row.number + 1;
        let message = format!("choose what to add in row {number}, or clear the row");
        return Err(ApiError::BadRequest(message));
    }
    Ok(Addition {
        quantity: fields::quantity("quantity", &row.quantity)?,
        period: Period {
            from: fields::start("first day", &row.from)?,
            until: fields::end("last day", &row.until)?,
        },
        key: row.key,
    })
}
