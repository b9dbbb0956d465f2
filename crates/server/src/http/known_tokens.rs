//! The named tokens, in memory: a wrong token causes no query of its own.
//!
//! The table is read every [`READ_INTERVAL`]. A token that is not known is looked for in the next
//! read, for which a caller may ask, but reads are at least [`MIN_READ_INTERVAL`] apart. So a token
//! is accepted as soon as it is stored, by whichever process. A token that this process revokes is
//! forgotten immediately. One that another process revokes is refused with the next read and, if the
//! table cannot be read, [`MAX_AGE`] after the last one: from then on, it is not known which tokens
//! may be used. The reads have a connection of their own, so that no caller delays them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use license_service::admin_token::AdminToken;
use license_service::caller_place::with_reserved;
use license_service::token_text::is_token;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::store::admin_tokens::{self, NamedToken};
use crate::store::{Store, StoreError};

/// How often the table is read.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// Minimum interval between two reads.
const MIN_READ_INTERVAL: Duration = Duration::from_millis(250);
/// How long what was read counts as known, from the beginning of the read on.
const MAX_AGE: Duration = Duration::from_secs(3);
/// How long a caller waits for a read.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Minimum interval between two notes of the last use of a token.
const NOTE_INTERVAL: TimeDelta = TimeDelta::minutes(1);

/// The tokens cannot be read at present, so it is not known whether there is such a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotRead;

/// A token, and what compares it.
#[derive(Clone)]
pub(super) struct KnownToken {
    pub(super) token: NamedToken,
    pub(super) key: AdminToken,
}

/// The tokens that are not revoked.
#[derive(Default)]
pub(crate) struct KnownTokens {
    known: watch::Sender<Known>,
    /// How many reads have begun.
    begun: AtomicU64,
    is_read_wanted: Notify,
    /// When the last use of each token was stored.
    noted: Mutex<HashMap<i64, DateTime<Utc>>>,
}

#[derive(Default)]
struct Known {
    /// The number of the last read.
    read: u64,
    /// Whether it succeeded. Otherwise the tokens are those from before.
    is_current: bool,
    /// When the last read that succeeded began.
    read_at: Option<Instant>,
    /// By hash.
    tokens: HashMap<String, Arc<KnownToken>>,
    /// Tokens that this process has revoked, with the number of the last read that had begun by
    /// then, which may still contain them.
    forgotten: HashMap<i64, u64>,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() <= MAX_AGE)
    }

    fn replace(&mut self, found: &[(AdminToken, NamedToken)], read: u64, began_at: Instant) {
        self.forgotten.retain(|_, last| read <= *last);
        let usable = found
            .iter()
            .filter(|(_, token)| !self.forgotten.contains_key(&token.id));
        let tokens = usable.map(|(key, token)| {
            let (key, token) = (*key, token.clone());
            (key.hash_text(), Arc::new(KnownToken { token, key }))
        });
        self.tokens = tokens.collect();
        self.read_at = Some(began_at);
    }
}

impl KnownTokens {
    /// Reads the table again and again.
    pub(crate) async fn follow(&self, store: &Store) -> Infallible {
        loop {
            if let Err(error) = self.read(store).await {
                // The database module logs failures of the database.
                tracing::debug!(%error, "failed to read the tokens");
            }
            tokio::time::sleep(MIN_READ_INTERVAL).await;
            let wanted = self.is_read_wanted.notified();
            let _ = tokio::time::timeout(READ_INTERVAL - MIN_READ_INTERVAL, wanted).await;
        }
    }

