//! The requests by file that wait for an answer.

use chrono::{DateTime, Utc};
use license_core::offline::Pending;
use sea_orm::{ConnectionTrait, DbErr};

use crate::store::{StoreError, system_config};

/// The requests, the newest first. A row that cannot be read is none.
///
/// # Errors
/// When the database refuses.
pub async fn load(db: &impl ConnectionTrait) -> Result<Vec<Pending>, StoreError> {
    let text = system_config::get(db, system_config::OFFLINE_REQUESTS).await?;
    let pending = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(pending.unwrap_or_default())
}

/// Stores them.
///
/// # Errors
/// When the database refuses.
pub async fn store(
    db: &impl ConnectionTrait,
    pending: &[Pending],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(pending).map_err(|error| DbErr::Json(error.to_string()))?;
    system_config::set(db, system_config::OFFLINE_REQUESTS, &text, now).await
}
