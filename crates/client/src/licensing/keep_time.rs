//! Keep the effective time for the next start: in its file, and as high-water
//! marks in the local copy and in the database.

use license_core::time_guard::Mark;
use sea_orm::{ConnectionTrait, DbErr};

use crate::app::App;
use crate::effective_clock::EffectiveClock;
use crate::licensing::keep::keep;
use crate::store::{StoreError, system_config};

/// Keeps the time, where it counts and is certain.
pub async fn keep_time(app: &App) {
    let Some(clock) = app.effective.as_ref().filter(|clock| clock.may_be_kept()) else {
        return;
    };
    app.kept_time.write(|| clock.believed()).await;
    keep(app).await;
    if !app.database().is_open {
        return;
    }
    if let Err(error) = app.store.within(store(app, clock)).await {
        // The next time is in a few minutes, and the file has it.
        tracing::debug!(%error, "failed to store the effective time in the database");
    }
}

/// The mark in the database. One that cannot be read is none.
///
/// # Errors
/// When the database refuses.
pub async fn recall(db: &impl ConnectionTrait) -> Result<Option<Mark>, StoreError> {
    let text = system_config::get(db, system_config::EFFECTIVE_TIME).await?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

async fn store(app: &App, clock: &EffectiveClock) -> Result<(), StoreError> {
    let db = app.store.db();
    let key = system_config::EFFECTIVE_TIME;
    let now = app.clock.now();
    let text = system_config::get(&db, key).await?;
    let stored = text
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok());
    let answers = clock.answers();
    let mark = clock.mark_beside(stored, answers);
    if stored != Some(mark) {
        let new = serde_json::to_string(&mark).map_err(|error| DbErr::Json(error.to_string()))?;
        let written = match text {
            Some(text) => system_config::replace(&db, key, &text, &new, now).await?,
            None => {
                system_config::insert_if_missing(&db, key, &new, now).await?;
                true
            }
        };
        if !written {
            // Another process was faster: its mark is joined with the next time.
            return Ok(());
        }
    }
    clock.note_stored(answers);
    Ok(())
}
