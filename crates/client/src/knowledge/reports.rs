//! What is reported to this service and by it: usage, and the time of the last heartbeat. Each has
//! a separate row, which is stored without changing the evidence.

use chrono::{DateTime, Utc};
use license_core::usage::Gauges;
use sea_orm::{ConnectionTrait, DbErr};

use super::Knowledge;
use crate::store::{StoreError, system_config};

/// A report is neither in the database nor in the local copy.
#[derive(Clone, Copy, Debug)]
pub struct NotKept;

impl Knowledge {
    /// Stores the time of a heartbeat that was sent at `now`, or keeps it until the database is
    /// available.
    pub async fn keep_heartbeat(&self, now: DateTime<Utc>) {
        let store = &self.parts.store;
        let storing = async {
            let transaction = self.begin(now).await?;
            save_heartbeat(&transaction, now, now).await?;
            Ok(transaction.commit().await?)
        };
        if let Err(error) = store.within(storing).await {
            tracing::warn!(%error, "failed to store the time of the heartbeat, keeping it until \
                the database is available");
            self.note_unwritten(|unwritten| unwritten.heartbeat = true);
            self.write_local_copy().await;
        }
    }

    /// Stores what services have reported to the meter, or keeps it until the database is
    /// available.
    ///
    /// # Errors
    /// [`NotKept`] when the local copy cannot be written either.
    pub async fn keep_usage(&self, now: DateTime<Utc>) -> Result<(), NotKept> {
        let store = &self.parts.store;
        let storing = async {
            let transaction = self.begin(now).await?;
            self.save_usage(&transaction, now).await?;
            Ok(transaction.commit().await?)
        };
        if let Err(error) = store.within(storing).await {
            tracing::warn!(%error, "failed to store a usage report, keeping it until the database \
                is available");
            self.note_unwritten(|unwritten| unwritten.usage = true);
            if !self.write_local_copy().await {
                return Err(NotKept);
            }
        }
        Ok(())
    }

    /// Merges the reports that this process has received with those in the database.
    pub(super) async fn save_usage(
        &self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let meter = &self.parts.meter;
        meter.join(load_usage(db).await?, now);
        let text = serde_json::to_string(&meter.gauges());
        let text = text.map_err(|error| DbErr::Json(error.to_string()))?;
        system_config::set(db, system_config::USAGE, &text, now).await
    }
}

/// The reports in the database. An unreadable row counts as missing.
pub(super) async fn load_usage(db: &impl ConnectionTrait) -> Result<Gauges, StoreError> {
    let text = system_config::get(db, system_config::USAGE).await?;
    Ok(text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default())
}

pub(super) async fn save_heartbeat(
    db: &impl ConnectionTrait,
    sent_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let text = sent_at.to_rfc3339();
    system_config::set(db, system_config::HEARTBEAT_AT, &text, now).await
}

/// When any process has sent the last heartbeat. An unreadable row counts as missing.
pub(super) async fn load_heartbeat(
    db: &impl ConnectionTrait,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let text = system_config::get(db, system_config::HEARTBEAT_AT).await?;
    Ok(text.and_then(|text| text.parse().ok()))
}
