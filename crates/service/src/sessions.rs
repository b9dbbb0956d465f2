//! Browser sessions: after sign-in the token is not needed for every request.
//!
//! [`Sessions`] keeps them only in memory, so a restart ends them; a service whose processes share
//! a database stores [`SessionTimes`] there instead. The browser has a random name, of which only
//! the hash is stored here.

mod sealed_name;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::admin_token::AdminToken;
use crate::client_address::network;
use crate::clock::Clock;
use crate::random;
pub use sealed_name::SealedName;

/// Idle timeout of a session.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Maximum duration of a session.
const MAX_SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Maximum number of sessions; the longest-idle one is removed first.
pub const MAX_SESSIONS: usize = 100;
/// Maximum difference between the clocks of processes that share sessions.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(10);
/// Characters of a session's name: 32 random bytes in base64url.
const NAME_CHARS: usize = 43;
/// Wrong tokens from one network within [`FAILURE_WINDOW`], after which further
/// wrong ones are answered with [`SignInError::TooMany`].
const MAX_FAILURES: usize = 5;
/// The same for all networks together. This also bounds the memory.
const MAX_FAILURES_OF_ALL: usize = 50;
/// How long a wrong token counts.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// The header that pages send with automatic requests.
pub const REFRESH: &str = "x-refresh";

/// Why sign-in failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The token is wrong or missing.
    #[error("The administrator token is incorrect.")]
    WrongToken,
    /// The token is wrong, and there were too many wrong ones before.
    #[error("Too many wrong tokens. Wait a minute, then try again.")]
    TooMany,
}

/// Where a wrong token was used. Each place counts separately, so that calls to the API cannot lock
/// the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The sign-in form.
    Console,
    /// The header of a program's request.
    Api,
}

/// Sessions, and callers that used a wrong token. Times are of the running process.
///
/// The correct token is never refused, regardless of how many wrong ones came before: it is
/// compared first, and only wrong tokens are counted. The token itself, of 16 characters or more,
/// makes guessing infeasible.
pub struct Sessions {
    cookie: &'static str,
    token: Option<AdminToken>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<[u8; 32], Session>,
    failures: Vec<(Door, IpAddr, Duration)>,
}

#[derive(Debug)]
struct Session {
    begun: Duration,
    used: Duration,
}

impl Sessions {
    /// Starts without sessions; without a token there are never any. Browsers store the session
    /// name in this cookie, whose name ends with the port of the address.
    #[must_use]
    pub fn new(cookie: &'static str, token: Option<AdminToken>, clock: Arc<dyn Clock>) -> Self {
        Self {
            cookie,
            token,
            clock,
            kept: Mutex::default(),
        }
    }

    /// Whether there is a token to sign in with.
    #[must_use]
    pub fn can_begin(&self) -> bool {
        self.token.is_some()
    }

    /// Starts a session for a caller with the correct token; returns the cookie to set. `headers`
    /// are those of the request, and `address` is where it comes from.
    ///
    /// # Errors
    /// A [`SignInError`] with the reason.
    pub fn sign_in(
        &self,
        shown: &str,
        address: IpAddr,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, SignInError> {
        self.check(shown, address)?;
        Ok(self.cookie(&self.begin(), headers))
    }

    /// Checks the token. `address` is the caller's address.
    ///
    /// # Errors
    /// One [`SignInError`] for each reason that it is not.
    pub fn check(&self, shown: &str, address: IpAddr) -> Result<(), SignInError> {
        if self.token.is_some_and(|token| token.is(shown)) {
            return Ok(());
        }
        // An empty form is not a guess.
        if shown.is_empty() || self.note_failure(Door::Console, address) {
            return Err(SignInError::WrongToken);
        }
        Err(SignInError::TooMany)
    }

    /// Counts a wrong token that was used at `door` from `address`. Returns whether it is below the
    /// limit; tokens above the limit are answered with 429.
    pub fn note_failure(&self, door: Door, address: IpAddr) -> bool {
        let (network, now) = (network(address), self.clock.running());
        let mut kept = self.lock();
        kept.failures
            .retain(|(_, _, at)| now.saturating_sub(*at) < FAILURE_WINDOW);
        let here = kept.failures.iter().filter(|(at, _, _)| *at == door);
        let theirs = here.clone().filter(|(_, from, _)| *from == network);
        let is_new = theirs.count() < MAX_FAILURES && here.count() < MAX_FAILURES_OF_ALL;
        if is_new {
            kept.failures.push((door, network, now));
        }
        is_new
    }

    /// Starts a session; returns its name.
    fn begin(&self) -> String {
        let now = self.clock.running();
        let name = random::nonce();
        let mut kept = self.lock();
        kept.sessions.retain(|_, session| session.lasts(now));
        if kept.sessions.len() >= MAX_SESSIONS {
            let oldest = kept.sessions.iter().min_by_key(|(_, it)| it.used);
            if let Some(oldest) = oldest.map(|(name, _)| *name) {
                kept.sessions.remove(&oldest);
            }
        }
        let session = Session {
            begun: now,
            used: now,
        };
        kept.sessions.insert(hash(&name), session);
        name
    }

    /// Whether the request belongs to a session, which it then extends, unless the page sent it
    /// automatically, without a user.
    #[must_use]
    pub fn touch(&self, headers: &HeaderMap) -> bool {
        let now = self.clock.running();
        let by_itself = headers.contains_key(REFRESH);
        let hashes: Vec<_> = self.names(headers, &[NAME_CHARS]).map(hash).collect();
        let mut kept = self.lock();
        kept.sessions.retain(|_, session| session.lasts(now));
        hashes.iter().any(|name| {
            let session = kept.sessions.get_mut(name);
            session.is_some_and(|session| {
                if !by_itself {
                    session.used = now;
                }
                true
            })
        })
    }

    /// The names in a request of sessions that are stored elsewhere. Anyone can send one: its seal
    /// has to be checked.
    pub fn sealed_names<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = SealedName<'a>> {
        self.names(headers, &SealedName::LENGTHS)
            .filter_map(SealedName::of)
    }

