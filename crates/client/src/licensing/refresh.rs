//! Take over what another process has changed in the database.

use crate::app::App;
use crate::licensing::rows::Rows;
use crate::licensing::{key_sets, record};
use crate::store::{StoreError, system_config};

/// Loads what is known anew if the database has another revision than `seen`;
/// answers the revision that is now known. While this process is changing
/// something itself, it is left for the next time.
///
/// # Errors
/// When the database refuses.
pub async fn refresh(app: &App, seen: Option<String>) -> Result<Option<String>, StoreError> {
    let revision = app.store.within(app.store.revision()).await?;
    if revision == seen {
        return Ok(seen);
    }
    let Ok(_turn) = app.turn.try_lock() else {
        return Ok(seen);
    };
    // What could not be written is newer than what is in the database.
    if app.unwritten().evidence {
        return Ok(seen);
    }
    let now = app.clock.now();
    let loading = async {
        let db = app.store.db();
        key_sets::recall(&db, app).await?;
        let identity = app.identity().ok_or(StoreError::NotReached)?;
        let recalled = Rows::load(&db).await?.recall(&app.keys, &identity, now);
        if recalled.tampered {
            app.metrics.security_event();
        }
        let evidence = recalled.evidence;
        let heartbeat_at = system_config::get(&db, system_config::HEARTBEAT_AT).await?;
        let gauges = record::load_usage(&db).await?;
        let snapshot = record::snapshot(&db, evidence, app.policy).await?;
        Ok((snapshot, heartbeat_at, gauges))
    };
    let (snapshot, heartbeat_at, gauges) = app.store.within(loading).await?;
    app.meter.join(gauges, now);
    let heartbeat_at = heartbeat_at.and_then(|text| text.parse().ok());
    app.note_call(|calls| {
        calls.heartbeat_at = calls.heartbeat_at.max(heartbeat_at.unwrap_or(now).min(now));
    });
    let evidence = &snapshot.evidence;
    if *evidence != app.snapshot().evidence {
        tracing::info!(standing = ?snapshot.standing(now), "took over a change from the database");
        let failed_at = evidence.last_failure.as_ref().map(|failure| failure.at);
        if let Some(tried_at) = evidence.confirmed_at.max(failed_at) {
            app.note_call(|calls| {
                calls.validated_at = calls.validated_at.max(tried_at.min(now));
                calls.failures = match failed_at {
                    Some(_) => calls.failures.max(1),
                    None => 0,
                };
            });
        }
    }
    app.attempts.invalidate();
    record::publish(app, snapshot).await;
    Ok(revision)
}
