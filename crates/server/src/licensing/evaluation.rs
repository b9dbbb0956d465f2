//! Evaluates the amendments of licenses away from the threads that answer calls: the largest history
//! takes many times as long as any other work.
//!
//! Nothing is locked meanwhile. Code in a transaction has only the transaction, not the [`Store`] that
//! an evaluation needs: what is stored was evaluated before, and the transaction checks that nothing
//! has changed since then.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;

use license_service::turns::Turn;
use tokio::task::spawn_blocking;
use tokio::task_local;

use crate::store::{Store, StoreError};

/// Only [`evaluated`] creates one: what needs it cannot be done on a thread that answers calls.
#[derive(Debug)]
pub struct Evaluating(());

#[cfg(test)]
impl Evaluating {
    /// For tests, which keep no call waiting.
    pub(crate) const IN_TEST: Self = Self(());
}

task_local! {
    /// The turns of the present work.
    static TURNS: Arc<[Turn]>;
}

/// Does work that reads the amendments of a license and evaluates them in one turn, so that nothing is
/// held in memory while waiting for the turn. Call it before anything is locked.
///
/// # Errors
/// As [`evaluated`], and those of the work.
pub async fn in_turn<T, E: From<StoreError>>(
    store: &Store,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let turns = turns(store).await?;
    TURNS.scope(turns, Box::pin(work)).await
}

/// The turns of the present work, or else new ones.
async fn turns(store: &Store) -> Result<Arc<[Turn]>, StoreError> {
    if let Ok(turns) = TURNS.try_with(Arc::clone) {
        return Ok(turns);
    }
    let turns = store.evaluations().turns().await;
    Ok(turns.map_err(|_| StoreError::Evaluating)?.into())
}

/// The result of work that only computes something from amendments.
///
/// # Errors
/// [`StoreError::Evaluating`] if too many others wait, or have not finished in time.
pub async fn evaluated<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Evaluating) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let turns = turns(store).await?;
    let evaluated = spawn_blocking(move || {
        // Also count if the caller no longer waits.
        let _turns = turns;
        work(&Evaluating(()))
    });
    match evaluated.await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is being shut down, and this task with it.
            Err(_) => pending().await,
        },
    }
}
