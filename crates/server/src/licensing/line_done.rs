//! Makes the change of each line of a file exactly once.

use chrono::{DateTime, Utc};
use license_service::database::Transaction;
use sea_orm::ConnectionTrait;

use crate::store::StoreError;
use crate::store::bulk_lines::{self, DoneLine};
use crate::store::licenses::License;

/// The change of a line was made before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this line has already been processed, as amendment {} at {}", .0.amendment, .0.done_at)]
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

/// Whether a change is stored, and for which line of a file it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storing<'a> {
    line: Option<&'a str>,
    is_stored: bool,
}

impl<'a> Storing<'a> {
    /// The change is stored, for no line.
    pub(super) const ALONE: Self = Self {
        line: None,
        is_stored: true,
    };
    /// The change is only checked, for no line.
    pub(super) const PREVIEW: Self = Self {
        line: None,
        is_stored: false,
    };

    /// The change of a line is stored, or with `is_dry_run` only checked.
    pub(super) fn of_line(line: &'a str, is_dry_run: bool) -> Self {
        Self {
            line: Some(line),
            is_stored: !is_dry_run,
        }
    }

    /// Whether the change is stored.
    pub(super) fn is_stored(self) -> bool {
        self.is_stored
    }

    /// Whether the change is still to be made.
    ///
    /// # Errors
    /// [`LineError::Done`], or if the database returns an error.
    pub(super) async fn check(self, db: &impl ConnectionTrait) -> Result<(), LineError> {
        let Some(line) = self.line else {
            return Ok(());
        };
        match bulk_lines::find(db, line).await? {
            Some(done) => Err(LineDone(done).into()),
            None => Ok(()),
        }
    }

    /// Records that the change was made, with what the license is afterwards.
    ///
    /// # Errors
    /// If the database returns an error, for example because another process has made the change.
    pub(super) async fn note(
        self,
        db: &impl ConnectionTrait,
        license: &License,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Some(line) = self.line else {
            return Ok(());
        };
        let done = DoneLine {
            id: line.to_owned(),
            license_id: license.id.clone(),
            amendment: license.amendment,
            done_at: now,
        };
        bulk_lines::insert(db, &done).await
    }

    /// Commits the transaction of the change if it is stored, and otherwise rolls it back. Returns
    /// whether it was stored.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn end(self, transaction: Transaction) -> Result<bool, StoreError> {
        match self.is_stored {
            true => transaction.commit().await?,
            false => drop(transaction),
        }
        Ok(self.is_stored)
    }
}
