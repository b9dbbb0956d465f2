//! Stores a change of a license together with the answer to it.

use license_service::database::Transaction;

use crate::audit::Change;
use crate::keyed_call::{OK, note_answer};
use crate::licensing::judge::ShownLicense;
use crate::store::StoreError;
use crate::store::licenses::License;

/// Commits the transaction in which a license was changed to this. The answer is the license as
/// programs see it.
///
/// # Errors
/// If another process has answered the call meanwhile, or the database returns an error.
pub(super) async fn commit(
    transaction: Transaction,
    license: &License,
    change: &Change,
) -> Result<(), StoreError> {
    let shown = || ShownLicense::of(license.clone(), change.at);
    note_answer(&transaction, OK, shown).await?;
    Ok(transaction.commit().await?)
}
