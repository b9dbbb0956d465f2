//! An amendment that is checked and evaluated before anything is locked, and is then stored if the
//! license is still what it was.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use license_core::add_on::restored_refund;
use license_core::amendment::{self, Amendment, Effect, check, contents, effects, judged_at};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use super::{Amended, affected, store_newest};
use crate::audit::{Action, PermittedChange};
use crate::licensing::amend_error::AmendError;
use crate::licensing::amendment_words::{CustomerNames, all_words, customer_names};
use crate::licensing::document_size::check_sizes;
use crate::licensing::evaluation::evaluated;
use crate::store::customers::Customer;
use crate::store::licenses::{self, License};
use crate::store::seats::{self, SeatsQuery};
use crate::store::{Store, StoreError, add_ons};

/// How the audit log tells of an amendment: with these details in addition to those of every amendment.
pub(in crate::licensing) struct AuditEntry {
    pub(in crate::licensing) action: Action,
    pub(in crate::licensing) details: Value,
}

/// An amendment that the rules allow, with all that it changes.
#[derive(Debug)]
pub(in crate::licensing) struct Prepared {
    /// The row of the license from which this was made.
    basis: License,
    /// The amendments of add-on keys that had been refunded by then, if the rules need them.
    refunded: Vec<u32>,
    /// The license with the amendment.
    license: License,
    amendment: Amendment,
    /// All amendments; this one is the last.
    all: Arc<[Amendment]>,
    customers: CustomerNames,
    changed: Changed,
}

/// What an amendment changes.
#[derive(Debug)]
struct Changed {
    words: Vec<String>,
    effects: Vec<Effect>,
    differences: Vec<amendment::Change>,
    seats: u32,
}

impl Prepared {
    /// Checks an amendment of a license with this row, whose amendments are `known`. `customer` is
    /// named in the amendment and not stored yet.
    ///
    /// # Errors
    /// One [`AmendError`] for each rule that it breaks, or if the database returns an error.
    pub(in crate::licensing) async fn new(
        store: &Store,
        basis: License,
        known: Vec<Amendment>,
        amendment: Amendment,
        customer: Option<&Customer>,
        change: &PermittedChange,
    ) -> Result<Self, AmendError> {
        let (db, now) = (store.reader(), change.at);
        let refunded = refunded(db, &basis, &amendment).await?;
        let all = check_rules(store, &basis, known, &amendment, refunded.clone()).await?;
        let license = licenses::previewed(db, basis.clone(), &all, customer, now).await?;
        check_sizes(store, &license, all.clone(), customer, now).await?;
        let mut customers = customer_names(db, all.iter()).await?;
        customers.extend(customer.map(|it| (it.id.clone(), it.name.clone())));
        let changed = changed(
            store,
            all.clone(),
            amendment.clone(),
            customers.clone(),
            now,
        );
        Ok(Self {
            changed: changed.await?,
            basis,
            refunded,
            license,
            amendment,
            all,
            customers,
        })
    }

    /// The row of the license from which this was made.
    pub(in crate::licensing) fn basis(&self) -> &License {
        &self.basis
    }

    /// The number of the amendment.
    pub(in crate::licensing) fn number(&self) -> u32 {
        self.amendment.number
    }

    /// What the amendment would change, without storing it.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(in crate::licensing) async fn preview(
        self,
        store: &Store,
        now: DateTime<Utc>,
    ) -> Result<Amended, StoreError> {
        self.amended(store.reader(), now).await
    }

    /// Stores the amendment of a license that is locked and has this row, with its entry in the audit
    /// log.
    ///
    /// # Errors
    /// [`StoreError::changed`] if the license is not the one from which this was made, or if the
    /// database returns an error.
    pub(in crate::licensing) async fn store(
        mut self,
        db: &impl ConnectionTrait,
        held: &License,
        entry: AuditEntry,
        change: &PermittedChange,
    ) -> Result<Amended, StoreError> {
        if *held != self.basis || refunded(db, held, &self.amendment).await? != self.refunded {
            return Err(StoreError::changed());
        }
        let judged = licenses::judged_as(db, held, self.license, change.time()).await?;
        let judged = judged.ok_or_else(StoreError::changed)?.changed();
        self.license = store_newest(db, judged, &self.amendment).await?;
        let AuditEntry { action, details } = entry;
        let amendment = &self.amendment;
        let mut all_details = json!({
            "amendment": amendment.number,
            "reason": amendment.reason,
            "order": amendment.order,
            "effectiveAt": amendment.effective_at,
            "undoes": amendment.undoes,
            "changes": self.changed.words.join(", "),
        });
        if let (Some(all), Value::Object(details)) = (all_details.as_object_mut(), details) {
            all.extend(details);
        }
        change.note(db, action, &self.license, all_details).await?;
        self.amended(db, change.at).await
    }

    async fn amended(
        self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<Amended, StoreError> {
        let Changed {
            words,
            effects,
            differences,
            seats,
        } = self.changed;
        let id = &self.license.id;
        let applies_at = self.amendment.effective_at.max(now);
        let installations = affected(db, id, seats, applies_at, &effects, now).await?;
        let seats_held = seats::count(db, id, &SeatsQuery::held()).await?;
        Ok(Amended {
            license: self.license,
            amendment: self.amendment,
            all: self.all,
            words,
            effects,
            differences,
            seats_held,
            seats,
            installations,
            customers: self.customers,
        })
    }
}

/// The amendments of refunded add-on keys, which nothing may restore. Only what undoes something
/// restores something.
async fn refunded(
    db: &impl ConnectionTrait,
    license: &License,
    amendment: &Amendment,
) -> Result<Vec<u32>, StoreError> {
    match amendment.undoes {
        Some(_) => add_ons::refunded_amendments(db, &license.id).await,
        None => Ok(Vec::new()),
    }
}

/// Checks the rules about amendments, and returns all of them: the new one is the last.
async fn check_rules(
    store: &Store,
    license: &License,
    known: Vec<Amendment>,
    amendment: &Amendment,
    refunded: Vec<u32>,
) -> Result<Arc<[Amendment]>, AmendError> {
    let (decided, amendment) = (license.status.decided(), amendment.clone());
    evaluated(store, move |_| {
        check(&known, &amendment, decided).map_err(|error| AmendError::Rule { error })?;
        if let Some(number) = restored_refund(&known, &amendment, &refunded) {
            return Err(AmendError::Refunded(number));
        }
        let mut all = known;
        all.push(amendment);
        Ok(all.into())
    })
    .await?
}

/// What the newest of all amendments of a license changes.
async fn changed(
    store: &Store,
    all: Arc<[Amendment]>,
    amendment: Amendment,
    customers: CustomerNames,
    now: DateTime<Utc>,
) -> Result<Changed, StoreError> {
    evaluated(store, move |evaluating| {
        let known = &all[..all.len().saturating_sub(1)];
        let applies_at = amendment.effective_at.max(now);
        let after = contents(&all, applies_at);
        let words = all_words(evaluating, &[&amendment], known, &customers);
        Changed {
            words: words.concat(),
            differences: after.differences(&contents(known, applies_at)),
            effects: effects(known, &all, judged_at(&all, now)),
            seats: after.terms.seats,
        }
    })
    .await
}
