//! Whether sites can read the documents of a customer's licenses with another name of the customer.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use license_service::database::Transaction;

use super::CustomerError;
use crate::licensing::current::with_amendments;
use crate::licensing::document_size::{SizeError, check_sizes};
use crate::licensing::evaluation::in_turn;
use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError};

/// Licenses that are read together.
pub(super) const LICENSES_AT_A_TIME: u64 = 500;

/// The licenses whose documents were checked with a name, before anything was locked.
#[derive(Debug, Default)]
pub(super) struct CheckedDocuments {
    name: String,
    /// The newest amendments that were checked, by the ids of the licenses.
    amendments: HashMap<String, u32>,
}

impl CheckedDocuments {
    /// Checks the documents of all licenses of a customer with a name, unless they were checked with
    /// it and the license was not amended since then.
    ///
    /// # Errors
    /// [`CustomerError::TooLong`], or if the database returns an error.
    pub(super) async fn check(
        &mut self,
        store: &Store,
        customer: &str,
        name: &str,
        now: DateTime<Utc>,
    ) -> Result<(), CustomerError> {
        if self.name != name {
            self.amendments.clear();
            name.clone_into(&mut self.name);
        }
        let db = store.reader();
        let mut after: Option<String> = None;
        loop {
            let found = licenses::of_customer(db, customer, after.as_deref(), LICENSES_AT_A_TIME);
            let found = found.await?;
            let Some(last) = found.rows.last() else {
                return Ok(());
            };
            after = Some(last.id.clone());
            for license in found.rows {
                let (id, number) = (license.id.clone(), license.amendment);
                if self.amendments.get(&id) != Some(&number) {
                    in_turn(store, check(store, license, name, now)).await?;
                    self.amendments.insert(id, number);
                }
            }
        }
    }

    /// Locks the licenses of a customer, and returns whether all of them were checked with this name as
    /// they are.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn cover(
        &self,
        transaction: &Transaction,
        customer: &str,
        name: &str,
    ) -> Result<bool, StoreError> {
        let held = licenses::hold_of_customer(transaction, customer).await?;
        let mut held = held.iter();
        let is_checked = held.all(|(id, number)| self.amendments.get(id) == Some(number));
        Ok(is_checked && self.name == name)
    }
}

async fn check(
    store: &Store,
    license: License,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), CustomerError> {
    let (license, amendments) = with_amendments(store.reader(), license, now).await?;
    let renamed = License {
        customer: name.to_owned(),
        ..license
    };
    let fits = check_sizes(store, &renamed, amendments.into(), None, now).await;
    fits.map_err(|error| match error {
        SizeError::Store(error) => error.into(),
        SizeError::TooLong(error) => CustomerError::TooLong {
            license: renamed.id,
            error,
        },
    })
}
