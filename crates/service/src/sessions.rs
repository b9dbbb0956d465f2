//! Sessions of browsers: who has shown the token need not show it with every
//! request.
//!
//! [`Sessions`] keeps them in memory alone, where a restart ends them; a service whose
//! processes share a database keeps [`SessionTimes`] there instead. What the browser keeps
//! is a random name, of which only the hash is kept here.

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

/// A session ends after so long without a request.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// And after so long in any case.
const MAX_SESSION: Duration = Duration::from_secs(12 * 60 * 60);
/// Maximum number of sessions; the one that was idle longest makes place.
pub const MAX_SESSIONS: usize = 100;
/// How far the clocks of processes that share sessions may differ.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(10);
/// Wrong tokens from one network within [`FAILURE_WINDOW`], after which further
/// wrong ones are answered with [`SignInError::TooMany`].
const MAX_FAILURES: usize = 5;
/// The same for all networks together. It bounds what is kept, too.
const MAX_FAILURES_OF_ALL: usize = 50;
/// How long a wrong token counts.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// What pages say that ask by themselves.
pub const REFRESH: &str = "x-refresh";

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// It is another token, or there is none.
    #[error("This is not the administrator's token.")]
    WrongToken,
    /// It is another token, and there were too many wrong ones before it.
    #[error("Too many wrong tokens. Wait a minute, then try again.")]
    TooMany,
}

/// Where a wrong token was shown. Each counts apart: nobody locks the console by
/// calling the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The form to sign in.
    Console,
    /// The header of a program.
    Api,
}

/// Sessions, and who has shown a wrong token. Times are of the running process.
///
/// The right token is never refused, however many wrong ones came before it: it is
/// compared first, and only a wrong one is counted. What keeps guessing hopeless is
/// the token itself, of 16 characters or more.
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
    /// No sessions yet, and none ever without a token. Browsers keep their names
    /// in this cookie: one for each service, because a cookie knows no ports.
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

    /// Begins a session for who shows the token; answers the cookie to set.
    /// `headers` are those of the request, and `address` is where it comes from.
    ///
    /// # Errors
    /// One [`SignInError`] for each reason not to.
    pub fn sign_in(
        &self,
        shown: &str,
        address: IpAddr,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, SignInError> {
        self.check(shown, address)?;
        Ok(self.cookie(&self.begin(), headers))
    }

    /// Whether this is the token. `address` is where it comes from.
    ///
    /// # Errors
    /// One [`SignInError`] for each reason that it is not.
    pub fn check(&self, shown: &str, address: IpAddr) -> Result<(), SignInError> {
        if self.token.is_some_and(|token| token.is(shown)) {
            return Ok(());
        }
        // A form that was sent empty is no guess.
        if shown.is_empty() || self.note_failure(Door::Console, address) {
            return Err(SignInError::WrongToken);
        }
        Err(SignInError::TooMany)
    }

    /// Counts a wrong token that was shown at `door` from `address`. Answers whether
    /// it is one of the first in a while: those that are not are answered with 429.
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

    /// Begins a session; answers its name.
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

    /// Whether the request belongs to a session, which goes on then: unless a page
    /// asks by itself, without anybody before it.
    #[must_use]
    pub fn goes_on(&self, headers: &HeaderMap) -> bool {
        let now = self.clock.running();
        let by_itself = headers.contains_key(REFRESH);
        let mut kept = self.lock();
        kept.sessions.retain(|_, session| session.lasts(now));
        self.names(headers).any(|name| {
            let session = kept.sessions.get_mut(&hash(name));
            session.is_some_and(|session| {
                if !by_itself {
                    session.used = now;
                }
                true
            })
        })
    }

    /// A name for a session that is kept elsewhere, sealed with the token, and the id to
    /// keep it under; `None` without a token. Another token ends it.
    #[must_use]
    pub fn new_name(&self) -> Option<(String, String)> {
        let nonce = random::nonce();
        let name = format!("{nonce}.{}", self.token?.seal(&nonce));
        let id = id(&name);
        Some((name, id))
    }

    /// The ids of the sessions that a request names, of those that were made by
    /// [`Sessions::new_name`] with this token.
    pub fn ids<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = String> + 'a {
        let is_ours = |name: &&str| {
            let token = self.token.as_ref();
            let parts = token.zip(name.split_once('.'));
            parts.is_some_and(|(token, (nonce, code))| token.is_sealed(nonce, code))
        };
        self.names(headers).filter(is_ours).map(id)
    }

    /// The cookie that keeps a name. `headers` are those of the request.
    #[must_use]
    pub fn cookie(&self, name: &str, headers: &HeaderMap) -> HeaderValue {
        self.set_cookie(name, came_by_tls(headers))
    }

    /// Ends the request's session; answers the cookie that removes its name.
    #[must_use]
    pub fn end(&self, headers: &HeaderMap) -> HeaderValue {
        let mut kept = self.lock();
        for name in self.names(headers) {
            kept.sessions.remove(&hash(name));
        }
        self.no_cookie()
    }

    /// The cookie that removes a name.
    #[must_use]
    pub fn no_cookie(&self) -> HeaderValue {
        let cookie = self.cookie;
        text(&format!(
            "{cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        ))
    }

    fn set_cookie(&self, name: &str, by_tls: bool) -> HeaderValue {
        let secure = if by_tls { "; Secure" } else { "" };
        let cookie = self.cookie;
        text(&format!(
            "{cookie}={name}; Path=/; HttpOnly; SameSite=Strict{secure}"
        ))
    }

    fn names<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let cookies = headers.get_all(header::COOKIE).iter();
        let texts = cookies.filter_map(|value| value.to_str().ok());
        texts
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie)
            .map(|(_, value)| value)
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

/// When a session that several processes share was begun, and used last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimes {
    /// When the token was shown.
    pub begun: DateTime<Utc>,
    /// When a person did something last.
    pub used: DateTime<Utc>,
}

