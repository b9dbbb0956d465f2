//! Which connections the present caller may use, while its work runs, and in work that it leaves
//! behind.

use std::sync::Arc;

use crate::turns::Turn;

tokio::task_local! {
    static PLACE: Place;
}

#[derive(Clone)]
pub(crate) enum Place {
    /// The share of this caller.
    Share(Arc<str>),
    /// The same, with its turn, which lasts as long as the work.
    Turn(
        Arc<str>,
        #[expect(dead_code, reason = "kept until the work ends")] Arc<[Turn]>,
    ),
    /// The reserved connection.
    Reserved,
}

/// Lets the database calls of `work` use only a share of the connections. Calls of one `caller`
/// wait for each other, and a limited number of them waits: the others fail as
/// [`Failure::Busy`](crate::database::Failure::Busy) immediately. Work that outlives its caller
/// ([`unattended`](crate::unattended)) keeps the share.
pub async fn with_share<T>(caller: Arc<str>, work: impl Future<Output = T>) -> T {
    PLACE.scope(Place::Share(caller), Box::pin(work)).await
}

/// Lets the database calls of `work` use the turn that its caller has taken.
pub(crate) async fn with_turn<T>(
    caller: Arc<str>,
    turns: Vec<Turn>,
    work: impl Future<Output = T>,
) -> T {
    let place = Place::Turn(caller, turns.into());
    PLACE.scope(place, Box::pin(work)).await
}

/// Lets the single statements of `work` use the connection that is reserved for short reads that
/// others depend on. They wait only for each other.
pub async fn with_reserved<T>(work: impl Future<Output = T>) -> T {
    PLACE.scope(Place::Reserved, Box::pin(work)).await
}

/// The connections that a caller may use, for its work that runs elsewhere or later, such as the
/// body of a response.
#[derive(Clone)]
pub struct CallerPlace(Option<Place>);

impl CallerPlace {
    /// Those of the present caller.
    #[must_use]
    pub fn current() -> Self {
        Self(current())
    }

    /// Runs work with them.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        match self.0 {
            Some(place) => PLACE.scope(place, work).await,
            None => work.await,
        }
    }
}

/// The caller whose work this is, if it has a share of the connections.
#[must_use]
pub fn caller_with_share() -> Option<Arc<str>> {
    match current()? {
        Place::Share(caller) | Place::Turn(caller, _) => Some(caller),
        Place::Reserved => None,
    }
}

/// The place of the present caller; `None` if it is bounded only like all callers.
pub(crate) fn current() -> Option<Place> {
    PLACE.try_with(Clone::clone).ok()
}
