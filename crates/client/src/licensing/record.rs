//! Change the state, in the database and in memory.
//!
//! Evidence, features and the log of attempts change in one transaction. What
//! the database cannot take now is remembered, and written with the next
//! change that it takes.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use license_core::evidence::Evidence;
use license_core::offline::Pending;
use license_core::standing::Policy;
use license_core::usage;
use license_service::database::{Transaction, is_for_another_try, repeated};
use sea_orm::{ConnectionTrait, DbErr};

use crate::app::{App, Unwritten};
use crate::licensing::catch_up::is_revoked;
use crate::licensing::keep::keep;
use crate::licensing::requests;
use crate::licensing::rows::Rows;
use crate::snapshot::Snapshot;
use crate::store::local_license_validation_attempts::Attempt;
use crate::store::{
    StoreError, local_feature_flags, local_license_cache, local_license_validation_attempts,
    system_config,
};

/// Joins the evidence with the site's switches.
///
/// # Errors
/// When the database refuses.
pub async fn snapshot(
    db: &impl ConnectionTrait,
    evidence: Evidence,
    policy: Policy,
) -> Result<Snapshot, StoreError> {
    let switched_off = local_feature_flags::switched_off(db).await?;
    Ok(Snapshot::new(evidence, switched_off, policy))
}

/// Changes the evidence in one transaction, together with lines in the attempts log and pending
/// changes, and answers the resulting state, for [`publish`]. The caller holds `app.turn`.
///
/// `change` gets what counts at that moment: another process may have changed the
/// database since the License Server was asked, and so may others, whose changes
/// count for nothing where keys are trusted.
///
/// # Errors
/// When the database refuses; then nothing is changed.
pub async fn change(
    app: &App,
    attempt: Option<Attempt>,
    now: DateTime<Utc>,
    change: impl Fn(&Evidence) -> Evidence,
) -> Result<Snapshot, StoreError> {
    let waiting = app.unwritten();
    let attempts: Vec<Attempt> = waiting.attempts.iter().cloned().chain(attempt).collect();
    let snapshot = app
        .store
        .within(repeated(|| {
            try_change(app, &waiting, &attempts, now, &change)
        }))
        .await?;
    app.note_unwritten(|unwritten| {
        unwritten.evidence = false;
        unwritten.heartbeat &= !waiting.heartbeat;
        unwritten.usage &= !waiting.usage;
        // More may have come in the meantime.
        let written = waiting.attempts.len().min(unwritten.attempts.len());
        unwritten.attempts.drain(..written);
    });
    // Lines of others are read when the log is due again, however often others make changes.
    if !attempts.is_empty() {
        app.attempts.invalidate();
    }
    Ok(snapshot)
}

async fn try_change(
    app: &App,
    waiting: &Unwritten,
    attempts: &[Attempt],
    now: DateTime<Utc>,
    change: impl Fn(&Evidence) -> Evidence,
) -> Result<Snapshot, StoreError> {
    let known = known(app);
    let identity = app.identity().ok_or(StoreError::NotReached)?;
    let transaction = app.store.begin(now).await?;
    let rows = Rows::load(&transaction, &known).await?;
    let remembered = app.remembered();
    let recalled = rows.recall(&app.keys, &identity, &known, &remembered, now);
    let before = if waiting.evidence && !app.keys.are_required() {
        recalled.evidence.merged(&known)
    } else {
        recalled.evidence.clone()
    };
    let after = change(&before);
    recalled.report(app, &known);
    let is_changed = after != before || (waiting.evidence && after != recalled.stored);
    if recalled.is_to_be_written() || is_changed {
        Rows::of(&after, &app.policy)
            .save(&transaction, now)
            .await?;
        if recalled.tampered || after.lease != recalled.stored.lease {
            save_features(&transaction, &after, now).await?;
        }
    }
    for attempt in attempts {
        append(&transaction, attempt, &identity.hardware_id).await?;
    }
    if waiting.heartbeat {
        let at = app.calls().heartbeat_at().to_rfc3339();
        system_config::set(&transaction, system_config::HEARTBEAT_AT, &at, now).await?;
    }
    if waiting.usage {
        save_usage(&transaction, app, now).await?;
    }
    let snapshot = snapshot(&transaction, after, app.policy).await?;
    transaction.commit().await?;
    Ok(snapshot)
}

