//! Browser sessions. They are stored in the database, so that every server knows them, sign-out
//! applies to all servers, and the idle timeout is shared.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, HeaderValue};
use chrono::TimeDelta;
use license_service::sessions::{IDLE_TIMEOUT, MAX_SESSIONS, REFRESH, SealedName};

use crate::http::HttpState;
use crate::http::access::Access;
use crate::http::caller::{Caller, Staff};
use crate::http::error::ApiError;
use crate::http::known_tokens::NotRead;
use crate::store::locks::{self, Lock};
use crate::store::{StoreError, admin_tokens, console_sessions};

/// Minimum interval between two updates of a session's last use.
const NOTE_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// Maximum number of sessions of a named token; the longest-idle one ends first.
const MAX_SESSIONS_OF_TOKEN: u64 = 10;

/// Maximum number of sessions that a token has begun. Several people may share the `ADMIN_TOKEN`.
fn max_sessions(token: Option<i64>) -> u64 {
    match token {
        Some(_) => MAX_SESSIONS_OF_TOKEN,
        None => MAX_SESSIONS as u64,
    }
}

/// Starts a session for a browser with a correct token; returns the cookie to set.
///
/// # Errors
/// If the database returns an error; no session has begun then.
pub(crate) async fn begin(
    state: &HttpState,
    headers: &HeaderMap,
    staff: &Staff,
) -> Result<HeaderValue, StoreError> {
    let ((name, id), token) = (staff.new_session(), staff.token());
    let now = state.app.clock.now();
    let transaction = state.app.store.begin().await?;
    if let Some(token) = token {
        // A session that begins while its token is being revoked would not end with it.
        admin_tokens::check_usable(&transaction, token, staff.name(), now).await?;
    }
    let idle = TimeDelta::from_std(IDLE_TIMEOUT).unwrap_or_default();
    let max = max_sessions(token);
    let count = console_sessions::prune(&transaction, now - idle, token, max - 1);
    let add = console_sessions::add(&transaction, &id, token, now);
    // The sessions that were idle the longest have made room.
    locks::add_within(&transaction, Lock::Sessions, max, count, add).await?;
    transaction.commit().await?;
    Ok(state.access.sessions.cookie(&name, headers))
}

/// A session that a request belongs to.
pub(crate) struct FoundSession {
    /// Who began it.
    pub(crate) caller: Caller,
    /// The hash of its name.
    pub(crate) id: String,
}

/// The session that the request belongs to. If there is one, its idle timeout restarts,
/// unless a page sent the request automatically. A session ends when its token is revoked or has
/// expired.
///
/// # Errors
/// If the database returns an error.
pub(crate) async fn signed_in(
    state: &HttpState,
    headers: &HeaderMap,
) -> Result<Option<FoundSession>, ApiError> {
    // Names that no server has created need no query.
    let Some(named) = named(&state.access, headers).await? else {
        return Ok(None);
    };
    let NamedSessions { ids, caller } = named;
    let finding = |_| find(state, headers, &ids);
    caller.within_share(finding).await
}

/// The session with one of these ids.
async fn find(
    state: &HttpState,
    headers: &HeaderMap,
    ids: &BTreeSet<String>,
) -> Result<Option<FoundSession>, ApiError> {
    let (db, now) = (state.app.store.reader(), state.app.clock.now());
    let found = console_sessions::find(db, ids).await?;
    let valid = found.into_iter().find(|it| it.times.is_valid(now));
    let Some(session) = valid else {
        return Ok(None);
    };
    let owners = state.access.owners(&[session.token]).await?;
    let owner = owners.into_iter().find(|it| it.token() == session.token);
    let Some(caller) = owner else {
        return Ok(None);
    };
    let is_by_user = !headers.contains_key(REFRESH);
    if is_by_user && (now - session.times.used).abs() >= NOTE_INTERVAL {
        console_sessions::note_used(db, &session.id, now).await?;
    }
    let id = session.id;
    Ok(Some(FoundSession { caller, id }))
}

/// Whether a session was not ended, by anyone or by its timeouts.
///
/// # Errors
/// If the database returns an error.
pub(super) async fn is_valid(state: &HttpState, id: &str) -> Result<bool, StoreError> {
    let (db, now) = (state.app.store.reader(), state.app.clock.now());
    let found = console_sessions::find(db, &BTreeSet::from([id.to_owned()])).await?;
    Ok(found.iter().any(|it| it.times.is_valid(now)))
}

/// Sessions that a request names.
struct NamedSessions {
    ids: BTreeSet<String>,
    /// Who began one of them: its share of the connections is used to look for all.
    caller: Caller,
}

/// The sessions that a request names, of those that were begun with tokens that may still be used;
/// `None` if there are none.
async fn named(access: &Access, headers: &HeaderMap) -> Result<Option<NamedSessions>, NotRead> {
    let names: Vec<SealedName<'_>> = access.sessions.sealed_names(headers).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let tokens: Vec<_> = names.iter().map(SealedName::token).collect();
    let owners = access.owners(&tokens).await?;
    let owner = |name: &SealedName<'_>| owners.iter().find(|it| it.has_sealed(name));
    let ours = names
        .iter()
        .filter_map(|name| Some((name.id(), owner(name)?)));
    let (ids, owners): (BTreeSet<String>, Vec<&Caller>) = ours.unzip();
    let caller = owners.first().copied().cloned();
    Ok(caller.map(|caller| NamedSessions { ids, caller }))
}

/// Ends every session that the request names, on every server; returns the cookie that removes its
/// name.
///
/// # Errors
/// If the database returns an error; no session has ended then.
pub(crate) async fn end(state: &HttpState, headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    if let Some(NamedSessions { ids, caller }) = named(&state.access, headers).await? {
        let removing = |_| console_sessions::remove(state.app.store.reader(), &ids);
        caller.within_share(removing).await?;
    }
    Ok(state.access.sessions.no_cookie(headers))
}
