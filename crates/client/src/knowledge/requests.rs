//! The pending request files.

use chrono::{DateTime, Utc};
use license_core::offline::Pending;
use sea_orm::{ConnectionTrait, DbErr};

use super::Knowledge;
use super::turn::Turn;
use crate::store::{StoreError, system_config};

impl Knowledge {
    /// The requests that wait for an answer, newest first. An unreadable row counts as missing.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn requests(&self) -> Result<Vec<Pending>, StoreError> {
        let db = self.parts.store.db();
        self.parts.store.within(load(&db)).await
    }
}

impl Turn<'_> {
    /// Changes the requests that wait for an answer, in a transaction of their own.
    ///
    /// # Errors
    /// If the database returns an error; nothing is changed then.
    pub async fn change_requests(
        &self,
        change: impl FnOnce(&mut Vec<Pending>),
    ) -> Result<(), StoreError> {
        let knowledge = self.knowledge;
        let now = knowledge.clock.now();
        let changing = async {
            let transaction = knowledge.begin(now).await?;
            let mut pending = load(&transaction).await?;
            change(&mut pending);
            store(&transaction, &pending, now).await?;
            Ok(transaction.commit().await?)
        };
        knowledge.parts.store.within(changing).await
    }
}

async fn load(db: &impl ConnectionTrait) -> Result<Vec<Pending>, StoreError> {
    let text = system_config::get(db, system_config::OFFLINE_REQUESTS).await?;
    let pending = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(pending.unwrap_or_default())
}

pub(super) async fn store(
    db: &impl ConnectionTrait,
    pending: &[Pending],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(pending).map_err(|error| DbErr::Json(error.to_string()))?;
    system_config::set(db, system_config::OFFLINE_REQUESTS, &text, now).await
}
