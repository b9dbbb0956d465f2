//! The amendments of one license or of all: one license after the other, in the order in which they
//! were recorded.

use license_core::amendment::Amendment;
use serde::Serialize;

use super::{AT_A_TIME, Export, OfLicense, by_id, optional, time};
use crate::licensing::amend::ShownAmendment;
use crate::licensing::amendment_words::{CustomerNames, all_words, customer_names, needs_step};
use crate::licensing::evaluation::{Evaluating, evaluated, in_turn};
use crate::spreadsheet::Column;
use crate::store::amendments::{Recorded, changes_until, of_license_after, of_licenses_after};
use crate::store::{Store, StoreError};

/// Amendments.
#[derive(Debug)]
pub struct AmendmentsExport {
    /// Whether these are the amendments of one license.
    is_of_one: bool,
    /// The license of the last one that was exported.
    license_id: Option<String>,
    /// Its number; 0 before the first one.
    number: u32,
}

impl AmendmentsExport {
    /// Those of the license with this id, or all.
    #[must_use]
    pub fn new(license_id: Option<String>) -> Self {
        Self {
            is_of_one: license_id.is_some(),
            license_id,
            number: 0,
        }
    }

    /// The next amendments: the rest of the license, and then those of the next licenses.
    async fn read(&self, store: &Store) -> Result<Vec<Recorded>, StoreError> {
        let db = store.reader();
        if let Some(license_id) = &self.license_id {
            let rest = of_license_after(db, license_id, self.number, AT_A_TIME).await?;
            if self.is_of_one || !rest.is_empty() {
                return Ok(rest);
            }
        }
        of_licenses_after(db, self.license_id.as_deref(), AT_A_TIME).await
    }

    /// Those that precede these of the same license, if words depend on them. They are read again, so
    /// that nothing is kept while the file is being sent.
    async fn earlier(
        &self,
        store: &Store,
        found: &[Recorded],
    ) -> Result<Vec<Amendment>, StoreError> {
        let Some(license_id) = self.license_id.as_ref().filter(|_| 0 < self.number) else {
            return Ok(Vec::new());
        };
        let mut of_same = found.iter().take_while(|it| it.license_id == *license_id);
        match of_same.any(|it| needs_step(&it.amendment)) {
            true => changes_until(store.reader(), license_id, self.number).await,
            false => Ok(Vec::new()),
        }
    }

    /// These amendments in words.
    async fn told(
        &self,
        store: &Store,
        found: Vec<Recorded>,
    ) -> Result<Vec<(Recorded, String)>, StoreError> {
        let earlier = self.earlier(store, &found).await?;
        let mut amendments: Vec<&Amendment> = found.iter().map(|it| &it.amendment).collect();
        amendments.extend(&earlier);
        let names = customer_names(store.reader(), amendments).await?;
        evaluated(store, move |evaluating| {
            told(evaluating, found, earlier, &names)
        })
        .await
    }

    async fn rows(&self, store: &Store) -> Result<Vec<AmendmentRow>, StoreError> {
        let found = self.read(store).await?;
        let licenses = by_id(store, found.iter().map(|it| it.license_id.clone())).await?;
        let told = in_turn(store, self.told(store, found)).await?;
        let row = |(found, words): (Recorded, String)| AmendmentRow {
            license_id: found.license_id.clone(),
            license: licenses.get(&found.license_id).cloned().unwrap_or_default(),
            amendment: found.amendment.into(),
            words,
        };
        Ok(told.into_iter().map(row).collect())
    }
}

/// An amendment in an export.
#[derive(Serialize)]
pub struct AmendmentRow {
    #[serde(skip)]
    license_id: String,
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
        let rows = self.rows(store).await?;
        if let Some(last) = rows.last() {
            self.license_id = Some(last.license_id.clone());
            self.number = last.amendment.number;
        }
        Ok(rows)
    }
}

/// The next amendments in words, of which those of the first license follow `earlier` ones.
fn told(
    evaluating: &Evaluating,
    found: Vec<Recorded>,
    mut earlier: Vec<Amendment>,
    names: &CustomerNames,
) -> Vec<(Recorded, String)> {
    let mut all_told = Vec::with_capacity(found.len());
    let of_licenses = found.chunk_by(|one, next| one.license_id == next.license_id);
    for of_license in of_licenses {
        let first = earlier.len();
        earlier.extend(of_license.iter().map(|it| it.amendment.clone()));
        let of: Vec<&Amendment> = earlier[first..].iter().collect();
        let words = all_words(evaluating, &of, &earlier, names);
        all_told.extend(words.into_iter().map(|words| words.join(", ")));
        earlier.clear();
    }
    found.into_iter().zip(all_told).collect()
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
