//! Detects that the database was restored from a backup, and alerts staff. The rules are
//! [`license_core::restored`]'s.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::binding;
use license_core::foreign_text;
use license_core::license_key::mask;
use license_core::restored::{Coverage, LostNumbers, MAX_UNRECORDED, number_at};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Actor};
use crate::commit_proofs::{Expected, Moved};
use crate::numbering::{ALERT_INTERVAL, Numbering};
use crate::signing::clock::SigningClock;
use crate::store::{
    Store, StoreError, audit_log, commit_proofs, coverage, lost_numbers, signing_clock,
};

/// How long the newest proofs of other processes are remembered. Older losses reach back to before
/// the newest record of this process, which notices them by its own proof. Longer than clocks
/// differ, and shorter than the rows are kept.
const SEEN_FOR: TimeDelta = TimeDelta::minutes(10);

/// The numbering at the start of a process. `has_keys` says whether there are signing keys: without
/// them and with an empty database nothing was ever issued.
///
/// # Errors
/// If the database returns an error.
pub async fn open(
    store: &Store,
    has_keys: bool,
    now: DateTime<Utc>,
) -> Result<Numbering, StoreError> {
    Ok(match coverage::find(store.reader()).await? {
        None if !has_keys => Numbering::default(),
        recorded => Numbering::started(recorded, now),
    })
}

/// Records that the database is complete up to now, and that the clock is trusted; `is_stopping`
/// means that this server is stopping, which closes the record unless another one is running.
/// Numbers that may have been lost, before this process started or since, are stored in the same
/// transaction, so that the evidence of the loss is not overwritten first. Does nothing while the
/// clock may be wrong, when nothing is signed anyway, or while another server may still show that
/// nothing is lost.
///
/// # Errors
/// If the database returns an error; the next call tries again.
pub async fn record(
    store: &Store,
    numbering: &Numbering,
    clock: &SigningClock,
    is_stopping: bool,
) -> Result<(), StoreError> {
    let _turn = numbering.recording.lock().await;
    let Some((at, may_begin)) = clock.to_record() else {
        return Ok(());
    };
    let now = at.instant();
    let transaction = store.begin().await?;
    let recorded = coverage::hold(&transaction).await?;
    signing_clock::record(&transaction, at, may_begin).await?;
    let Checked { expected, found } = check(&transaction, numbering, now).await?;
    // The check has compared its row.
    let proof = numbering.proofs.take_for_record(is_stopping);
    commit_proofs::write(&transaction, &row(&proof, now), &[]).await?;
    if !is_stopping && numbering.waits(recorded.as_ref(), now) {
        return Ok(proof.commit(transaction).await?);
    }
    let lost_after = numbering.unstored_after(recorded.as_ref());
    if let Some(after) = lost_after {
        // This server's own numbers start with the current one.
        let before = now - TimeDelta::milliseconds(1);
        lost_numbers::add(&transaction, LostNumbers::noticed(after, before)).await?;
    }
    let running_since = number_at(now - MAX_UNRECORDED);
    let is_closed = is_stopping && !numbering.proofs.is_another_running(&found, running_since);
    let next = Coverage::next(recorded.as_ref(), now, is_closed);
    coverage::record(&transaction, &next).await?;
    proof.commit(transaction).await?;
    numbering.note_recorded(next, lost_after);
    numbering.proofs.forget(&expected);
    Ok(())
}

/// Checks whether the database still contains what this process has committed and what it has seen
/// of other processes. What the database has lost is recorded immediately, so that other servers
/// know it as well.
///
/// # Errors
/// If the database returns an error.
pub async fn watch(app: &App) -> Result<(), StoreError> {
    check(app.store.reader(), &app.numbering, app.clock.now()).await?;
    match app.numbering.has_lost() {
        true => record(&app.store, &app.numbering, &app.signing_clock, false).await,
        false => Ok(()),
    }
}

/// Begins a proof that a transaction was committed, which has to be committed with it. If the
/// database lacks an earlier one, it has lost what this process has committed.
///
/// # Errors
/// If the database returns an error.
pub async fn prove(
    db: &impl ConnectionTrait,
    numbering: &Numbering,
    now: DateTime<Utc>,
) -> Result<Moved, StoreError> {
    let proof = numbering.proofs.take();
    if !commit_proofs::write(db, &row(&proof, now), &proof.expected).await? {
        let record = numbering.proofs.record_row();
        let found = commit_proofs::find(db, &[record]).await?;
        note_lost(numbering, &found);
    }
    Ok(proof)
}

/// What a check has compared.
struct Checked {
    /// The rows of this process.
    expected: Vec<Expected>,
    /// These rows and the new ones of other processes, as the database has them.
    found: Vec<commit_proofs::Model>,
}

/// Checks whether the database still contains what this process has committed and what it has seen
/// of other processes.
async fn check(
    db: &impl ConnectionTrait,
    numbering: &Numbering,
    now: DateTime<Utc>,
) -> Result<Checked, StoreError> {
    let (proofs, others) = (&numbering.proofs, &numbering.other_proofs);
    let since = number_at(now - SEEN_FOR);
    let (expected, of_others) = (proofs.expected(), others.expected(since));
    let rows: Vec<i64> = expected.iter().map(|it| it.row).collect();
    let found = commit_proofs::find_since(db, &rows, since).await?;
    let tokens: HashMap<_, _> = found.iter().map(|it| (it.id, it.token)).collect();
    if proofs.are_lost(&expected, &tokens) {
        note_lost(numbering, &found);
    }
    let found_of_others = found.iter().filter(|it| !proofs.has_row(it.id));
    if let Some(lost) = others.compare(&of_others, found_of_others) {
        note_lost(numbering, &found);
        // The clock of the other process may be behind.
        numbering.note_lost(Some(lost.saturating_sub(1)));
    }
    Ok(Checked { expected, found })
}

