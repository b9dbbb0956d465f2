//! Receives notifications from other processes.

use std::time::Duration;

use futures_util::TryFutureExt as _;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use sqlx::postgres::PgListener;

use super::failure::{self, db_error};
use super::postgres_options::postgres_options;
use super::{Database, address};

/// Receives the notifications from other processes on a PostgreSQL database.
pub struct Listener {
    listener: PgListener,
    database: Database,
    max_silence: Duration,
}

impl Listener {
    /// Listens to `channel` on a separate connection; `None` on SQLite, which has no
    /// notifications.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub async fn start(database: &Database, channel: &str) -> Result<Option<Self>, DbErr> {
        if ConnectionTrait::get_database_backend(database) != DbBackend::Postgres {
            return Ok(None);
        }
        let url = &database.0.url;
        let listening = async {
            url.reread().await;
            // It needs a separate pool, because the main one may be replaced.
            let options = address::choose(&postgres_options(url)?).await?;
            let own = sqlx::postgres::PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(database.0.timeouts.wait)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options);
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(channel).await?;
            Ok(listener)
        };
        let listening = listening.map_err(db_error);
        let listening = database.0.sign_in.within(listening);
        match tokio::time::timeout(database.0.timeouts.statement, listening).await {
            Ok(listener) => {
                let listener = listener?;
                let max_silence = database.0.timeouts.max_age;
                Ok(Some(Self {
                    listener,
                    database: database.clone(),
                    max_silence,
                }))
            }
            Err(_) => Err(failure::timed_out(database.0.timeouts.statement)),
        }
    }

    /// Waits for the next notification, or until the connection is restored after it was lost,
    /// because notifications may have been missed.
    ///
    /// # Errors
    /// If the connection is lost and cannot be restored, or is silent for
    /// [`max_age`](super::Timeouts::max_age).
    pub async fn heard(&mut self) -> Result<(), DbErr> {
        // It may reconnect.
        let hearing = self.listener.try_recv().map_err(db_error);
        let hearing = self.database.0.sign_in.within(hearing);
        match tokio::time::timeout(self.max_silence, hearing).await {
            Ok(heard) => heard.map(|_| ()),
            // A dead connection is as silent as a database that does not change.
            Err(_) => Err(failure::timed_out(self.max_silence)),
        }
    }
}
