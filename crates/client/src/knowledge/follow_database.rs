//! Follows the database: opens it, writes pending changes, and applies the changes of other
//! processes.

use super::Knowledge;
use crate::store::StoreError;

impl Knowledge {
    /// Opens the database if that has not succeeded yet, writes pending changes, and reloads the
    /// state if the revision differs from `seen`. Returns the loaded revision. Notes whether the
    /// database is available.
    pub async fn follow_database(&self, seen: Option<String>) -> Option<String> {
        match self.try_to_follow(seen.clone()).await {
            Ok(revision) => {
                self.database.note_available();
                revision
            }
            Err(error) => {
                self.database.note_trouble(&self.parts.store, &error).await;
                seen
            }
        }
    }

    /// Opens the database at the start. If that fails, it is noted, and
    /// [`Knowledge::follow_database`] tries again.
    pub async fn try_to_open_database(&self) {
        if let Err(error) = self.open_database().await {
            self.database.note_trouble(&self.parts.store, &error).await;
        }
    }

    async fn try_to_follow(&self, seen: Option<String>) -> Result<Option<String>, StoreError> {
        if !self.is_database_open() {
            self.open_database().await?;
        }
        if self.has_unwritten() {
            self.turn().await.flush().await?;
            tracing::info!("wrote the pending changes to the database");
        }
        self.reload(seen).await
    }
}
