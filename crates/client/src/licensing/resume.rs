//! Resume the work of the last run.

use chrono::{DateTime, Utc};
use license_core::calls::Calls;
use license_core::evidence::Evidence;
use license_core::hardware::Verdict;
use license_core::lease::Lease;
use license_core::license_key;

use crate::app::App;
use crate::identity::{self, Identity};
use crate::licensing::rows::Rows;
use crate::licensing::{hardware, keep, keep_time, key_sets, record};
use crate::store::{StoreError, system_config};

/// Loads the local copy, and then the database, if it is available. If not, [`open`] must be
/// retried.
pub async fn resume(app: &App) -> Result<(), StoreError> {
    recall(app);
    open(app).await
}

/// Loads the local copy, which needs no database.
pub fn recall(app: &App) {
    let now = app.clock.now();
    if let Some(kept) = keep::recall(app, now) {
        app.settle_identity(kept.identity);
        app.note_unwritten(|unwritten| *unwritten = kept.unwritten);
        app.meter.recall(kept.reported_usage, now);
        if let Some(clock) = &app.unsigned {
            clock.note_ran_until(kept.unsigned_time);
        }
        let mark = kept.effective_time.as_ref();
        app.recall_time(mark, &kept.snapshot.evidence);
        app.publish(kept.snapshot);
        take_up_calls(app, Some(kept.heartbeat_at), app.clock.now());
    }
}

/// Makes the missing tables, settles who this installation is, and loads what
/// is known. A license that version 1.0.0 activated is adopted.
///
/// # Errors
/// When the database refuses; it can be tried again.
pub async fn open(app: &App) -> Result<(), StoreError> {
    let _turn = app.turn.lock().await;
    let now = app.clock.now();
    let (identity, comparison, adopted, heartbeat_at) = app
        .store
        .within(async {
            app.store.prepare(now).await?;
            let db = app.store.db();
            let secret = identity::secret(&db, now).await?;
            key_sets::recall(&db, app).await?;
            let rows = Rows::load(&db, &record::known(app)).await?;
            let known = rows.addressee(&app.keys).or_else(|| known_here(app, &rows));
            let settling = identity::settle(
                &db,
                &app.prescribed,
                known.as_ref(),
                &secret,
                &app.root,
                now,
            );
            let (identity, repaired) = settling.await?;
            (0..repaired).for_each(|_| app.metrics.security_event());
            let comparison = hardware::examine(app, &db, &secret, now).await?;
            let mark = keep_time::recall(&db).await?;
            let remembered = app.remembered();
            let nothing = Evidence::default();
            let recalled = rows.recall(&app.keys, &identity, &nothing, &remembered, now);
            app.recall_time(mark.as_ref(), &recalled.evidence);
            let adopted = recalled
                .adopted
                .then(|| recalled.evidence.license_key().to_owned());
            let heartbeat_at = system_config::get(&db, system_config::HEARTBEAT_AT).await?;
            app.meter.join(record::load_usage(&db).await?, now);
            Ok((identity, comparison, adopted, heartbeat_at))
        })
        .await?;
    if let Some(license_key) = adopted {
        tracing::info!(
            license_key = license_key::mask(&license_key),
            "adopted the license of the Python service, validating it now"
        );
    }
    // The loaded data may have changed the time.
    let now = app.clock.now();
    let is_ours = app
        .identity()
        .is_some_and(|known| known.installation_id == identity.installation_id);
    app.settle_identity(identity);
    if !is_ours {
        // The local copy of another installation does not apply to this one.
        let nothing = app.snapshot().with_evidence(Evidence::default());
        app.publish(nothing);
    }
    // A local copy of this installation may know more than the database: it
    // was away, or is a restored backup.
    app.note_unwritten(|unwritten| {
        if is_ours {
            unwritten.evidence = true;
        } else {
            *unwritten = Default::default();
        }
    });
    let drifted = comparison.verdict == Verdict::Drifted;
    app.note_comparison(comparison);
    let snapshot = record::change(app, None, now, Evidence::clone).await?;
    record::publish(app, snapshot).await;
    app.note_database(|database| {
        database.is_open = true;
        database.trouble = None;
    });
    take_up_calls(app, heartbeat_at.and_then(|text| text.parse().ok()), now);
    if drifted {
        app.note_call(Calls::validation_wanted);
    }
    tracing::info!(standing = ?app.snapshot().standing(now), "evidence loaded");
    Ok(())
}

/// Who this installation is by what this process knows without the database,
/// where it knows of a license, and the database of no other.
fn known_here(app: &App, rows: &Rows) -> Option<Identity> {
    let snapshot = app.snapshot();
    let evidence = &snapshot.evidence;
    let is_signed = matches!(evidence.lease.as_ref()?, Lease::Signed(_));
    let other = rows.cached.as_ref().map(|cached| &cached.license_key);
    let is_other = other.is_some_and(|other| !license_key::same(other, evidence.license_key()));
    // An unsigned license in the database proves nothing.
    if is_other && !is_signed {
        return None;
    }
    app.identity().map(|identity| (*identity).clone())
}

/// Determines when the next calls are due.
fn take_up_calls(app: &App, heartbeat_at: Option<DateTime<Utc>>, now: DateTime<Utc>) {
    let snapshot = app.snapshot();
    let standing = snapshot.standing(now);
    app.note_call(|calls| calls.resumed(&snapshot.evidence, &standing, heartbeat_at, now));
    if app.awaits_validation() {
        app.note_call(Calls::validation_wanted);
    }
}
