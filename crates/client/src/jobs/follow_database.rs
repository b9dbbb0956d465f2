//! Applies changes of other processes, and writes to the database what it
//! could not take before.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::licensing::record::write_back;
use crate::licensing::refresh::refresh;
use crate::licensing::resume::open;
use crate::store::StoreError;

/// How often the database is checked without notifications.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn run(app: Arc<App>) -> Infallible {
    let mut seen = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = app.database_changed.notified() => {}
        }
        match look(&app, seen.clone()).await {
            Ok(revision) => {
                seen = revision;
                note_well(&app);
            }
            Err(error) => note_trouble(&app, &error).await,
        }
    }
}

/// Opens the database at the start; if that fails, it is tried again.
pub(crate) async fn open_once(app: Arc<App>) {
    if let Err(error) = open(&app).await {
        note_trouble(&app, &error).await;
    }
}

async fn look(app: &App, seen: Option<String>) -> Result<Option<String>, StoreError> {
    if !app.database().is_open {
        open(app).await?;
    }
    if !app.unwritten().is_empty() {
        let _turn = app.turn.lock().await;
        write_back(app, app.clock.now()).await?;
    }
    refresh(app, seen).await
}

fn note_well(app: &App) {
    let before = app.note_database(|database| database.trouble = None);
    if before.trouble.is_some() {
        tracing::info!("database available again");
    }
}

/// Logged one time, not every few seconds; `/readyz` always shows it.
async fn note_trouble(app: &App, error: &StoreError) {
    let trouble = app.store.why_not().await;
    let trouble = trouble.unwrap_or_else(|| error.trouble());
    let before = app.note_database(|database| database.trouble = Some(trouble.clone()));
    if before.trouble.as_ref() != Some(&trouble) {
        tracing::error!(
            %trouble,
            "database unavailable, serving from memory and retrying"
        );
    }
}
