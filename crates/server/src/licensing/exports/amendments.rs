//! The amendments of one license or of all, in the order in which they were recorded.

use std::collections::BTreeMap;

use license_core::amendment::{Amendment, Change};
use sea_orm::ConnectionTrait;
use serde::Serialize;

use super::{AT_A_TIME, Export, OfLicense, by_id, optional, time};
use crate::licensing::amend::ShownAmendment;
use crate::licensing::amendment_words::{all_words, customer_names};
use crate::spreadsheet::Column;
use crate::store::amendments::{Recorded, in_order, of_license};
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
        let compared = compared(db, &found).await?;
        let found_ones = found.iter().map(|it| it.amendment.clone());
        let amendments: Vec<_> = compared
            .values()
            .flatten()
            .cloned()
            .chain(found_ones)
            .collect();
        let names = customer_names(db, &amendments).await?;
        let row = |it: Recorded| AmendmentRow {
            license: licenses.get(&it.license_id).cloned().unwrap_or_default(),
            words: {
                let all = compared.get(&it.license_id).map_or(&[][..], Vec::as_slice);
                all_words(&it.amendment, all, &names).join(", ")
            },
            amendment: it.amendment.into(),
        };
        Ok(found.into_iter().map(row).collect())
    }
}

/// All amendments of the licenses of which terms are changed or amendments are undone, by the ids of
/// the licenses: only what is different is named.
async fn compared(
    db: &impl ConnectionTrait,
    found: &[Recorded],
) -> Result<BTreeMap<String, Vec<Amendment>>, StoreError> {
    let mut compared = BTreeMap::new();
    for it in found.iter().filter(|it| it.amendment.number > 1) {
        let is_known = compared.contains_key(&it.license_id);
        let Amendment {
            changes, undoes, ..
        } = &it.amendment;
        if !is_known && (undoes.is_some() || changes.iter().any(Change::is_about_terms)) {
            let all = of_license(db, &it.license_id).await?;
            compared.insert(it.license_id.clone(), all);
        }
    }
    Ok(compared)
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
