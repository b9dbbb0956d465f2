//! Sessions of browsers: who has shown the token need not show it with every
//! request.
//!
//! They are in memory alone: a restart ends them. What the browser keeps is a
//! random name, of which only the hash is here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::admin_token::AdminToken;
use crate::clock::Clock;
use crate::random;

/// A session ends after so long without a request.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// And after so long in any case.
const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// Most sessions at a time; the one that was idle longest makes place.
const MOST: usize = 100;
/// So many wrong tokens from one address …
const TRIES: usize = 5;
/// … or from all addresses together …
const TRIES_OF_ALL: usize = 50;
/// … within this time, and nobody from there is listened to.
const TRIES_WITHIN: Duration = Duration::from_secs(60);

/// What pages say that ask by themselves.
const REFRESH: &str = "x-refresh";

/// Why nobody was signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// It is another token, or there is none.
    #[error("This is not the administrator's token.")]
    WrongToken,
    /// There were too many wrong ones.
    #[error("There were too many wrong tokens. Wait a minute, and try again.")]
    TooMany,
}

/// Sessions, and who has tried to get one in vain. Times are of the running
/// process.
pub struct Sessions {
    cookie: &'static str,
    token: Option<AdminToken>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sessions: HashMap<[u8; 32], Session>,
    failures: Vec<(IpAddr, Duration)>,
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
    /// `headers` are those of the request.
    ///
    /// # Errors
    /// One [`SignInError`] for each reason not to.
    pub fn sign_in(
        &self,
        shown: &str,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, SignInError> {
        let (peer, now) = (peer.to_canonical(), self.clock.running());
        if !self.may_try(peer, now) {
            return Err(SignInError::TooMany);
        }
        if self.token.is_none_or(|token| !token.is(shown)) {
            self.lock().failures.push((peer, now));
            return Err(SignInError::WrongToken);
        }
        Ok(self.set_cookie(&self.begin(), came_by_tls(headers)))
    }

    /// Notes that somebody from `peer` has shown a wrong token elsewhere.
    pub fn note_failure(&self, peer: IpAddr) {
        let (peer, now) = (peer.to_canonical(), self.clock.running());
        if self.may_try(peer, now) {
            self.lock().failures.push((peer, now));
        }
    }

    /// Whether somebody from `peer` may try now.
    fn may_try(&self, peer: IpAddr, now: Duration) -> bool {
        let mut kept = self.lock();
        kept.failures
            .retain(|(_, at)| now.saturating_sub(*at) < TRIES_WITHIN);
        let theirs = kept.failures.iter().filter(|(from, _)| *from == peer);
        theirs.count() < TRIES && kept.failures.len() < TRIES_OF_ALL
    }

    /// Begins a session; answers its name.
    fn begin(&self) -> String {
        let now = self.clock.running();
        let name = random::nonce();
        let mut kept = self.lock();
        kept.sessions.retain(|_, session| session.lasts(now));
        if kept.sessions.len() >= MOST {
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

    /// Ends the request's session; answers the cookie that removes its name.
    #[must_use]
    pub fn end(&self, headers: &HeaderMap) -> HeaderValue {
        let mut kept = self.lock();
        for name in self.names(headers) {
            kept.sessions.remove(&hash(name));
        }
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
        now.saturating_sub(self.used) < IDLE && now.saturating_sub(self.begun) < LONGEST
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
    fn who_guesses_has_to_wait() {
        let (sessions, clock) = sessions();
        let none = HeaderMap::new();
        let other = IpAddr::from([10, 0, 0, 1]);
        for _ in 0..TRIES {
            let error = sessions.sign_in("wrong", PEER, &none).unwrap_err();
            assert_eq!(error, SignInError::WrongToken);
        }
        let error = sessions.sign_in(TOKEN, PEER, &none).unwrap_err();
        assert_eq!(error, SignInError::TooMany);
        assert!(sessions.sign_in(TOKEN, other, &none).is_ok());
        clock.advance(TimeDelta::minutes(1));
        assert!(sessions.sign_in(TOKEN, PEER, &none).is_ok());
        let without = Sessions::new(SESSION, None, clock);
        let error = without.sign_in("", PEER, &none).unwrap_err();
        assert_eq!(error, SignInError::WrongToken);
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
        assert_eq!(sessions.lock().sessions.len(), MOST);
    }
}
