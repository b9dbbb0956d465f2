//! Licenses as they are now: rows hold what the amendments added up to when the license was last
//! changed.

use chrono::{DateTime, Utc};
use license_core::amendment::{Amendment, corrected};
use license_core::signing_clock::SigningTime;
use sea_orm::ConnectionTrait;

use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError, amendments};

/// Licenses that are read together.
const AT_A_TIME: u64 = 100;

/// A license, brought up to date at `now`.
///
/// # Errors
/// If the database returns an error.
pub async fn current(
    db: &impl ConnectionTrait,
    license: License,
    now: DateTime<Utc>,
) -> Result<License, StoreError> {
    if license.is_current(now) {
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
    if license.is_plain && license.was_judged_by(now) {
        return Ok((license, Vec::new()));
    }
    let amendments = amendments_at(db, &license.id, now).await?;
    let license = licenses::amended(db, license, &amendments, now).await?;
    Ok((license, amendments))
}

/// A license, brought up to date at `now`, and all of its amendments, in the order of their numbers.
///
/// # Errors
/// If the database returns an error.
pub async fn with_history(
    db: &impl ConnectionTrait,
    license: License,
    now: DateTime<Utc>,
) -> Result<(License, Vec<Amendment>), StoreError> {
    let amendments = amendments_at(db, &license.id, now).await?;
    let license = licenses::amended(db, license, &amendments, now).await?;
    Ok((license, amendments))
}

/// All amendments of a license, in the order of their numbers, as they count at `now`.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn amendments_at(
    db: &impl ConnectionTrait,
    license_id: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Amendment>, StoreError> {
    let stored = amendments::of_license(db, license_id).await?;
    Ok(corrected(&stored, now).into_owned())
}

/// Stores what licenses have become on their own since they were last changed, so that they are
/// found, and repairs those that were judged in the future. Returns how many there were.
///
/// # Errors
/// The last error of the database; other licenses have been stored.
pub async fn catch_up(store: &Store, at: SigningTime) -> Result<usize, StoreError> {
    let mut count = 0;
    loop {
        let outdated = licenses::outdated(store.reader(), at.instant(), AT_A_TIME).await?;
        let is_last = !outdated.has_more;
        let mut failed = None;
        for license in outdated.rows {
            match store_current(store, license, at).await {
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

async fn store_current(store: &Store, license: License, at: SigningTime) -> Result<(), StoreError> {
    let (transaction, license) = store.hold(license).await?;
    let amendments = amendments_at(&transaction, &license.id, at.instant()).await?;
    let license = licenses::judged(&transaction, license, &amendments, at).await?;
    licenses::save(&transaction, &license).await?;
    Ok(transaction.commit().await?)
}
