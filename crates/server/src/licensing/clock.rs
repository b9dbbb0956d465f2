//! Watch, show and accept the clock that is used for signing.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use license_core::signing_clock::{ClockDoubt, MAX_DATABASE_SKEW};
use license_service::clock::Clock;
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::audit::{Action, Change};
use crate::licensing::restored;
use crate::signing::clock::SigningClock;
use crate::store::signing_clock;
use crate::store::{Store, StoreError};

/// Why a clock was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It does not agree with the database's clock.
    #[error(transparent)]
    Doubt(ClockDoubt),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a server knows about its clock.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockStatus {
    /// The wall clock.
    pub clock: DateTime<Utc>,
    /// How many seconds it is ahead of the database's clock; `null` if the database has none.
    pub seconds_ahead_of_database: Option<i64>,
    /// The newest instant at which a server trusted its clock; `null` if nothing was ever signed.
    pub recorded: Option<DateTime<Utc>>,
    /// The time that the clock showed when it was last accepted.
    pub accepted: Option<DateTime<Utc>>,
    /// Why a server that starts now would not sign.
    pub doubt: Option<String>,
}

/// The state of a clock at the start of a process: with the recorded times, and compared with the
/// database's clock.
///
/// # Errors
/// If the database returns an error.
pub async fn open(store: &Store, clock: Arc<dyn Clock>) -> Result<SigningClock, StoreError> {
    let recorded = signing_clock::find(store.reader()).await?;
    let recorded_at = recorded.map(|it| it.at);
    let accepted_at = recorded.and_then(|it| it.accepted_at);
    let opened = SigningClock::started(clock, recorded_at, accepted_at);
    compare(store, &opened).await?;
    Ok(opened)
}

/// Compares a clock with the database's; returns how far it is ahead, and `None` if the database
/// has no clock.
async fn compare(store: &Store, clock: &SigningClock) -> Result<Option<TimeDelta>, StoreError> {
    let shown = signing_clock::database_time(store.reader()).await?;
    Ok(shown.map(|shown| clock.compare(shown)))
}

/// Records that a clock is trusted now, if it is.
///
/// # Errors
/// If the database returns an error.
pub async fn record(store: &Store, clock: &SigningClock) -> Result<(), StoreError> {
    match clock.to_record() {
        Some((at, may_begin)) => signing_clock::record(store.reader(), at, may_begin).await,
        None => Ok(()),
    }
}

/// The same for a command that has signed something. A failure is logged.
pub async fn record_if_trusted(app: &App) {
    if let Err(error) = record(&app.store, &app.signing_clock).await {
        tracing::warn!(%error, "failed to record that the clock is trusted");
    }
}

/// Compares the clock with the database's and applies new acceptances. If the clock is trusted,
/// records that, and that the database is complete up to now.
///
/// # Errors
/// If the database returns an error; the previous result then stays in effect. If it refuses what
/// it is asked while it works, the service is not ready.
pub async fn watch(app: &App) -> Result<(), StoreError> {
    let watched = try_to_watch(app).await;
    let refused = watched.as_ref().err().filter(|error| error.is_refusal());
    app.signing_clock.note_refused(refused.is_some());
    watched
}

async fn try_to_watch(app: &App) -> Result<(), StoreError> {
    compare(&app.store, &app.signing_clock).await?;
    let recorded = signing_clock::find(app.store.reader()).await?;
    if recorded.is_some_and(|it| app.signing_clock.take_up(it.accepted_at)) {
        tracing::info!("the clock was accepted");
    }
    restored::record(&app.store, &app.numbering, &app.signing_clock, false).await
}

/// The state of the clock for a process that starts now.
///
/// # Errors
/// If the database returns an error.
pub async fn status(store: &Store, clock: Arc<dyn Clock>) -> Result<ClockStatus, StoreError> {
    let recorded = signing_clock::find(store.reader()).await?;
    let seen = open(store, clock.clone()).await?;
    let ahead = compare(store, &seen).await?;
    let now = clock.now();
    let whole = |at: DateTime<Utc>| at.trunc_subsecs(0);
    Ok(ClockStatus {
        clock: whole(now),
        seconds_ahead_of_database: ahead.map(|ahead| ahead.num_seconds()),
        recorded: recorded.map(|it| whole(it.at)),
        accepted: recorded.and_then(|it| it.accepted_at).map(whole),
        doubt: seen.permit(now).err().map(|doubt| doubt.to_string()),
    })
}

/// Records that a person has confirmed this machine's clock, with an entry in the audit log.
/// Running servers whose clock shows the same time apply it.
///
/// # Errors
/// [`AcceptError::Doubt`] if the database's clock shows another time: one of the two is wrong,
/// and confirming does not help.
pub async fn accept(store: &Store, clock: &dyn Clock, change: &Change) -> Result<(), AcceptError> {
    let shown = signing_clock::database_time(store.reader()).await?;
    let ahead = shown.map(|shown| clock.ahead_of(shown));
    if let Some(ahead) = ahead.filter(|ahead| ahead.abs() > MAX_DATABASE_SKEW) {
        return Err(AcceptError::Doubt(ClockDoubt::Database { ahead }));
    }
    let transaction = store.begin().await?;
    let recorded = signing_clock::find(&transaction).await?;
    let details = json!({"clock": change.at, "recorded": recorded.map(|it| it.at)});
    let accepted = change.note_other(&transaction, Action::ClockAccepted, "clock", details);
    accepted.await?;
    signing_clock::accept(&transaction, change.at).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(())
}