impl SessionTimes {
    /// Whether the session goes on. One that begins in the future was begun by a clock
    /// that was wrong.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        let within = |since: DateTime<Utc>, max: Duration| {
            let max = TimeDelta::from_std(max).unwrap_or_default();
            now - since < max && since - now <= MAX_CLOCK_SKEW
        };
        within(self.used, IDLE_TIMEOUT) && within(self.begun, MAX_SESSION)
    }
}

/// Whether a proxy says that the browser speaks TLS with it. A browser that is
/// told so keeps the cookie from everything else.
fn came_by_tls(headers: &HeaderMap) -> bool {
    let scheme = headers.get("x-forwarded-proto");
    scheme.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// The names are base64url.
fn text(cookie: &str) -> HeaderValue {
    HeaderValue::from_str(cookie).unwrap_or(HeaderValue::from_static(""))
}

/// The id under which a session is kept.
fn id(name: &str) -> String {
    use std::fmt::Write as _;
    hash(name).iter().fold(String::new(), |mut id, byte| {
        // Writing to a text does not fail.
        write!(id, "{byte:02x}").unwrap_or_default();
        id
    })
}

fn hash(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;
    use crate::clock::ManualClock;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const SESSION: &str = "a_session";
    const TOKEN: &str = "0123456789abcdef";

    fn sessions() -> (Sessions, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let token = AdminToken::new(&TOKEN.into());
        (Sessions::new(SESSION, Some(token), clock.clone()), clock)
    }

    fn sent(name: &str) -> HeaderMap {
        let value = format!("other=1; {SESSION}={name}").parse().unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    #[test]
    fn a_session_goes_on_while_it_is_used_and_not_for_ever() {
        let (sessions, clock) = sessions();
        let headers = sent(&sessions.begin());
        assert!(!sessions.goes_on(&HeaderMap::new()));
        for step in 1..=36 {
            clock.advance(TimeDelta::minutes(20));
            assert_eq!(
                sessions.goes_on(&headers),
                step < 36,
                "after {} min",
                step * 20
            );
        }
        // A page that is left open is not somebody.
        let headers = sent(&sessions.begin());
        let mut refresh = headers.clone();
        refresh.insert(REFRESH, HeaderValue::from_static("1"));
        for minute in 1..=30 {
            clock.advance(TimeDelta::minutes(1));
            assert_eq!(sessions.goes_on(&refresh), minute < 30);
        }
        assert!(!sessions.goes_on(&headers));
    }

    #[test]
    fn an_ended_session_is_over_and_a_name_that_nobody_gave_is_none() {
        let (sessions, clock) = sessions();
        let name = sessions.begin();
        let others = Sessions::new("another_service", None, clock);
        assert!(!sessions.goes_on(&sent("AAAA")));
        assert!(!others.goes_on(&sent(&name)));
        assert!(sessions.goes_on(&sent(&name)));
        let _ = sessions.end(&sent(&name));
        assert!(!sessions.goes_on(&sent(&name)));
    }

    #[test]
    fn a_shared_session_ends_when_idle_after_twelve_hours_and_with_another_token() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        let ago = |minutes| now - TimeDelta::minutes(minutes);
        for (begun, used, is_valid) in [
            (0, 0, true),
            (719, 29, true),
            (719, 30, false),
            (720, 0, false),
            (-10, -10, true),
            (-11, 0, false),
            (0, -11, false),
        ] {
            let session = SessionTimes {
                begun: ago(begun),
                used: ago(used),
            };
            assert_eq!(session.is_valid(now), is_valid, "{begun} {used}");
        }
        let (sessions, clock) = sessions();
        let (name, id) = sessions.new_name().unwrap();
        let ids = |sessions: &Sessions, name: &str| sessions.ids(&sent(name)).collect::<Vec<_>>();
        assert_eq!(ids(&sessions, &name), [id]);
        let twin = Sessions::new(SESSION, sessions.token, clock.clone());
        assert_eq!(
            ids(&twin, &name).len(),
            1,
            "another process with this token"
        );
        let other = AdminToken::new(&"another-token-of-16".into());
        let other = Sessions::new(SESSION, Some(other), clock.clone());
        assert_eq!(ids(&other, &name), [""; 0]);
        let nobody = Sessions::new(SESSION, None, clock);
        assert_eq!((ids(&nobody, &name), nobody.new_name()), (vec![], None));
        let (nonce, code) = name.split_once('.').unwrap();
        let cut = format!("{nonce}.{}", &code[..42]);
        for forged in [
            nonce,
            &cut,
            ".",
            "",
            &format!("x{name}"),
            &format!("{nonce}."),
        ] {
            assert_eq!(ids(&sessions, forged), [""; 0], "{forged}");
        }
    }

    #[test]
    fn only_wrong_tokens_have_to_wait() {
        let (sessions, clock) = sessions();
        let none = HeaderMap::new();
        let sign_in = |shown: &str| sessions.sign_in(shown, PEER, &none).map(|_| ());
        for _ in 0..100 {
            assert_eq!(sign_in(""), Err(SignInError::WrongToken));
        }
        for _ in 0..MAX_FAILURES {
            assert_eq!(sign_in("wrong"), Err(SignInError::WrongToken));
        }
        assert_eq!(sign_in("wrong"), Err(SignInError::TooMany));
        assert_eq!(sign_in(TOKEN), Ok(()));
        assert_eq!(sign_in("wrong"), Err(SignInError::TooMany));
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(sign_in("wrong"), Err(SignInError::WrongToken));
        let without = Sessions::new(SESSION, None, clock);
        let error = without.sign_in("", PEER, &none).unwrap_err();
        assert_eq!(error, SignInError::WrongToken);
    }

    #[test]
    fn failures_count_by_network_and_by_door_and_are_bounded() {
        let (sessions, _) = sessions();
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let note = |door, from: &str| sessions.note_failure(door, address(from));
        for host in 1..=MAX_FAILURES {
            assert!(note(Door::Api, &format!("2001:db8::{host}")));
        }
        assert!(!note(Door::Api, "2001:db8::ffff"), "one network");
        assert!(note(Door::Api, "2001:db8:0:1::1"));
        assert!(note(Door::Console, "2001:db8::1"), "another door");
        for number in 0..1000 {
            note(
                Door::Api,
                &format!("10.0.{}.{}", number / 250, number % 250),
            );
        }
        assert!(!note(Door::Api, "192.0.2.1"), "all of them together");
        assert!(note(Door::Console, "192.0.2.1"));
        assert!(sessions.lock().failures.len() <= 2 * MAX_FAILURES_OF_ALL);
        let right = sessions.sign_in(TOKEN, address("2001:db8::1"), &HeaderMap::new());
        assert!(right.is_ok());
    }

    #[test]
    fn no_script_and_no_other_page_gets_the_cookie_and_tls_keeps_it() {
        let (sessions, _) = sessions();
        let plain = sessions.set_cookie("name", false);
        let expected = "a_session=name; Path=/; HttpOnly; SameSite=Strict";
        assert_eq!(plain, expected);
        let proto = [(
            "x-forwarded-proto".parse().unwrap(),
            "https".parse().unwrap(),
        )];
        assert!(came_by_tls(&HeaderMap::from_iter(proto)));
        let secure = sessions.set_cookie("name", true);
        assert_eq!(secure, format!("{expected}; Secure").as_str());
    }

    #[test]
    fn there_are_never_too_many() {
        let (sessions, clock) = sessions();
        let first = sent(&sessions.begin());
        for _ in 1..=100 {
            clock.advance(TimeDelta::seconds(1));
            sessions.begin();
        }
        assert!(!sessions.goes_on(&first));
        assert_eq!(sessions.lock().sessions.len(), MAX_SESSIONS);
    }
}
