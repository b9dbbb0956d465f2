//! Ends statements on an SQLite file that run far longer than any of this program's: a trigger
//! that another user of the file has added may never end, and SQLite itself has no timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::Error;
use sqlx::sqlite::SqliteConnection;

use super::MIGRATION_TIMEOUT;
use crate::clock::ticks;

/// How many steps of a statement are executed between two checks: about a millisecond.
const STEPS: i32 = 100_000;
/// How long a connection works for one caller, at most. Callers wait for a shorter time.
const MAX_WORK_TIME: Duration = Duration::from_secs(30);

/// Ends statements that take too long, except while the tables are changed.
#[derive(Clone, Default)]
pub(super) struct Interrupt {
    migrations: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Limits what is executed on a connection from now on.
    pub(super) async fn limit(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        self.limit_to(connection, MAX_WORK_TIME).await
    }

    async fn limit_to(
        &self,
        connection: &mut SqliteConnection,
        max: Duration,
    ) -> Result<(), Error> {
        let (migrations, since) = (self.migrations.clone(), ticks());
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(STEPS, move || {
            let limit = match migrations.load(Ordering::Relaxed) {
                0 => max,
                _ => MIGRATION_TIMEOUT,
            };
            ticks() - since < limit
        });
        Ok(())
    }

    /// Allows more time until the result is dropped.
    pub(super) fn migrating(&self) -> Migrating {
        self.migrations.fetch_add(1, Ordering::Relaxed);
        Migrating(self.migrations.clone())
    }
}

/// The tables are being changed.
pub(super) struct Migrating(Arc<AtomicUsize>);

impl Drop for Migrating {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _};

    use super::*;

    #[tokio::test]
    async fn a_trigger_that_never_ends_is_interrupted() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let trap = "CREATE TABLE calls (id INTEGER); CREATE TRIGGER trap AFTER INSERT ON calls \
            BEGIN UPDATE calls SET id = (WITH RECURSIVE all_of (n) AS (SELECT 1 UNION ALL \
            SELECT n + 1 FROM all_of) SELECT max(n) FROM all_of); END";
        connection.execute(trap).await.unwrap();
        let interrupt = Interrupt::default();
        let soon = Duration::from_millis(50);
        interrupt.limit_to(&mut connection, soon).await.unwrap();
        let insert = "INSERT INTO calls VALUES (1)";
        let stopped = connection.execute(insert).await.unwrap_err();
        assert!(stopped.to_string().contains("interrupted"), "{stopped}");
        // The next caller has its own time, and a migration has more.
        interrupt.limit(&mut connection).await.unwrap();
        connection.execute("DROP TRIGGER trap").await.unwrap();
        connection.execute(insert).await.unwrap();
        let migrating = interrupt.migrating();
        interrupt
            .limit_to(&mut connection, Duration::ZERO)
            .await
            .unwrap();
        let count = "WITH RECURSIVE some (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM some \
            WHERE n < 100000) SELECT max(n) FROM some";
        connection.execute(count).await.unwrap();
        drop(migrating);
        assert!(connection.execute(count).await.is_err());
    }
}
