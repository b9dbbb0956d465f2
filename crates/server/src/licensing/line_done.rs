//! Makes the change of each line of a file exactly once.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::store::StoreError;
use crate::store::bulk_lines::{self, DoneLine};
use crate::store::licenses::License;

/// The change of a line was made before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this line was done before, as amendment {} at {}", .0.amendment, .0.done_at)]
pub struct LineDone(pub DoneLine);

/// Why the change of a line is not made.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It was made before.
    #[error(transparent)]
    Done(#[from] LineDone),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the change of a line is still to be made, in its transaction.
///
/// # Errors
/// [`LineError::Done`], or if the database returns an error.
pub(super) async fn check_not_done(db: &impl ConnectionTrait, line: &str) -> Result<(), LineError> {
    match bulk_lines::find(db, line).await? {
        Some(done) => Err(LineDone(done).into()),
        None => Ok(()),
    }
}

/// Records the change of a line, in its transaction, with what the license is afterwards.
///
/// # Errors
/// If the database returns an error, for example because another process has made the change.
pub(super) async fn note_done(
    db: &impl ConnectionTrait,
    line: &str,
    license: &License,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let done = DoneLine {
        id: line.to_owned(),
        license_id: license.id.clone(),
        amendment: license.amendment,
        done_at: now,
    };
    bulk_lines::insert(db, &done).await
}
