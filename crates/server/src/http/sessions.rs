//! Sessions of browsers. They are in the database, so that every server knows them, a
//! session that was ended is over everywhere, and the time without a request is the same
//! for all.

use axum::http::{HeaderMap, HeaderValue};
use chrono::TimeDelta;
use license_service::sessions::{IDLE_TIMEOUT, MAX_SESSIONS, REFRESH};

use crate::http::HttpState;
use crate::store::{StoreError, console_sessions};

/// How often the use of a session is written down at most.
const NOTE_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// Begins a session for a browser that has shown the token; answers the cookie to set,
/// and `None` where there is no token.
///
/// # Errors
/// When the database refuses; no session has begun then.
pub(crate) async fn begin(
    state: &HttpState,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, StoreError> {
    let sessions = &state.access.sessions;
    let Some((name, id)) = sessions.new_name() else {
        return Ok(None);
    };
    let now = state.app.clock.now();
    let transaction = state.app.store.begin().await?;
    let idle = TimeDelta::from_std(IDLE_TIMEOUT).unwrap_or_default();
    console_sessions::prune(&transaction, now - idle, MAX_SESSIONS as u64 - 1).await?;
    console_sessions::add(&transaction, &id, now).await?;
    transaction.commit().await?;
    Ok(Some(sessions.cookie(&name, headers)))
}

/// Whether the request belongs to a session. Its idle timeout starts again then, unless a
/// page asks without a person in front of it.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn is_signed_in(
    state: &HttpState,
    headers: &HeaderMap,
) -> Result<bool, StoreError> {
    let (db, now) = (state.app.store.reader(), state.app.clock.now());
    // Names that no server made cost no query.
    let ids = state.access.sessions.ids(headers);
    if ids.is_empty() {
        return Ok(false);
    }
    let found = console_sessions::find(db, &ids).await?;
    let valid = found.into_iter().find(|(_, times)| times.is_valid(now));
    let Some((id, session)) = valid else {
        return Ok(false);
    };
    if !headers.contains_key(REFRESH) && (now - session.used).abs() >= NOTE_INTERVAL {
        console_sessions::note_used(db, &id, now).await?;
    }
    Ok(true)
}

/// Ends every session that the request names, on every server; answers the cookie that removes its name.
///
/// # Errors
/// When the database refuses; no session has ended then.
pub(crate) async fn end(state: &HttpState, headers: &HeaderMap) -> Result<HeaderValue, StoreError> {
    let ids = state.access.sessions.ids(headers);
    if !ids.is_empty() {
        console_sessions::remove(state.app.store.reader(), &ids).await?;
    }
    Ok(state.access.sessions.no_cookie(headers))
}