/// What this process knows, as it counts beside what is stored: a license whose key
/// was revoked in the meantime is worth no more than its row.
#[must_use]
pub fn known(app: &App) -> Evidence {
    let known = app.snapshot().evidence.clone();
    if is_revoked(app, &known) {
        return Evidence::default();
    }
    known
}

/// Adds a line to the log of attempts. One that the database cannot hold, such
/// as a text in another script than its own, is dropped: it must not keep the
/// evidence from being written.
async fn append(
    transaction: &Transaction,
    attempt: &Attempt,
    hardware_id: &str,
) -> Result<(), StoreError> {
    let savepoint = transaction.begin().await?;
    match local_license_validation_attempts::append(&savepoint, attempt, hardware_id).await {
        Ok(()) => savepoint.commit().await?,
        Err(error) if is_for_another_try(&error) => return Err(error),
        Err(error) => {
            savepoint.rollback().await?;
            tracing::error!(%error, "dropped a line of the attempts log that cannot be stored");
        }
    }
    Ok(())
}

/// Writes what the database could not take before. The caller holds
/// `app.turn`.
///
/// # Errors
/// When the database still refuses.
pub async fn write_back(app: &App, now: DateTime<Utc>) -> Result<(), StoreError> {
    let snapshot = change(app, None, now, Evidence::clone).await?;
    publish(app, snapshot).await;
    tracing::info!("wrote the pending changes to the database");
    Ok(())
}

/// Removes the license and what is known about it, with all requests by file
/// that wait for an answer: none of them must bring it back. `waiting` is the
/// one that gives it up. The site's switches stay. The caller holds
/// `app.turn`.
///
/// # Errors
/// When the database refuses; then nothing is changed.
pub async fn forget(
    app: &App,
    license_key: &str,
    waiting: Option<Pending>,
) -> Result<(), StoreError> {
    let now = app.clock.now();
    let snapshot = app
        .store
        .within(async {
            let transaction = app.store.begin(now).await?;
            local_license_cache::remove(&transaction, license_key).await?;
            local_feature_flags::license(&transaction, &BTreeSet::new(), now).await?;
            system_config::remove(&transaction, system_config::EVIDENCE).await?;
            let waiting: Vec<Pending> = waiting.into_iter().collect();
            requests::store(&transaction, &waiting, now).await?;
            let snapshot = snapshot(&transaction, Evidence::default(), app.policy).await?;
            transaction.commit().await?;
            Ok(snapshot)
        })
        .await?;
    app.note_unwritten(|unwritten| unwritten.evidence = false);
    app.note_given_up(license_key);
    publish(app, snapshot).await;
    Ok(())
}

/// Makes new knowledge the one that answers, also after a restart without the
/// database.
pub async fn publish(app: &App, snapshot: Snapshot) {
    app.publish(snapshot);
    keep(app).await;
}

async fn save_features(
    db: &impl ConnectionTrait,
    evidence: &Evidence,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(lease) = &evidence.lease else {
        return Ok(());
    };
    let unreadable = lease.license().unreadable();
    if !unreadable.is_empty() {
        tracing::warn!(
            fields = unreadable.join(", "),
            "the license has unreadable fields, treated as absent"
        );
    }
    let listed = lease.license().features();
    for (entry, why) in &listed.skipped {
        tracing::warn!(entry, %why, "skipped an invalid entry of enabledFeatures");
    }
    local_feature_flags::license(db, &listed.keys, now).await
}

/// Joins the reports that this process has heard with those in the database.
///
/// # Errors
/// When the database refuses.
pub async fn save_usage(
    db: &impl ConnectionTrait,
    app: &App,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    app.meter.join(load_usage(db).await?, now);
    let text = serde_json::to_string(&app.meter.gauges());
    let text = text.map_err(|e| DbErr::Json(e.to_string()))?;
    system_config::set(db, system_config::USAGE, &text, now).await
}

/// The reports in the database. An unreadable row counts as missing.
///
/// # Errors
/// When the database refuses.
pub async fn load_usage(db: &impl ConnectionTrait) -> Result<usage::Gauges, StoreError> {
    let text = system_config::get(db, system_config::USAGE).await?;
    Ok(text
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default())
}
