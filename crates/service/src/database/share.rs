//! Which connections a call may use.
//!
//! Callers who can cause much work each get a share: a few connections for all of them, and fewer
//! for each. A short read that others depend on has a connection of its own.

use sea_orm::DbErr;

use super::{Database, failure};
use crate::caller_place::{Place, current, with_turn};
use crate::turns::{QueueBounds, Turn, Turns};

/// Maximum number of connections that all callers with a share use at a time.
const MAX_OF_ALL: usize = 3;
/// Maximum number of connections that one of them uses at a time.
const MAX_OF_CALLER: usize = 2;
/// Maximum number of calls of one of them that wait.
const MAX_WAITING_OF_CALLER: usize = 100;
/// Maximum number of reserved reads that wait for each other.
const MAX_WAITING_RESERVED: usize = 16;

/// The queues for connections. Callers wait here and not in the pool, where a long wait and an
/// unavailable database cannot be distinguished.
pub(super) struct Queues {
    /// All calls but the reserved ones.
    working: Turns,
    reserved: Turns,
    of_all: Turns,
    of_caller: Turns,
}

impl Queues {
    /// With these bounds for all calls together.
    pub(super) fn new(working: QueueBounds) -> Self {
        let bounds = |at_a_time, max_waiting| {
            Turns::new(QueueBounds {
                at_a_time,
                max_waiting,
                ..working
            })
        };
        Self {
            working: Turns::new(working),
            reserved: bounds(1, MAX_WAITING_RESERVED),
            of_all: bounds(MAX_OF_ALL, working.max_waiting),
            of_caller: bounds(MAX_OF_CALLER, MAX_WAITING_OF_CALLER),
        }
    }
}

impl Database {
    /// Waits for the turn of a caller with a share; others need none. Taken before any other turn,
    /// so that no one else waits for such a caller.
    ///
    /// # Errors
    /// If too many calls are waiting.
    pub async fn share(&self) -> Result<Vec<Turn>, DbErr> {
        let Some(Place::Share(caller)) = current() else {
            return Ok(Vec::new());
        };
        let queues = &self.0.queues;
        let of_caller = queues.of_caller.take(&*caller).await;
        let of_caller = of_caller.map_err(|_| failure::busy())?;
        let of_all = queues.of_all.take(&()).await;
        Ok(vec![of_all.map_err(|_| failure::busy())?, of_caller])
    }

    /// Does work in one turn of a caller with a share, so that nothing that was read is held while
    /// waiting for the turn. The work must not wait for others who may wait for the same turn.
    ///
    /// # Errors
    /// As [`Self::share`].
    pub async fn in_share<T>(&self, work: impl Future<Output = T>) -> Result<T, DbErr> {
        let turns = self.share().await?;
        match current() {
            Some(Place::Share(caller)) => Ok(with_turn(caller, turns, work).await),
            _ => Ok(work.await),
        }
    }

    /// Waits for a turn to use a connection, for a caller who has its share.
    pub(super) async fn turn_in_share(&self) -> Result<Turn, DbErr> {
        let turn = self.0.queues.working.take(&()).await;
        turn.map_err(|_| failure::busy())
    }

    /// Waits for a turn to use a connection.
    pub(super) async fn turn(&self) -> Result<Vec<Turn>, DbErr> {
        if let Some(Place::Reserved) = current() {
            let turn = self.0.queues.reserved.take(&()).await;
            return Ok(vec![turn.map_err(|_| failure::busy())?]);
        }
        let mut turns = self.share().await?;
        turns.push(self.turn_in_share().await?);
        Ok(turns)
    }
}