/// Nothing that was committed before the newest record of this process is lost.
fn note_lost(numbering: &Numbering, found: &[commit_proofs::Model]) {
    let record = numbering.proofs.record_row();
    let record = found.iter().find(|it| it.id == record);
    numbering.note_lost(record.map(commit_proofs::Model::number));
}

fn row(proof: &Moved, now: DateTime<Utc>) -> commit_proofs::Model {
    commit_proofs::Model {
        id: proof.row,
        token: proof.token,
        number: i64::try_from(number_at(now)).unwrap_or(i64::MAX),
    }
}

/// Starts the coverage of a database in which nothing was signed yet.
///
/// # Errors
/// If the database returns an error.
pub async fn begin(store: &Store, now: DateTime<Utc>) -> Result<(), StoreError> {
    let transaction = store.begin().await?;
    if coverage::find(&transaction).await?.is_none() {
        coverage::record(&transaction, &Coverage::next(None, now, true)).await?;
    }
    Ok(transaction.commit().await?)
}

/// The sequence number that a site knows, if it was answered by a server whose answers this
/// database does not have. `issued` is the newest number of the machine's seat: if the seat was
/// issued a newer number, the database has everything that the site knows.
///
/// # Errors
/// If the database returns an error.
pub async fn lost_number(
    db: &impl ConnectionTrait,
    numbering: &Numbering,
    known: Option<u64>,
    issued: u64,
    now: DateTime<Utc>,
) -> Result<Option<u64>, StoreError> {
    let Some(known) = known.filter(|known| *known > issued) else {
        return Ok(None);
    };
    let is_lost = is_lost(db, numbering, known, now).await?;
    Ok(is_lost.then_some(known))
}

/// Until when installation keys in this database may be outdated, because it has lost what was bound
/// later: for the length of a lease after the newest loss. `None` if it has lost nothing.
///
/// # Errors
/// If the database returns an error.
pub async fn outdated_until(
    db: &impl ConnectionTrait,
    numbering: &Numbering,
    longest_lease: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let recorded = coverage::find(db).await?;
    let unstored = numbering.unstored_after(recorded.as_ref());
    let lost = match unstored {
        Some(after) => Some(LostNumbers::noticed(after, now)),
        None => lost_numbers::newest(db).await?,
    };
    Ok(lost.and_then(|lost| binding::outdated_until(&lost, longest_lease)))
}

/// Whether this database does not account for the number.
async fn is_lost(
    db: &impl ConnectionTrait,
    numbering: &Numbering,
    known: u64,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    if numbering.has_denied(known) {
        return Ok(false);
    }
    check(db, numbering, now).await?;
    let mut recorded = coverage::find(db).await?;
    // This process may have advanced the record since it was read.
    if numbering.unstored_after(recorded.as_ref()).is_some() {
        recorded = coverage::find(db).await?;
    }
    let unstored = numbering.unstored_after(recorded.as_ref());
    if unstored.is_some_and(|after| LostNumbers::noticed(after, now).contain(known, now)) {
        return Ok(true);
    }
    // Ranges of earlier losses count as well.
    let lost = lost_numbers::around(db, known).await?;
    Ok(lost.is_some_and(|lost| lost.contain(known, now)))
}

/// Counts a withheld response, and alerts staff at most once an hour.
pub async fn alert(app: &App, license_key: &str, hardware_id: &str) {
    app.metrics.answer_withheld();
    let license_key = mask(license_key);
    let shown_id = &*foreign_text::identifier(hardware_id);
    tracing::info!(
        license_key,
        hardware_id = shown_id,
        "answer withheld: the site reported a sequence number that is not in this database"
    );
    if !app.numbering.take_alert(app.clock.running()) {
        return;
    }
    match note_alert(app, &license_key, hardware_id).await {
        Ok(true) => tracing::error!(
            security = true,
            license_key,
            hardware_id = shown_id,
            "the database is older than a site; was a backup restored? See 'Restoring a backup' \
             in docs/operations.md"
        ),
        Ok(false) => {}
        Err(error) => tracing::error!(
            security = true,
            %error,
            "the database is older than a site, and the audit log cannot be written"
        ),
    }
}

/// Writes the audit log entry, unless another server wrote one within the hour.
async fn note_alert(app: &App, license_key: &str, hardware_id: &str) -> Result<bool, StoreError> {
    let change = app.change(Actor::Service);
    let transaction = app.store.begin().await?;
    let hour = TimeDelta::from_std(ALERT_INTERVAL).unwrap_or_default();
    let (action, from) = (Action::AnswerWithheld.as_str(), change.at - hour);
    if audit_log::any_of_service(&transaction, action, from).await? {
        return Ok(false);
    }
    let details = json!({"hardwareId": hardware_id});
    change
        .note_other(&transaction, Action::AnswerWithheld, license_key, details)
        .await?;
    transaction.commit().await?;
    Ok(true)
}
