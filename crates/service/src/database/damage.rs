//! Remembers that files of the database are damaged: only statements that need the damaged part
//! fail, so successful ones prove nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::DbErr;
use tokio::time::Instant;

use super::Database;
use super::failure::Failure;
use crate::clock::ticks;

/// How long a failure counts. Sites repeat calls that failed more often than this.
const DAMAGE_MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// The last failure because of damaged files.
#[derive(Default)]
pub(super) struct Damage(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<(Instant, DbErr)>,
    /// When the PostgreSQL server was started. Another server has other files, and after a restart
    /// they may be restored ones.
    server_started: Option<String>,
}

impl Damage {
    /// Records an error if it is about the files of the database.
    pub(super) fn note(&self, error: &DbErr, now: Instant) {
        if matches!(Failure::of(error), Failure::Damaged | Failure::ServerFiles) {
            self.lock().last = Some((now, error.clone()));
        }
    }

    /// Records which server is used: the failure of another one no longer counts.
    pub(super) fn note_server(&self, started: &str) {
        let mut state = self.lock();
        if state.server_started.as_deref() != Some(started) {
            let is_first = state.server_started.replace(started.to_owned()).is_none();
            if !is_first {
                state.last = None;
            }
        }
    }

    /// The files are other ones now.
    pub(super) fn forget(&self) {
        self.lock().last = None;
    }

    /// # Errors
    /// The last failure, unless it was longer ago than [`DAMAGE_MAX_AGE`].
    pub(super) fn check(&self, now: Instant) -> Result<(), DbErr> {
        match &self.lock().last {
            Some((at, error)) if now - *at < DAMAGE_MAX_AGE => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Whether no statement has failed within the last 5 minutes because files of the database are
    /// damaged, missing or unreadable. Failures of another server, before a failover, do not
    /// count. Takes no connection.
    ///
    /// # Errors
    /// The last such failure.
    pub fn check_damage(&self) -> Result<(), DbErr> {
        self.0.damage.check(ticks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::failure;

    #[test]
    fn damage_counts_for_minutes_and_no_other_failure_does() {
        let damage = Damage::default();
        let now = ticks();
        damage.note(&failure::read_only(), now);
        assert_eq!(damage.check(now), Ok(()));
        let error = failure::tests::sent("58P01", "could not open file");
        damage.note(&error, now);
        damage.note(&failure::busy(), now);
        let last = now + DAMAGE_MAX_AGE - Duration::from_secs(1);
        assert_eq!(damage.check(last), Err(error));
        assert_eq!(damage.check(now + DAMAGE_MAX_AGE), Ok(()));
    }

    #[test]
    fn damage_of_another_server_or_file_does_not_count() {
        let damage = Damage::default();
        let now = ticks();
        let error = failure::tests::sent("58P01", "could not open file");
        damage.note(&error, now);
        damage.note_server("first");
        damage.note_server("first");
        assert_eq!(damage.check(now), Err(error.clone()));
        damage.note_server("second");
        assert_eq!(damage.check(now), Ok(()));
        damage.note(&error, now);
        assert_eq!(damage.check(now), Err(error));
        damage.forget();
        assert_eq!(damage.check(now), Ok(()));
    }
}