    /// The cookie that contains a name. `headers` are those of the request.
    #[must_use]
    pub fn cookie(&self, name: &str, headers: &HeaderMap) -> HeaderValue {
        let secure = if came_by_tls(headers) { "; Secure" } else { "" };
        let cookie = self.cookie_name(headers);
        text(&format!(
            "{cookie}={name}; Path=/; HttpOnly; SameSite=Strict{secure}"
        ))
    }

    /// Ends every session that the request names; returns the cookie that removes its name.
    #[must_use]
    pub fn end(&self, headers: &HeaderMap) -> HeaderValue {
        let hashes: Vec<_> = self.names(headers, &[NAME_CHARS]).map(hash).collect();
        let mut kept = self.lock();
        for name in hashes {
            kept.sessions.remove(&name);
        }
        self.no_cookie(headers)
    }

    /// The cookie that removes a name. `headers` are those of the request.
    #[must_use]
    pub fn no_cookie(&self, headers: &HeaderMap) -> HeaderValue {
        let cookie = self.cookie_name(headers);
        text(&format!(
            "{cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        ))
    }

    /// The name of the cookie, with the port that the browser uses: cookies are shared by
    /// all ports of a host, and services on several ports (tunnels to several sites) would
    /// replace each other's sessions.
    fn cookie_name(&self, headers: &HeaderMap) -> String {
        let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
        let port = host.and_then(|host| host.rsplit_once(':')?.1.parse::<u16>().ok());
        match port {
            Some(port) => format!("{}_{port}", self.cookie),
            None => self.cookie.to_owned(),
        }
    }

    /// The values of all cookies that may be names with one of these lengths. Other hosts of the
    /// domain and other ports of the host can add cookies with any name and value, so the
    /// session's own one may be the last of many. The size of a request head bounds them.
    fn names<'a>(
        &self,
        headers: &'a HeaderMap,
        lengths: &[usize],
    ) -> impl Iterator<Item = &'a str> {
        let cookie = self.cookie_name(headers);
        let lines = headers.get_all(header::COOKIE).iter();
        lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .filter_map(move |pair| {
                let pair = pair.trim_ascii().strip_prefix(cookie.as_bytes())?;
                pair.strip_prefix(b"=")
            })
            .filter(move |value| lengths.contains(&value.len()))
            .filter_map(|value| str::from_utf8(value).ok())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lasts(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) < IDLE_TIMEOUT && now.saturating_sub(self.begun) < MAX_SESSION
    }
}

/// When a session that several processes share was started, and when it was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// When the token was entered.
    pub begun: DateTime<Utc>,
    /// When a user last did something.
    pub used: DateTime<Utc>,
}

impl SessionTimes {
    /// Whether the session is still valid. One that begins in the future was created with a wrong
    /// clock.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        let within = |since: DateTime<Utc>, max: Duration| {
            let max = TimeDelta::from_std(max).unwrap_or_default();
            now - since < max && since - now <= MAX_CLOCK_SKEW
        };
        within(self.used, IDLE_TIMEOUT) && within(self.begun, MAX_SESSION)
    }
}

/// Whether a proxy reports that the browser uses TLS. The cookie is then marked so that browsers
/// send it only over TLS. Behind several proxies the header is a list, and the browser's own
/// connection comes first.
fn came_by_tls(headers: &HeaderMap) -> bool {
    let schemes = headers.get("x-forwarded-proto");
    let first = schemes.and_then(|schemes| schemes.as_bytes().split(|byte| *byte == b',').next());
    first.is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https"))
}

/// The names are base64url.
fn text(cookie: &str) -> HeaderValue {
    HeaderValue::from_str(cookie).unwrap_or(HeaderValue::from_static(""))
}

fn hash(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

#[cfg(test)]
mod tests;
