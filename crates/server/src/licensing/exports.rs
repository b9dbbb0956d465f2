//! Exports: all rows of a list, one page after the other, so that they may be arbitrarily many.

mod amendments;
pub mod audit_log;
mod installations;
mod licenses;
mod usage;

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use license_core::entitlement::Quantity;
use serde::Serialize;

use crate::spreadsheet::{BYTE_ORDER_MARK, Column, head, lines};
use crate::store::licenses::NamedLicense;
use crate::store::{Store, StoreError};

pub use amendments::AmendmentsExport;
pub use audit_log::AuditLines;
pub use installations::InstallationsExport;
pub use licenses::LicensesExport;
pub use usage::UsageExport;

/// Maximum number of rows that are read together; large rows are read in smaller groups.
const AT_A_TIME: u64 = 1000;

/// All rows of a list, in an order in which no row moves while they are read.
pub trait Export: Send {
    /// A row. In JSON, it has the fields of the API.
    type Row: Serialize + Send + Sync + 'static;

    /// What the list is called, for file names.
    const NAME: &'static str;

    /// The columns, in CSV.
    const COLUMNS: &'static [Column<Self::Row>];

    /// The next rows; none after the last one.
    ///
    /// # Errors
    /// If the database returns an error.
    fn next(
        &mut self,
        store: &Store,
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send;
}

/// A file, read in pieces while it is being written or sent.
pub trait Pieces: Send {
    /// The next piece, of whole lines; `None` at the end.
    ///
    /// # Errors
    /// If the database returns an error.
    fn next(
        &mut self,
        store: &Store,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;
}

/// An export as CSV.
#[derive(Debug)]
pub struct CsvPieces<E> {
    export: E,
    /// What precedes the next piece.
    head: Option<Vec<u8>>,
}

impl<E: Export> CsvPieces<E> {
    /// From the beginning, for programs.
    pub fn of(export: E) -> Self {
        Self {
            export,
            head: Some(head(E::COLUMNS)),
        }
    }

    /// The same for spreadsheets, which recognize UTF-8 by a mark that programs do not expect.
    pub fn with_mark(export: E) -> Self {
        Self {
            export,
            head: Some([BYTE_ORDER_MARK.as_bytes(), &head(E::COLUMNS)].concat()),
        }
    }
}

impl<E: Export> Pieces for CsvPieces<E> {
    async fn next(&mut self, store: &Store) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.export.next(store).await?;
        let head = match self.head.take() {
            None if rows.is_empty() => return Ok(None),
            head => head.unwrap_or_default(),
        };
        Ok(Some([head, lines(E::COLUMNS, &rows)].concat()))
    }
}

/// An instant in a cell.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A value in a cell, if there is one.
fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// An instant in a cell, if there is one.
fn optional_time(at: Option<DateTime<Utc>>) -> String {
    at.map(time).unwrap_or_default()
}

/// A limit in a cell; -1 is unlimited.
fn limit(value: i64) -> String {
    match u64::try_from(value) {
        Ok(value) => value.to_string(),
        Err(_) => "unlimited".to_owned(),
    }
}

/// Amounts by key in a cell: `anpr_lanes=4; doors=unlimited`.
fn amounts<'a, T: ToString>(amounts: impl Iterator<Item = (&'a str, T)>) -> String {
    let amounts = amounts.map(|(key, amount)| format!("{key}={}", amount.to_string()));
    amounts.collect::<Vec<_>>().join("; ")
}

fn quantity(quantity: Quantity) -> String {
    let number = quantity.number().map(|number| number.to_string());
    number.unwrap_or_else(|| "unlimited".to_owned())
}

/// The key and the customer of a license, which rows about it repeat.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfLicense {
    /// The id of the license.
    pub license_id: String,
    /// Its key.
    pub license_key: String,
    /// The name of the customer.
    pub customer: String,
}

impl From<NamedLicense> for OfLicense {
    fn from(license: NamedLicense) -> Self {
        Self {
            license_id: license.id,
            license_key: license.license_key,
            customer: license.customer,
        }
    }
}

/// These licenses, by their ids.
async fn by_id(
    store: &Store,
    ids: impl Iterator<Item = String>,
) -> Result<HashMap<String, OfLicense>, StoreError> {
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    let found = crate::store::licenses::named(store.reader(), ids).await?;
    let found = found.into_iter();
    Ok(found.map(|it| (it.id.clone(), it.into())).collect())
}
