//! Keep the effective time for the next start: in its file, and as high-water
//! marks in the local copy and in the database.

use license_core::time_guard::{Believed, Mark};
use sea_orm::{ConnectionTrait, DbErr};

use crate::app::{App, KeptTime};
use crate::effective_clock::EffectiveClock;
use crate::licensing::keep::keep;
use crate::store::{StoreError, system_config};

/// Keeps the time in all three places.
pub async fn keep_time(app: &App) {
    keep_as(app, EffectiveClock::believed).await;
}

/// The same for the last time in this run, which stops in order.
pub async fn keep_at_stop(app: &App) {
    keep_as(app, EffectiveClock::stopped).await;
}

/// Keeps the time in its file alone, which costs little.
pub async fn keep_in_file(app: &App) {
    if let Some(clock) = app.effective.as_ref().filter(|clock| clock.may_be_kept()) {
        let content = || kept_time(app, clock.believed());
        app.kept_time.write(content).await;
    }
}

async fn keep_as(app: &App, kept: fn(&EffectiveClock) -> Believed) {
    let Some(clock) = app.effective.as_ref().filter(|clock| clock.may_be_kept()) else {
        return;
    };
    let mut troubles = Vec::new();
    if !app.kept_time.write(|| kept_time(app, kept(clock))).await {
        troubles.push("time.json in STATE_DIR, or its key, cannot be written");
    }
    if !clock.knows_the_start() {
        troubles.push("the kernel's /proc/sys/kernel/random/boot_id cannot be read");
    }
    keep(app).await;
    if app.database().is_open {
        match app.store.within(store(app, clock)).await {
            Ok(Kept::Yes) => {}
            Ok(Kept::No) => troubles.push(
                "the database accepts the row license_client.effective_time but does not keep it",
            ),
            // The next time is in a few minutes, and the file has it.
            Err(error) => {
                tracing::debug!(%error, "failed to store the effective time in the database");
            }
        }
    }
    app.note_time_trouble(Some(troubles.join("; ")).filter(|troubles| !troubles.is_empty()));
}

fn kept_time(app: &App, believed: Believed) -> KeptTime {
    KeptTime {
        believed,
        remembered: app.remembered(),
    }
}

/// The mark in the database. An unreadable one counts as missing. Others can write there, so it
/// is only a claim.
///
/// # Errors
/// When the database refuses.
pub async fn recall(db: &impl ConnectionTrait) -> Result<Option<Mark>, StoreError> {
    let text = system_config::get(db, system_config::EFFECTIVE_TIME).await?;
    let mark: Option<Mark> = text.and_then(|text| serde_json::from_str(&text).ok());
    Ok(mark.map(Mark::as_claim))
}

/// Whether the database holds what was written to it.
enum Kept {
    /// It does, or holds what another process has written since.
    Yes,
    /// It accepted the write, but still contains the old value.
    No,
}

async fn store(app: &App, clock: &EffectiveClock) -> Result<Kept, StoreError> {
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
        match &text {
            Some(text) => drop(system_config::replace(&db, key, text, &new, now).await?),
            None => system_config::insert_if_missing(&db, key, &new, now).await?,
        }
        let held = system_config::get(&db, key).await?;
        if held == text {
            return Ok(Kept::No);
        }
        if held.as_ref() != Some(&new) {
            // Another process was faster: its mark is joined with the next time.
            return Ok(Kept::Yes);
        }
    }
    clock.note_stored(answers);
    Ok(Kept::Yes)
}
