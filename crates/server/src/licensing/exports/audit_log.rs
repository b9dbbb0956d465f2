//! The whole audit log as JSON Lines, oldest first.

use super::{AT_A_TIME, Pieces};
use crate::store::audit_log::{Filter, oldest};
use crate::store::{Store, StoreError};

/// The content type of the log.
pub const CONTENT_TYPE: &str = "application/jsonl";

/// The name of its file.
pub const FILE_NAME: &str = "license-server-audit.jsonl";

/// All entries, one per line.
#[derive(Debug, Default)]
pub struct AuditLines {
    filter: Filter,
}

impl Pieces for AuditLines {
    async fn next(&mut self, store: &Store) -> Result<Option<Vec<u8>>, StoreError> {
        let entries = oldest(store.reader(), &self.filter, AT_A_TIME).await?;
        let Some(last) = entries.last() else {
            return Ok(None);
        };
        self.filter.after = Some(last.number);
        let mut lines = Vec::new();
        for entry in &entries {
            if serde_json::to_writer(&mut lines, entry).is_ok() {
                lines.push(b'\n');
            }
        }
        Ok(Some(lines))
    }
}
