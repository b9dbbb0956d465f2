//! Licenses as they are now: rows hold what the amendments added up to when the license was last
//! changed.

use chrono::{DateTime, Utc};
use license_core::amendment::Amendment;
use sea_orm::ConnectionTrait;

use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError, amendments, customers};

/// Licenses that are read together.
const AT_A_TIME: usize = 100;

/// A license, brought up to date at `now`.
///
/// # Errors
/// If the database returns an error.
pub async fn current(
    db: &impl ConnectionTrait,
    license: License,
    now: DateTime<Utc>,
) -> Result<License, StoreError> {
    if license.changes_at.is_none_or(|at| now < at) {
        return Ok(license);
    }
    let (license, _) = with_amendments(db, license, now).await?;
    Ok(license)
}

/// Licenses, brought up to date at `now`.
///
/// # Errors
/// If the database returns an error.
pub async fn all_current(
    db: &impl ConnectionTrait,
    licenses: Vec<License>,
    now: DateTime<Utc>,
) -> Result<Vec<License>, StoreError> {
    let mut all = Vec::with_capacity(licenses.len());
    for license in licenses {
        all.push(current(db, license, now).await?);
    }
    Ok(all)
}

/// A license, brought up to date at `now`, and its amendments.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn with_amendments(
    db: &impl ConnectionTrait,
    license: License,
    now: DateTime<Utc>,
) -> Result<(License, Vec<Amendment>), StoreError> {
    if license.is_plain {
        return Ok((license, Vec::new()));
    }
    let amendments = amendments::of_license(db, &license.id).await?;
    let license = licenses::amended(db, license, &amendments, now).await?;
    Ok((license, amendments))
}

/// Stores what licenses have become on their own since they were last changed, so that they are
/// found. Returns how many there were.
///
/// # Errors
/// The last error of the database; other licenses have been stored.
pub async fn catch_up(store: &Store, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let mut count = 0;
    loop {
        let outdated = licenses::outdated(store.reader(), now, AT_A_TIME as u64).await?;
        let is_last = outdated.len() < AT_A_TIME;
        let mut failed = None;
        for license in outdated {
            match store_current(store, license, now).await {
                Ok(()) => count += 1,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => return Err(error),
            None if is_last => return Ok(count),
            None => {}
        }
    }
}

/// Locks the customer of a license that is stored in this transaction, if it had another one
/// before: a new name of the customer is then in either this license or the list of licenses that
/// get the name.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn hold_customer(
    db: &impl ConnectionTrait,
    license: License,
    before: Option<&str>,
) -> Result<License, StoreError> {
    match license.customer_id.as_deref() {
        Some(id) if Some(id) != before => {
            customers::hold(db, id).await?;
            licenses::with_customer(db, license).await
        }
        _ => Ok(license),
    }
}

async fn store_current(
    store: &Store,
    license: License,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (transaction, license) = store.hold(license).await?;
    let before = license.customer_id.clone();
    let (license, _) = with_amendments(&transaction, license, now).await?;
    let license = hold_customer(&transaction, license, before.as_deref()).await?;
    licenses::save(&transaction, &license).await?;
    Ok(transaction.commit().await?)
}
