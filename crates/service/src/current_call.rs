//! What a service keeps about the call that is being answered, wherever the call's work runs.

use std::any::Any;
use std::sync::Arc;

tokio::task_local! {
    static CURRENT: Arc<dyn Any + Send + Sync>;
}

/// Lets `work` find `call` with [`current_call`]. Work that outlives its caller
/// ([`unattended`](crate::unattended)) finds it, too.
pub async fn with_call<T>(call: Arc<dyn Any + Send + Sync>, work: impl Future<Output = T>) -> T {
    CURRENT.scope(call, work).await
}

/// What was passed to [`with_call`], if it is a `C`.
#[must_use]
pub fn current_call<C: Any + Send + Sync>() -> Option<Arc<C>> {
    CarriedCall::current().0?.downcast().ok()
}

/// The call, for work that runs elsewhere.
pub(crate) struct CarriedCall(Option<Arc<dyn Any + Send + Sync>>);

impl CarriedCall {
    /// The one that is being answered.
    pub(crate) fn current() -> Self {
        Self(CURRENT.try_with(Clone::clone).ok())
    }

    /// Runs work that finds it.
    pub(crate) async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        match self.0 {
            Some(call) => CURRENT.scope(call, work).await,
            None => work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unattended::finish_even_if_disconnected;

    #[tokio::test]
    async fn work_that_outlives_its_caller_finds_the_call() {
        assert_eq!(current_call::<u8>(), None);
        let found = with_call(Arc::new(7_u8), async {
            let elsewhere = finish_even_if_disconnected(async { current_call::<u8>() });
            (current_call::<u8>(), current_call::<u16>(), elsewhere.await)
        });
        let (here, other, elsewhere) = found.await;
        assert_eq!((here.as_deref(), other), (Some(&7), None));
        assert_eq!(elsewhere.unwrap().as_deref(), Some(&7));
    }
}