    /// Reads the table.
    ///
    /// # Errors
    /// If the database returns an error; the known tokens stay valid for [`MAX_AGE`] then.
    pub(crate) async fn read(&self, store: &Store) -> Result<(), StoreError> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let began_at = Instant::now();
        let found = with_reserved(admin_tokens::usable(store.reader())).await;
        self.known.send_modify(|known| {
            known.read = number;
            known.is_current = found.is_ok();
            if let Ok(found) = &found {
                known.replace(found, number, began_at);
            }
        });
        found.map(|_| ())
    }

    /// Forgets a token that was revoked.
    pub(super) fn forget(&self, id: i64) {
        let begun = self.begun.load(Ordering::SeqCst);
        self.known.send_modify(|known| {
            known.tokens.retain(|_, it| it.token.id != id);
            known.forgotten.insert(id, begun);
        });
    }

    /// Waits until the table was read after this call.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) async fn reread(&self) -> Result<(), NotRead> {
        let mut known = self.known.subscribe();
        let next = self.begun.load(Ordering::SeqCst) + 1;
        self.is_read_wanted.notify_one();
        let reading = known.wait_for(|known| known.read >= next);
        match tokio::time::timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(known)) if known.is_current => Ok(()),
            _ => Err(NotRead),
        }
    }

    /// Whether there are none, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.borrow().tokens.is_empty()
    }

    /// The token with this text.
    ///
    /// # Errors
    /// If it is not known, and the table cannot be read.
    pub(super) async fn find(&self, text: &str) -> Result<Option<Arc<KnownToken>>, NotRead> {
        if !is_token(text) {
            return Ok(None);
        }
        // The hash is compared, so that the duration reveals nothing about the token.
        let hash = AdminToken::new(&text.into()).hash_text();
        let known = || {
            let known = self.known.borrow();
            (known.tokens.get(&hash).cloned(), known.is_fresh())
        };
        if let (Some(found), true) = known() {
            return Ok(Some(found));
        }
        self.reread().await?;
        Ok(known().0)
    }

    /// The tokens with these numbers.
    ///
    /// # Errors
    /// If one is not known, and the table cannot be read.
    pub(super) async fn with_ids(&self, ids: &[i64]) -> Result<Vec<Arc<KnownToken>>, NotRead> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let known = || {
            let known = self.known.borrow();
            let tokens = known.tokens.values();
            let found = tokens.filter(|it| ids.contains(&it.token.id));
            (found.cloned().collect::<Vec<_>>(), known.is_fresh())
        };
        let (found, is_fresh) = known();
        if is_fresh && found.len() == ids.len() {
            return Ok(found);
        }
        self.reread().await?;
        Ok(known().0)
    }

    /// Records that a token was used, at most once a minute. A failure is not the caller's problem.
    pub(super) async fn note_used(&self, store: &Store, token: &NamedToken, now: DateTime<Utc>) {
        let is_recent = |at: DateTime<Utc>| (now - at).abs() < NOTE_INTERVAL;
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            let last = noted.get(&token.id).copied().max(token.last_used_at);
            if last.is_some_and(is_recent) {
                return;
            }
            noted.retain(|_, at| is_recent(*at));
            noted.insert(token.id, now);
        }
        let noting = admin_tokens::note_used(store.reader(), token.id, now);
        if let Err(error) = noting.await {
            tracing::debug!(%error, "failed to record the use of a token");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: i64) -> (AdminToken, NamedToken) {
        let text = format!("token {id}");
        let token = NamedToken {
            id,
            name: text.clone(),
            note: None,
            created_at: DateTime::UNIX_EPOCH,
            created_by: String::new(),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        (AdminToken::new(&text.into()), token)
    }

    fn ids(known: &Known) -> Vec<i64> {
        let mut ids: Vec<i64> = known.tokens.values().map(|it| it.token.id).collect();
        ids.sort_unstable();
        ids
    }

    #[tokio::test]
    async fn a_read_that_began_before_a_revocation_does_not_bring_the_token_back() {
        let tokens = KnownTokens::default();
        let found = [token(1), token(2)];
        let now = Instant::now();
        let read = |number| {
            let replace = |it: &mut Known| it.replace(&found, number, now);
            tokens.known.send_modify(replace);
        };
        read(1);
        tokens.begun.store(2, Ordering::SeqCst);
        assert_eq!(ids(&tokens.known.borrow()), [1, 2]);
        tokens.forget(1);
        assert_eq!(ids(&tokens.known.borrow()), [2]);
        // The second read had begun by then.
        read(2);
        assert_eq!(ids(&tokens.known.borrow()), [2]);
        // A later one has what the table says, and nothing is remembered.
        read(3);
        assert_eq!(ids(&tokens.known.borrow()), [1, 2]);
        assert!(tokens.known.borrow().forgotten.is_empty());
    }
}
