//! The call that is being answered, if it carries an `Idempotency-Key`.
//!
//! [`Change`](crate::audit::Change) stores the call together with its first entry in the audit log, so
//! a call is stored exactly if its change is; the calls of sites are stored with their answers. Other
//! answers are stored as soon as they are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use license_core::idempotency::{KEPT_FOR, Keyed, Repetition, repetition};
use license_core::signing_clock::SigningTime;
use license_service::clock::Clock;
use license_service::current_call::{current_call, with_call};
use license_service::database::Database;
use license_service::random;
use sea_orm::ConnectionTrait;
use serde::Serialize;
use uuid::Uuid;

use crate::store::idempotency_keys::{self, Bounds, NewCall, NotedCall, SealedAnswer};
use crate::store::{Store, StoreError};

/// Maximum length of an answer that is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How many calls are kept. Those of each machine are few: a site repeats only its last call.
pub const BOUNDS: Bounds = Bounds {
    of_token: 20_000,
    of_machine: 16,
    of_all: 100_000,
};

/// The status code of answers without a new resource.
pub const OK: u16 = 200;
/// The status code of answers with a new resource.
pub const CREATED: u16 = 201;

/// How long a call waits for the answer that another server is giving.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it looks for the answer.
const ANSWER_INTERVAL: Duration = Duration::from_millis(100);
/// How long after its change a call may still be answered.
const MAX_ANSWERING: TimeDelta = TimeDelta::seconds(30);

/// A call with an `Idempotency-Key` that is being answered.
pub struct KeyedCall {
    keyed: Keyed,
    /// Distinguishes what this process has stored from what other processes have.
    attempt: String,
    clock: Arc<dyn Clock>,
    /// The call repeats another one.
    is_repeated: AtomicBool,
    /// The call was written in a transaction, which may have been rolled back since.
    is_noted: AtomicBool,
    /// So was its answer.
    is_answered: AtomicBool,
}

/// What a repeated call gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The answer to the first call.
    Answer {
        /// Its status code.
        status: u16,
        /// Its body.
        body: Vec<u8>,
    },
    /// Nothing: the key belongs to a call of another caller.
    OtherCaller(DateTime<Utc>),
    /// Nothing: the key belongs to another request.
    OtherRequest(DateTime<Utc>),
    /// The first call has changed something, and its answer is not known.
    Unanswered {
        /// When it changed something.
        at: DateTime<Utc>,
        /// What its first change was.
        done: Option<String>,
    },
    /// The first call is being processed.
    InProgress,
}

impl KeyedCall {
    /// A call, and the clock that tells when it is answered.
    #[must_use]
    pub fn new(keyed: Keyed, clock: Arc<dyn Clock>) -> Self {
        Self {
            keyed,
            attempt: Uuid::new_v4().to_string(),
            clock,
            is_repeated: AtomicBool::new(false),
            is_noted: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
        }
    }

