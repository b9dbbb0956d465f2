//! The row of `system_config` with the high-water mark of the effective time, which all processes
//! of a site share.

use license_core::time_guard::Mark;
use license_service::clock::Clock as _;
use license_service::database::writes;
use sea_orm::{ConnectionTrait, DbErr};

use super::effective_clock::EffectiveClock;
use crate::store::{Store, StoreError, system_config};

const KEY: &str = system_config::EFFECTIVE_TIME;

/// Whether the database contains what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It does, or contains what another process has written since.
    Yes,
    /// It accepted the write, but still contains the old value.
    No,
}

pub(super) async fn load(db: &impl ConnectionTrait) -> Result<Option<Mark>, StoreError> {
    let text = system_config::get(db, KEY).await?;
    let mark: Option<Mark> = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(mark.map(Mark::as_claim))
}

pub(super) async fn store(store: &Store, clock: &EffectiveClock) -> Result<Stored, StoreError> {
    let db = store.db();
    let now = clock.now();
    let text = system_config::get(&db, KEY).await?;
    let stored = text
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok());
    let answers = clock.answers();
    let mark = clock.mark_beside(stored, answers);
    if stored != Some(mark) {
        let new = serde_json::to_string(&mark).map_err(|error| DbErr::Json(error.to_string()))?;
        let written = match &text {
            Some(text) => {
                let replaced = system_config::replace(&db, KEY, text, &new, now).await;
                replaced.map(drop)
            }
            None => system_config::insert_if_missing(&db, KEY, &new, now).await,
        };
        match written {
            Err(StoreError::Database(error)) if writes::is_skipped(&error) => {
                return Ok(Stored::No);
            }
            written => written?,
        }
        let held = system_config::get(&db, KEY).await?;
        if held == text {
            return Ok(Stored::No);
        }
        if held.as_ref() != Some(&new) {
            // Another process was faster: its mark is merged with the next time.
            return Ok(Stored::Yes);
        }
    }
    clock.note_stored(answers);
    Ok(Stored::Yes)
}
