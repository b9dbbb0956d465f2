//! Take over what another process has changed in the database.

use std::collections::BTreeSet;

use std::time::Duration;

use license_core::evidence::{Evidence, Failure};

use crate::app::App;
use crate::licensing::rows::Rows;
use crate::licensing::{key_sets, record};
use crate::snapshot::Snapshot;
use crate::store::{StoreError, system_config};

/// How long a row that others change again and again stays as they leave it.
const MEND_INTERVAL: Duration = Duration::from_secs(60);

/// Reloads the state if the database's revision differs from `seen`; answers the loaded revision.
/// While this process is making a change itself, this is left for the next time, and so are rows
/// that cannot be repaired yet.
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
    let known = record::known(app);
    let loading = async {
        // Other processes make changes in the meantime, so everything is read from one snapshot.
        let reading = app.store.db().begin_reading().await?;
        let revision = system_config::get(&reading, system_config::REVISION).await?;
        key_sets::recall(&reading, app).await?;
        let identity = app.identity().ok_or(StoreError::NotReached)?;
        let rows = Rows::load(&reading, &known).await?;
        let recalled = rows.recall(&app.keys, &identity, &known, &app.remembered(), now);
        let heartbeat_at = system_config::get(&reading, system_config::HEARTBEAT_AT).await?;
        let gauges = record::load_usage(&reading).await?;
        let evidence = recalled.evidence.clone();
        let snapshot = record::snapshot(&reading, evidence, app.policy).await?;
        reading.rollback().await?;
        Ok((revision, recalled, snapshot, heartbeat_at, gauges))
    };
    let (mut revision, recalled, mut snapshot, heartbeat_at, gauges) =
        app.store.within(loading).await?;
    if recalled.is_to_be_written() {
        if app.may_mend(MEND_INTERVAL) {
            snapshot = record::change(app, None, now, Evidence::clone).await?;
        } else {
            revision = seen;
        }
    } else if recalled.not_taken_over.is_some() && app.may_mend(MEND_INTERVAL) {
        recalled.report(app, &known);
    }
    app.meter.join(gauges, now);
    let heartbeat_at = heartbeat_at.and_then(|text| text.parse().ok());
    app.note_call(|calls| calls.heartbeat_sent_elsewhere(heartbeat_at, now));
    let off = |snapshot: &Snapshot| {
        let keys = snapshot.entitlements().switched_off().cloned();
        keys.collect::<BTreeSet<_>>()
    };
    let (before, after) = (off(&app.snapshot()), off(&snapshot));
    if before != after {
        tracing::warn!(
            switched_off = ?after.difference(&before).collect::<Vec<_>>(),
            switched_on = ?before.difference(&after).collect::<Vec<_>>(),
            "took over changed feature switches from the database"
        );
    }
    let evidence = &snapshot.evidence;
    if *evidence != app.snapshot().evidence {
        tracing::info!(standing = ?snapshot.standing(now), "applied a change from the database");
        let failed_at = evidence.last_failure.as_ref().map(Failure::at);
        // Others could put calls off by what only the columns say.
        let tried_at = if app.keys.are_required() {
            let signed_at = evidence.newest_signed_at();
            signed_at.filter(|_| signed_at > known.newest_signed_at())
        } else {
            evidence.confirmed_at.max(failed_at)
        };
        if let Some(tried_at) = tried_at {
            app.note_schedule_stopped(false);
            app.note_call(|calls| calls.validated_elsewhere(tried_at, failed_at.is_some(), now));
        }
    }
    record::publish(app, snapshot).await;
    Ok(revision)
}