    /// Hash of the key and those who share it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.keyed.id
    }

    /// Whether the call was found to repeat another one, and has changed nothing.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated.load(Ordering::Relaxed)
    }

    /// Whether a transaction, which may have been rolled back since, has stored the call.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.is_noted.load(Ordering::Relaxed)
    }

    /// Does the work of the call; `current_call` finds the call there.
    pub async fn scope<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        with_call(self, work).await
    }

    /// Checks that the call repeats no other one. What no longer counts is removed.
    ///
    /// # Errors
    /// [`StoreError::RepeatedCall`], or if the database returns an error.
    pub async fn check(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        let Some(noted) = idempotency_keys::find(db, self.id()).await? else {
            return Ok(());
        };
        match self.repetition(&noted) {
            _ if noted.attempt == self.attempt => Ok(()),
            Repetition::New => idempotency_keys::remove(db, self.id(), &noted.attempt).await,
            _ => Err(self.refuse()),
        }
    }

    fn repetition(&self, noted: &NotedCall) -> Repetition {
        repetition(&noted.noted(), &self.keyed, self.clock.now())
    }

    fn refuse(&self) -> StoreError {
        self.is_repeated.store(true, Ordering::Relaxed);
        StoreError::RepeatedCall
    }

    fn new_call<'a>(
        &'a self,
        done: Option<&'a str>,
        answer: Option<&'a SealedAnswer>,
    ) -> NewCall<'a> {
        NewCall {
            keyed: &self.keyed,
            attempt: &self.attempt,
            at: self.clock.now(),
            done,
            answer,
        }
    }

    /// Stores the call in the transaction of its change, if it is not stored yet.
    async fn note(
        &self,
        db: &impl ConnectionTrait,
        done: Option<&str>,
        answer: Option<&SealedAnswer>,
    ) -> Result<(), StoreError> {
        if idempotency_keys::insert(db, &self.new_call(done, answer)).await? {
            self.is_noted.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let noted = idempotency_keys::find(db, self.id()).await?;
        if noted.is_none_or(|it| it.attempt != self.attempt) {
            return Err(self.refuse());
        }
        if let Some(answer) = answer {
            idempotency_keys::set_answer(db, self.id(), &self.attempt, answer).await?;
        }
        Ok(())
    }

    /// Stores the answer, if it was not stored with the change. `is_kept` says whether it is stored if
    /// the call has changed nothing; otherwise, nothing is asked of the database for such a call.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn keep_answer(
        &self,
        db: &Database,
        status: u16,
        body: &[u8],
        is_kept: bool,
    ) -> Result<(), StoreError> {
        let is_noted = self.is_noted();
        let is_wanted = is_noted || is_kept;
        if !is_wanted || self.is_answered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let answer = &self.sealed(status, body);
        let is_stored =
            is_noted && idempotency_keys::set_answer(db, self.id(), &self.attempt, answer).await?;
        if is_kept && !is_stored {
            idempotency_keys::insert(db, &self.new_call(None, Some(answer))).await?;
        }
        Ok(())
    }

    /// What a call gets that repeats another one. Waits briefly for an answer that may still
    /// arrive.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn repeated(&self, db: &Database) -> Result<Repeated, StoreError> {
        let mut tries = ANSWER_TIMEOUT.as_millis() / ANSWER_INTERVAL.as_millis();
        loop {
            let Some(noted) = idempotency_keys::find(db, self.id()).await? else {
                return Ok(Repeated::InProgress);
            };
            let (at, now) = (noted.at, self.clock.now());
            return Ok(match self.repetition(&noted) {
                Repetition::New => Repeated::InProgress,
                Repetition::OtherCaller => Repeated::OtherCaller(at),
                Repetition::OtherRequest => Repeated::OtherRequest(at),
                Repetition::Answered => self.opened(noted),
                Repetition::Unanswered
                    if tries > 0 && noted.answer.is_none() && now - at < MAX_ANSWERING =>
                {
                    tries -= 1;
                    tokio::time::sleep(ANSWER_INTERVAL).await;
                    continue;
                }
                Repetition::Unanswered => Repeated::Unanswered {
                    at,
                    done: noted.done,
                },
            });
        }
    }

    fn sealed(&self, status: u16, body: &[u8]) -> SealedAnswer {
        let body = Some(body).filter(|body| body.len() <= MAX_ANSWER_BYTES);
        SealedAnswer {
            status,
            body: body.and_then(|body| seal(&self.keyed.answer_secret, body)),
        }
    }

    /// The answer of a call. It cannot be decrypted if the `ADMIN_TOKEN` was replaced meanwhile.
    fn opened(&self, noted: NotedCall) -> Repeated {
        let answer = noted.answer.and_then(|it| Some((it.status, it.body?)));
        let opened = answer.and_then(|(status, body)| {
            let body = open(&self.keyed.answer_secret, &body)?;
            Some(Repeated::Answer { status, body })
        });
        opened.unwrap_or(Repeated::Unanswered {
            at: noted.at,
            done: noted.done,
        })
    }
}

