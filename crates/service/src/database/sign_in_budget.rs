//! Limits the processor time for signing in to a database.
//!
//! With SCRAM (RFC 5802) the database chooses how often a password is hashed, up to four billion
//! times, and the library does it (`sqlx-postgres` 0.9.0, `hi`). A user of the database can choose
//! the number for their own password, and end the existing connections. The processor time until a
//! connection is handed out is therefore limited. Waiting costs nothing: a database that is
//! unavailable or slow is retried as often as usual.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use sea_orm::DbErr;
use tokio::time::Instant;

use crate::clock::{thread_time, ticks};

/// The default of the processor time that may be used without a pause: ten connections with
/// 250 times the usual number of iterations.
pub(super) const DEFAULT_BURST: Duration = Duration::from_secs(10);
/// The budget grows by this fraction of the elapsed time.
const SHARE: u32 = 10;
/// The minimum for each call: it is enough to be handed an existing connection.
const FREE: Duration = Duration::from_millis(1);
pub(super) const EXHAUSTED: &str = "signing in to the database takes too much computation: the password was \
    stored with too many SCRAM iterations, or another program answers in place of the database; \
    set the password again with the default number (scram_iterations = 4096)";

thread_local! {
    /// Whether a connection was handed out while this thread polled a call.
    static IS_SIGNED_IN: Cell<bool> = const { Cell::new(false) };
}

/// The remaining budget.
pub(super) struct SignInBudget {
    burst: Duration,
    left: Mutex<(Duration, Instant)>,
}

/// The call that this thread is polling has its connection: further computation is not part of
/// signing in.
pub(super) fn note_signed_in() {
    IS_SIGNED_IN.set(true);
}

impl SignInBudget {
    pub(super) fn new(burst: Duration) -> Self {
        Self {
            burst,
            left: Mutex::new((burst, ticks())),
        }
    }

    /// Runs work that may start with signing in.
    ///
    /// # Errors
    /// Those of the work, and one where the budget is used up.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let mut work = pin!(work);
        let (mut is_signed_in, mut used) = (false, Duration::ZERO);
        poll_fn(|context| {
            if is_signed_in {
                return work.as_mut().poll(context);
            }
            IS_SIGNED_IN.set(false);
            let began = thread_time();
            let polled = work.as_mut().poll(context);
            is_signed_in = IS_SIGNED_IN.get();
            let now_used = thread_time().saturating_sub(began);
            used += now_used;
            let is_too_much = used > FREE && !is_signed_in && !self.take(now_used, ticks());
            match polled {
                Poll::Pending if is_too_much => Poll::Ready(Err(DbErr::Custom(EXHAUSTED.into()))),
                polled => polled,
            }
        })
        .await
    }

    /// Consumes processor time; returns whether there was enough.
    fn take(&self, used: Duration, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, at) = *left;
        let refilled = before.saturating_add((now - at) / SHARE).min(self.burst);
        *left = (refilled.saturating_sub(used), now);
        refilled >= used
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use sea_orm::ConnectionTrait as _;

    use super::*;
    use crate::database::{Database, Timeouts, words};

    /// Computes in small pieces, as the library does.
    async fn compute(limit: Duration) -> Result<(), DbErr> {
        let began = thread_time();
        while thread_time() - began < limit {
            let piece = thread_time() + Duration::from_micros(100);
            while thread_time() < piece {}
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    #[tokio::test]
    async fn only_what_is_computed_before_a_connection_is_handed_out_is_limited() {
        let burst = Duration::from_millis(40);
        let budget = SignInBudget::new(burst);
        budget.within(compute(burst / 4)).await.unwrap();
        let (began, at) = (thread_time(), ticks());
        let failed = budget.within(compute(Duration::from_secs(60))).await;
        assert_eq!(failed.unwrap_err(), DbErr::Custom(EXHAUSTED.to_owned()));
        for _ in 0..5 {
            let failed = budget.within(compute(Duration::from_secs(60))).await;
            failed.unwrap_err();
        }
        let used = thread_time() - began;
        let allowed = burst + (ticks() - at) / SHARE;
        assert!(used < allowed + 20 * FREE, "{used:?} {allowed:?}");
        // An existing connection is still used.
        let signed_in = async {
            note_signed_in();
            compute(2 * burst).await
        };
        budget.within(signed_in).await.unwrap();
    }

    #[test]
    fn the_budget_grows_with_time_and_not_without_end() {
        let burst = Duration::from_secs(10);
        let budget = SignInBudget::new(burst);
        let mut now = ticks();
        assert!(budget.take(burst, now));
        assert!(!budget.take(FREE, now));
        now += burst * SHARE / 2;
        assert!(budget.take(burst / 2, now));
        assert!(!budget.take(FREE, now));
        now += 100 * burst * SHARE;
        assert!(!budget.take(burst + FREE, now));
        assert!(!budget.take(FREE, now));
    }

    /// Asks everyone who connects for four billion iterations.
    fn expensive_server() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let message = |kind: u32, text: &[u8]| {
            let length = u32::try_from(8 + text.len()).unwrap();
            [b"R", &length.to_be_bytes()[..], &kind.to_be_bytes(), text].concat()
        };
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                std::thread::spawn(move || -> std::io::Result<()> {
                    let mut bytes = [0; 4096];
                    // The request for TLS, and the start.
                    connection.read_exact(&mut bytes[..8])?;
                    connection.write_all(b"N")?;
                    let _ = connection.read(&mut bytes)?;
                    connection.write_all(&message(10, b"SCRAM-SHA-256\0\0"))?;
                    let length = connection.read(&mut bytes)?;
                    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    let nonce = text.split_once("r=").map_or("", |(_, nonce)| nonce);
                    let answer = format!("r={nonce}x,s=c2FsdHNhbHQ=,i=4000000000");
                    connection.write_all(&message(11, answer.as_bytes()))?;
                    // Until it is closed.
                    while connection.read(&mut bytes)? > 0 {}
                    Ok(())
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn a_database_that_asks_for_billions_of_iterations_costs_little() {
        let port = expensive_server();
        let url = format!("postgresql://user:hunter2@127.0.0.1:{port}/db");
        let timeouts = Timeouts {
            sign_in: Duration::from_millis(200),
            ..Timeouts::default()
        };
        let database = Database::new(&url.parse().unwrap(), timeouts.clone()).unwrap();
        let (began, at) = (thread_time(), ticks());
        for _ in 0..20 {
            let error = database.execute_unprepared("SELECT 1").await.unwrap_err();
            assert_eq!(words(&error), EXHAUSTED);
        }
        let why = database.why_not().await.unwrap();
        assert!(why.what.contains("SCRAM iterations"), "{why}");
        let used = thread_time() - began;
        // Messages, and a little for each try.
        let allowed = timeouts.sign_in + (ticks() - at) / SHARE;
        assert!(
            used < allowed + Duration::from_millis(500),
            "{used:?} {allowed:?}"
        );
        assert!(used >= timeouts.sign_in, "{used:?}");
    }
}
