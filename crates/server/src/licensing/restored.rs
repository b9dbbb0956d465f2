//! Notice that the database was restored from a backup, and alert staff. The rules are
//! [`license_core::restored`]'s.

use chrono::{DateTime, Utc};
use license_core::foreign_text;
use license_core::license_key::mask;
use license_core::restored::{Coverage, IssuedNumbers, LostNumbers, MAX_LEAD, number_at};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Actor};
use crate::numbering::{ALERT_INTERVAL, Numbering};
use crate::signing::clock::SigningClock;
use crate::store::audit_log::Filter;
use crate::store::{Store, StoreError, audit_log, coverage, lost_numbers, seats, signing_clock};

/// What is known at the start of a process. `has_keys` says whether there are signing
/// keys: without them and with an empty database nothing was ever issued.
///
/// # Errors
/// When the database refuses.
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

/// Records that the database is covered until now, and that the clock is trusted; `is_closed`
/// says that this server stops. Numbers that may have been lost before this process started,
/// or under it, are stored in the same transaction: nothing that shows them is overwritten before.
/// Does nothing while the clock may be wrong, when nothing is signed anyway, or while another
/// server may show that nothing is lost.
///
/// # Errors
/// When the database refuses; it is tried again with the next call.
pub async fn record(
    store: &Store,
    numbering: &Numbering,
    clock: &SigningClock,
    is_closed: bool,
) -> Result<(), StoreError> {
    let Some((at, may_begin)) = clock.to_record() else {
        return Ok(());
    };
    let now = at.instant();
    let transaction = store.begin().await?;
    let recorded = coverage::hold(&transaction).await?;
    signing_clock::record(&transaction, at, may_begin).await?;
    let next = Coverage::next(recorded.as_ref(), now, is_closed);
    let waits = !is_closed && numbering.waits(recorded.as_ref(), now);
    if !waits {
        if let Some(after) = numbering.unstored_after(recorded.as_ref()) {
            note_range(&transaction, after, now).await?;
        }
        coverage::record(&transaction, &next).await?;
    }
    transaction.commit().await?;
    if !waits {
        numbering.note_recorded(next);
    }
    Ok(())
}

/// Begins the coverage of a database in which nothing was signed yet.
///
/// # Errors
/// When the database refuses.
pub async fn begin(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<(), StoreError> {
    match coverage::find(db).await? {
        Some(_) => Ok(()),
        None => coverage::record(db, &Coverage::next(None, now, true)).await,
    }
}

/// Stores that the numbers after this one and before now may be lost.
async fn note_range(
    db: &impl ConnectionTrait,
    after: u64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    // This server's own numbers begin with the one of now.
    let until = number_at(now).saturating_sub(1);
    if after < until {
        lost_numbers::add(db, LostNumbers { after, until }).await?;
    }
    Ok(())
}

/// The sequence number that a site knows, if it was answered by a server whose answers this
/// database does not have. `issued` is the newest number of the machine's seat: a seat that was
/// issued a newer one has all that the site knows.
///
/// # Errors
/// When the database refuses.
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

/// Whether this database does not account for the number.
async fn is_lost(
    db: &impl ConnectionTrait,
    numbering: &Numbering,
    known: u64,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut recorded = coverage::find(db).await?;
    // This process may have moved the record on since it was read.
    if numbering.unstored_after(recorded.as_ref()).is_some() {
        recorded = coverage::find(db).await?;
    }
    let unstored = numbering.unstored_after(recorded.as_ref());
    if unstored.is_some_and(|after| IssuedNumbers::unknown_after(after).have_lost(known, now)) {
        return Ok(true);
    }
    // Ranges of earlier losses count as well.
    let issued = IssuedNumbers {
        newest: newest(db, now).await?,
        lost: lost_numbers::around(db, known).await?,
    };
    Ok(issued.have_lost(known, now))
}

/// The newest number that the database has.
async fn newest(db: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let recorded = signing_clock::find(db).await?;
    // A call that was answered while the clock was wrong hides no backup.
    let called = seats::newest_call(db, now + MAX_LEAD).await?;
    // A backup from before the first call has the entry of the first key at least.
    let changed = audit_log::newest(db, &Filter::default(), 1).await?;
    let changed = changed.first().map(|entry| entry.at);
    let changed = changed.filter(|at| *at <= now + MAX_LEAD);
    let newest = called.max(recorded.map(|it| it.at)).max(changed);
    Ok(newest.map(number_at).unwrap_or_default())
}

/// Counts an answer that was withheld, and alerts staff, at most once an hour.
pub async fn alert(app: &App, license_key: &str, hardware_id: &str) {
    app.metrics.answer_withheld();
    let license_key = mask(license_key);
    let shown_id = &*foreign_text::identifier(hardware_id);
    tracing::info!(
        license_key,
        hardware_id = shown_id,
        "answer withheld, the site knows a sequence number that this database does not"
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

/// Writes the entry of the audit log, unless another server wrote one within the hour.
async fn note_alert(app: &App, license_key: &str, hardware_id: &str) -> Result<bool, StoreError> {
    let change = app.change(Actor::Service);
    let transaction = app.store.begin().await?;
    let hour = chrono::TimeDelta::from_std(ALERT_INTERVAL).unwrap_or_default();
    let (action, from) = (Action::AnswerWithheld.as_str(), change.at - hour);
    if audit_log::any_of_service(&transaction, action, from).await? {
        return Ok(false);
    }
    let details = json!({"hardwareId": hardware_id});
    change
        .note_withheld(&transaction, license_key, details)
        .await?;
    transaction.commit().await?;
    Ok(true)
}
