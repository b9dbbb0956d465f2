//! Take up the work where the last run left it.

use license_core::evidence::Evidence;
use license_core::license_key;
use license_core::standing::Standing;

use crate::app::App;
use crate::licensing::record;
use crate::store::{StoreError, system_config};

/// Loads the evidence and says when the next calls are due. A license that
/// version 1.0.0 activated is adopted.
///
/// # Errors
/// When the database refuses.
pub async fn resume(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now();
    let recalled = record::recall(app.store.reader(), &app.trust, now).await?;
    let snapshot = if recalled.adopted {
        tracing::info!(
            license_key = license_key::mask(&recalled.evidence.license_key),
            "adopted the license of the Python service; it is validated now"
        );
        record::change(app, None, now, Evidence::clone).await?
    } else {
        record::snapshot(app.store.reader(), recalled.evidence, app.policy).await?
    };
    let heartbeat_at = system_config::get(app.store.reader(), system_config::HEARTBEAT_AT)
        .await?
        .and_then(|text| text.parse().ok());

    let evidence = &snapshot.evidence;
    let failed_at = evidence.last_failure.as_ref().map(|failure| failure.at);
    let validated_at = evidence.confirmed_at.max(failed_at);
    let standing = snapshot.standing(now);
    app.note_call(|calls| {
        // A time in the future, from a clock that was set back, must not put
        // the next call off.
        calls.validated_at = validated_at.unwrap_or(now).min(now);
        calls.heartbeat_at = heartbeat_at
            .max(evidence.activated_at)
            .unwrap_or(now)
            .min(now);
        calls.failures = u32::from(failed_at.is_some());
        // Whoever restarts a service that is not well wants to know now
        // whether it is better.
        calls.validation_wanted = matches!(standing, Standing::Grace { .. } | Standing::Lapsed(_));
    });
    tracing::info!(?standing, "the evidence is loaded");
    app.publish(snapshot);
    Ok(())
}