/// Records in the transaction of a change that the call which is being answered has made it.
///
/// # Errors
/// [`StoreError::RepeatedCall`] if another process has answered the call meanwhile, or if the database
/// returns an error; nothing may be stored then.
pub async fn note_change(
    db: &impl ConnectionTrait,
    done: impl FnOnce() -> String,
) -> Result<(), StoreError> {
    let Some(call) = current_call::<KeyedCall>() else {
        return Ok(());
    };
    let done = done();
    // In a box, because most changes belong to no such call, and need no room for it.
    Box::pin(call.note(db, Some(&done), None)).await
}

/// Stores the answer in the transaction of the change. It has to be the one that is sent.
///
/// # Errors
/// As [`note_change`].
pub async fn note_answer<T: Serialize>(
    db: &impl ConnectionTrait,
    status: u16,
    body: impl FnOnce() -> T,
) -> Result<(), StoreError> {
    let Some(call) = current_call::<KeyedCall>() else {
        return Ok(());
    };
    // Every answer can be written; otherwise it is stored when it is sent.
    let Ok(body) = serde_json::to_vec(&body()) else {
        return Ok(());
    };
    let answer = call.sealed(status, &body);
    Box::pin(call.note(db, None, Some(&answer))).await?;
    call.is_answered.store(true, Ordering::Relaxed);
    Ok(())
}

/// Removes the record of the call that is being answered, so that a repeated call is processed again.
/// To be used if the recorded change certainly did not happen, or if repeating the call completes it.
/// If the record cannot be removed, a repeated call is told what was recorded.
pub async fn may_be_repeated(db: &impl ConnectionTrait) {
    let Some(call) = current_call::<KeyedCall>() else {
        return;
    };
    // An answer that was stored may have been committed.
    if !call.is_noted() || call.is_answered.load(Ordering::Relaxed) {
        return;
    }
    match idempotency_keys::remove(db, call.id(), &call.attempt).await {
        Ok(()) => call.is_noted.store(false, Ordering::Relaxed),
        Err(error) => tracing::warn!(%error, "a call that failed cannot be repeated with its key"),
    }
}

/// Checks that the call which is being answered repeats no other one.
///
/// # Errors
/// As [`KeyedCall::check`].
pub async fn check_new(db: &impl ConnectionTrait) -> Result<(), StoreError> {
    match current_call::<KeyedCall>() {
        Some(call) => Box::pin(call.check(db)).await,
        None => Ok(()),
    }
}

/// Removes calls that are too old or too many.
///
/// # Errors
/// If the database returns an error.
pub async fn prune(store: &Store, now: SigningTime) -> Result<(), StoreError> {
    let before = now.instant() - KEPT_FOR;
    idempotency_keys::prune(store.reader(), before, &BOUNDS).await
}

fn cipher(secret: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, secret).ok()?,
    ))
}

/// The text in base64, after a random nonce. Each key encrypts only the few answers to one call.
fn seal(secret: &[u8; 32], text: &[u8]) -> Option<String> {
    let nonce = random::bytes::<NONCE_LEN>();
    let mut sealed = text.to_vec();
    let unique = Nonce::assume_unique_for_key(nonce);
    cipher(secret)?
        .seal_in_place_append_tag(unique, Aad::empty(), &mut sealed)
        .ok()?;
    Some(STANDARD.encode([&nonce[..], &sealed].concat()))
}

fn open(secret: &[u8; 32], sealed: &str) -> Option<Vec<u8>> {
    let sealed = STANDARD.decode(sealed).ok()?;
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = sealed.to_vec();
    let unique = Nonce::assume_unique_for_key(*nonce);
    let opened = cipher(secret)?.open_in_place(unique, Aad::empty(), &mut text);
    Some(opened.ok()?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_opens_an_answer() {
        let sealed = seal(&[1; 32], b"{}").unwrap();
        assert_eq!(open(&[1; 32], &sealed).as_deref(), Some(&b"{}"[..]));
        assert_eq!(open(&[2; 32], &sealed), None);
        assert_ne!(seal(&[1; 32], b"{}").unwrap(), sealed);
        for altered in ["", "AAAA", "no base64", &sealed[4..]] {
            assert_eq!(open(&[1; 32], altered), None, "{altered}");
        }
    }
}
