//! Browser sessions. They are stored in the database, so that every server knows them, sign-out
//! applies to all servers, and the idle timeout is shared.

use axum::http::{HeaderMap, HeaderValue};
use chrono::TimeDelta;
use license_service::sessions::{IDLE_TIMEOUT, MAX_SESSIONS, REFRESH};

use crate::http::HttpState;
use crate::store::{StoreError, console_sessions};

/// Minimum interval between two updates of a session's last use.
const NOTE_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// Starts a session for a browser with the correct token; returns the cookie to set, or `None` if
/// no token is configured.
///
/// # Errors
/// If the database returns an error; no session has begun then.
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

/// Whether the request belongs to a session. If so, its idle timeout restarts, unless a page sent
/// the request automatically.
///
/// # Errors
/// If the database returns an error.
pub(crate) async fn is_signed_in(
    state: &HttpState,
    headers: &HeaderMap,
) -> Result<bool, StoreError> {
    let (db, now) = (state.app.store.reader(), state.app.clock.now());
    // Names that no server has created need no query.
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

/// Ends every session that the request names, on every server; returns the cookie that removes its
/// name.
///
/// # Errors
/// If the database returns an error; no session has ended then.
pub(crate) async fn end(state: &HttpState, headers: &HeaderMap) -> Result<HeaderValue, StoreError> {
    let ids = state.access.sessions.ids(headers);
    if !ids.is_empty() {
        console_sessions::remove(state.app.store.reader(), &ids).await?;
    }
    Ok(state.access.sessions.no_cookie(headers))
}
