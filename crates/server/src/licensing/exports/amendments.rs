//! The amendments of one license or of all, in the order in which they were recorded.

use serde::Serialize;

use super::{AT_A_TIME, Export, OfLicense, by_id, optional, time};
use crate::licensing::amend::ShownAmendment;
use crate::licensing::amendment_words::{customer_names, words};
use crate::spreadsheet::Column;
use crate::store::amendments::{Recorded, in_order};
use crate::store::{Store, StoreError};

/// Amendments.
#[derive(Debug)]
pub struct AmendmentsExport {
    license_id: Option<String>,
    after: Option<i64>,
}

impl AmendmentsExport {
    /// Those of the license with this id, or all.
    #[must_use]
    pub fn new(license_id: Option<String>) -> Self {
        Self {
            license_id,
            after: None,
        }
    }
}

/// An amendment in an export.
#[derive(Serialize)]
pub struct AmendmentRow {
    #[serde(flatten)]
    license: OfLicense,
    #[serde(flatten)]
    amendment: ShownAmendment,
    /// What it changes, in words.
    words: String,
}

impl Export for AmendmentsExport {
    type Row = AmendmentRow;

    const NAME: &'static str = "amendments";

    const COLUMNS: &'static [Column<AmendmentRow>] = &COLUMNS;

    async fn next(&mut self, store: &Store) -> Result<Vec<AmendmentRow>, StoreError> {
        let (db, license) = (store.reader(), self.license_id.as_deref());
        let found = in_order(db, license, self.after, AT_A_TIME).await?;
        if let Some(last) = found.last() {
            self.after = Some(last.id);
        }
        let licenses = by_id(store, found.iter().map(|it| it.license_id.clone())).await?;
        let amendments: Vec<_> = found.iter().map(|it| it.amendment.clone()).collect();
        let names = customer_names(db, &amendments).await?;
        let row = |it: Recorded| AmendmentRow {
            license: licenses.get(&it.license_id).cloned().unwrap_or_default(),
            words: words(&it.amendment, &names).join(", "),
            amendment: it.amendment.into(),
        };
        Ok(found.into_iter().map(row).collect())
    }
}

const fn column(name: &'static str, cell: fn(&AmendmentRow) -> String) -> Column<AmendmentRow> {
    Column { name, cell }
}

const COLUMNS: [Column<AmendmentRow>; 11] = [
    column("licenseId", |it| it.license.license_id.clone()),
    column("licenseKey", |it| it.license.license_key.clone()),
    column("customer", |it| it.license.customer.clone()),
    column("number", |it| it.amendment.number.to_string()),
    column("author", |it| it.amendment.author.clone()),
    column("reason", |it| optional(it.amendment.reason.clone())),
    column("order", |it| optional(it.amendment.order.clone())),
    column("recordedAt", |it| time(it.amendment.recorded_at)),
    column("effectiveAt", |it| time(it.amendment.effective_at)),
    column("undoes", |it| optional(it.amendment.undoes)),
    column("changes", |it| it.words.clone()),
];
