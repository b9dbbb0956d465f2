//! Evaluates the amendments of licenses away from the threads that answer calls: the largest history
//! takes many times as long as any other work.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Maximum number of evaluations at the same time. Others wait, in order.
const MAX_EVALUATIONS: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(MAX_EVALUATIONS);

/// The result of work that only computes something from amendments.
pub async fn evaluated<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let turn = TURNS.acquire().await;
    let evaluated = spawn_blocking(move || {
        // Also counts if the caller no longer waits.
        let _turn = turn;
        work()
    });
    match evaluated.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is being shut down, and this task with it.
            Err(_) => pending().await,
        },
    }
}
