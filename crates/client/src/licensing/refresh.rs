//! Take over what another process has changed in the database.

use crate::app::App;
use crate::licensing::record;
use crate::store::StoreError;

/// Loads the evidence anew if the database has another revision than `seen`;
/// answers the revision that is now known. While this process is changing
/// something itself, it is left for the next time.
///
/// # Errors
/// When the database refuses.
pub async fn refresh(app: &App, seen: Option<String>) -> Result<Option<String>, StoreError> {
    let revision = app.store.revision().await?;
    if revision == seen {
        return Ok(seen);
    }
    let Ok(_turn) = app.turn.try_lock() else {
        return Ok(seen);
    };
    let now = app.clock.now();
    let evidence = record::recall(app.store.reader(), &app.trust, now)
        .await?
        .evidence;
    let snapshot = record::snapshot(app.store.reader(), evidence, app.policy).await?;
    if snapshot.evidence != app.snapshot().evidence {
        tracing::info!(standing = ?snapshot.standing(now), "took over a change from the database");
        if let Some(confirmed_at) = snapshot.evidence.confirmed_at {
            app.note_call(|calls| {
                calls.validated_at = calls.validated_at.max(confirmed_at.min(now));
                calls.failures = u32::from(snapshot.evidence.last_failure.is_some());
            });
        }
    }
    app.publish(snapshot);
    Ok(revision)
}
