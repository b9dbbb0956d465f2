//! Keep the effective time for the next start: in its file, and as high-water
//! marks in the local copy and in the database.

use crate::app::App;
use crate::timekeeping::Occasion;

/// Keeps the time in all three places. There is nothing to keep where no keys are trusted, and
/// before the time has a basis.
pub async fn keep_time(app: &App, occasion: Occasion) {
    let Some(is_in_file) = app
        .time
        .write_file(occasion, app.knowledge.remembered())
        .await
    else {
        return;
    };
    let mut troubles = Vec::new();
    if !is_in_file {
        troubles.push("time.json in STATE_DIR, or its key, cannot be written");
    }
    if app
        .time
        .effective()
        .is_some_and(|clock| !clock.knows_the_start())
    {
        troubles.push("the kernel's /proc/sys/kernel/random/boot_id cannot be read");
    }
    app.knowledge.write_local_copy().await;
    if app.knowledge.is_database_open() && !app.time.store_mark(&app.store).await {
        troubles.push(
            "the database accepts the row license_client.effective_time but does not keep it",
        );
    }
    app.time
        .note_trouble(Some(troubles.join("; ")).filter(|troubles| !troubles.is_empty()));
}

/// Keeps the time in its file alone, which costs little.
pub async fn keep_in_file(app: &App) {
    app.time
        .write_file(Occasion::Running, app.knowledge.remembered())
        .await;
}
