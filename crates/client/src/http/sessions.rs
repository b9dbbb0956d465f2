//! Sessions of browsers: who has shown the token need not show it with every
//! request.
//!
//! They are in memory alone: a restart ends them. What the browser keeps is a
//! random name, of which only the hash is here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

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
const COOKIE: &str = "license_session";

/// Sessions, and who has tried to get one in vain. Times are of the running
/// process.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<Kept>);

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
    /// Whether somebody from `peer` may try now.
    pub(super) fn may_try(&self, peer: IpAddr, now: Duration) -> bool {
        let mut kept = self.lock();
        kept.failures
            .retain(|(_, at)| now.saturating_sub(*at) < TRIES_WITHIN);
        let theirs = kept.failures.iter().filter(|(from, _)| *from == peer);
        theirs.count() < TRIES && kept.failures.len() < TRIES_OF_ALL
    }

    /// Notes a wrong token.
    pub(super) fn note_failure(&self, peer: IpAddr, now: Duration) {
        self.lock().failures.push((peer, now));
    }

    /// Begins a session; answers the cookie to set.
    pub(super) fn begin(&self, now: Duration) -> HeaderValue {
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
        cookie(&name)
    }

    /// Whether the request belongs to a session, which goes on then.
    pub(super) fn goes_on(&self, headers: &HeaderMap, now: Duration) -> bool {
        let mut kept = self.lock();
        kept.sessions.retain(|_, session| session.lasts(now));
        names(headers).any(|name| {
            let session = kept.sessions.get_mut(&hash(name));
            session.is_some_and(|session| {
                session.used = now;
                true
            })
        })
    }

    /// Ends the request's session; answers the cookie that removes its name.
    pub(super) fn end(&self, headers: &HeaderMap) -> HeaderValue {
        let mut kept = self.lock();
        for name in names(headers) {
            kept.sessions.remove(&hash(name));
        }
        HeaderValue::from_static("license_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lasts(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) < IDLE && now.saturating_sub(self.begun) < LONGEST
    }
}

fn cookie(name: &str) -> HeaderValue {
    let text = format!("{COOKIE}={name}; Path=/; HttpOnly; SameSite=Strict");
    // The name is base64url.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let texts = cookies.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

fn hash(name: &str) -> [u8; 32] {
    Sha256::digest(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn sent(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        let value = format!("other=1; {pair}").parse().unwrap();
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn a_session_goes_on_while_it_is_used_and_not_for_ever() {
        let sessions = Sessions::default();
        let headers = sent(&sessions.begin(minutes(0)));
        assert!(!sessions.goes_on(&HeaderMap::new(), minutes(0)));
        for step in 1..=36 {
            let lasts = sessions.goes_on(&headers, minutes(step * 20));
            assert_eq!(lasts, step < 36, "after {} min", step * 20);
        }
        let headers = sent(&sessions.begin(minutes(0)));
        assert!(!sessions.goes_on(&headers, minutes(30)));
    }

    #[test]
    fn an_ended_session_is_over_and_a_name_that_nobody_gave_is_none() {
        let sessions = Sessions::default();
        let headers = sent(&sessions.begin(minutes(0)));
        let made_up = sent(&HeaderValue::from_static("license_session=AAAA"));
        assert!(!sessions.goes_on(&made_up, minutes(0)));
        sessions.end(&headers);
        assert!(!sessions.goes_on(&headers, minutes(0)));
    }

    #[test]
    fn who_guesses_has_to_wait() {
        let sessions = Sessions::default();
        for _ in 0..TRIES {
            assert!(sessions.may_try(PEER, minutes(0)));
            sessions.note_failure(PEER, minutes(0));
        }
        assert!(!sessions.may_try(PEER, minutes(0)));
        assert!(sessions.may_try(IpAddr::from([10, 0, 0, 1]), minutes(0)));
        assert!(sessions.may_try(PEER, minutes(1)));
    }

    #[test]
    fn there_are_never_too_many() {
        let sessions = Sessions::default();
        let first = sent(&sessions.begin(Duration::ZERO));
        for second in 1..=100 {
            sessions.begin(Duration::from_secs(second));
        }
        assert!(!sessions.goes_on(&first, Duration::from_secs(101)));
        assert_eq!(sessions.lock().sessions.len(), MOST);
    }
}
