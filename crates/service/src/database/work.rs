//! Bounds work on a database, lets it outlive its caller, and retries it.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use sea_orm::DbErr;

use super::failure;
use crate::jobs;
use crate::unattended::finish_even_if_disconnected;

/// Maximum number of attempts of work that fails because of conflicts with other work.
const MAX_TRIES: u32 = 3;

tokio::task_local! {
    /// Whether a commit was sent whose response has not arrived.
    static IS_COMMITTING: Arc<AtomicBool>;
}

/// Records for [`within`] whether a commit is in progress.
pub(super) fn note_committing(is_committing: bool) {
    // Without a timeout around it, the commit's own result is returned.
    let _ = IS_COMMITTING.try_with(|it| it.store(is_committing, Ordering::Relaxed));
}

/// Waits for work on a database, up to `timeout`, and survives its panics.
///
/// # Errors
/// Those of the work. If it timed out or panicked, an error that says so:
/// [`Failure::Uncertain`](super::Failure::Uncertain) if it was waiting for the result of a commit.
pub async fn within<T, E: From<DbErr>>(
    timeout: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let is_committing = Arc::new(AtomicBool::new(false));
    // In a box, because each wrapper would be as large as the work otherwise.
    let work = Box::pin(AssertUnwindSafe(work).catch_unwind());
    let work = IS_COMMITTING.scope(is_committing.clone(), work);
    let error = match tokio::time::timeout(timeout, work).await {
        Ok(Ok(done)) => return done,
        Ok(Err(panic)) => failure::panicked(jobs::text(&*panic)),
        Err(_) => failure::timed_out(timeout),
    };
    Err(match is_committing.load(Ordering::Relaxed) {
        true => failure::uncertain(&error).into(),
        false => error.into(),
    })
}

/// Runs work that continues if the caller disconnects; its result is then dropped. If the library
/// is interrupted while it starts a transaction, it treats the connection as one outside of a
/// transaction (`sqlx-postgres` 0.9.0, `PgTransactionManager::begin`). The work bounds its own
/// time.
pub(super) fn uninterrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, DbErr>> + Send + 'static,
) -> impl Future<Output = Result<T, DbErr>> + Send {
    let done = finish_even_if_disconnected(work);
    async move {
        let done = done.await;
        done.unwrap_or_else(|panicked| Err(failure::panicked(&panicked.what)))
    }
}

/// Runs work with transactions, and retries it if nothing was done because of a conflict with other
/// work or a failed connection. All waits start again.
///
/// # Errors
/// Those of the last try.
pub async fn repeated<T, E, F>(work: impl Fn() -> F) -> Result<T, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut tries = 1;
    loop {
        // In a box, so that callers do not hold its state in theirs.
        match Box::pin(work()).await {
            Err(error) if tries < MAX_TRIES && is_for_another_try(&error) => tries += 1,
            done => return done,
        }
    }
}

/// Whether work that failed in this way has done nothing, and may succeed if it is retried.
#[must_use]
pub fn is_for_another_try(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source())
        .find_map(|error| error.downcast_ref::<DbErr>())
        .is_some_and(failure::may_be_repeated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Failure, words};

    #[tokio::test]
    async fn a_panic_keeps_its_text_and_within_a_commit_the_outcome_is_unknown() {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let bug = async || -> Result<(), DbErr> { panic!("index out of bounds") };
        let error = within(TIMEOUT, bug()).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Panicked);
        let error = uninterrupted(async { panic!("index out of bounds") });
        let error: Result<(), DbErr> = error.await;
        let error = error.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Panicked);
        assert!(words(&error).contains("index out of bounds"), "{error}");
        let committing = async {
            note_committing(true);
            bug().await
        };
        let error = within(TIMEOUT, committing).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Uncertain);
        // Around a part of the work, it does not hide what happens inside.
        let nested = within(TIMEOUT, async {
            note_committing(true);
            let _ = within(TIMEOUT, bug()).await;
            note_committing(false);
            bug().await
        });
        let error = nested.await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Panicked);
    }
}
