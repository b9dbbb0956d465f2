//! Changes to the tables.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, IsolationLevel,
    QueryResult, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use super::Database;
use super::interrupt::Migrating;
use super::pool::Pool;
use super::table_names::{Schemas, has_table, set_path};
use super::work::uninterrupted;
use crate::clock::ticks;

/// Timeout of a change to the tables.
pub const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How long a process waits for the migration of another one before it starts its own, which then
/// waits for the tables: every database user can take the lock, and keep it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// A change to the tables. It is rolled back if it is dropped without a commit.
pub struct Migration {
    pool: Arc<Pool>,
    transaction: DatabaseTransaction,
    names: Schemas,
    _migrating: Migrating,
}

impl Migration {
    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// Whether a table exists.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn has_table(&self, table: &str) -> Result<bool, DbErr> {
        has_table(&self.transaction, &self.names, table).await
    }

    /// Commits the change.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.pool.check_file()?;
        self.transaction.commit().await?;
        self.pool.check_file()
    }
}

/// Reads and changes the rows of tables in a migration. Migrations create tables where the search
/// path of the site says; for each of these statements it is empty, as it is for all others of
/// this program. Within a `Migration`, all statements that compare or compute values go through
/// this.
pub struct MigratedRows<'a, C> {
    db: &'a C,
    names: Schemas,
    path: String,
}

impl<'a, C: ConnectionTrait> MigratedRows<'a, C> {
    /// For statements that use these tables.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn of(db: &'a C, tables: &[&'static str]) -> Result<Self, DbErr> {
        let (mut names, mut path) = (Schemas::default(), String::new());
        if db.get_database_backend() == DbBackend::Postgres {
            names = Schemas::find(db, tables).await?;
            let ask = "SELECT pg_catalog.current_setting('search_path')";
            let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, ask));
            if let Some(row) = row.await? {
                path = row.try_get_by_index(0)?;
            }
        }
        Ok(Self { db, names, path })
    }

    async fn run<T, F>(&self, sql: &str, run: impl FnOnce(String) -> F) -> Result<T, DbErr>
    where
        F: Future<Output = Result<T, DbErr>>,
    {
        if self.db.get_database_backend() != DbBackend::Postgres {
            return run(sql.to_owned()).await;
        }
        set_path(self.db, "").await?;
        let result = run(self.names.qualified(sql).into_owned()).await?;
        set_path(self.db, &self.path).await?;
        Ok(result)
    }
}

#[async_trait::async_trait]
impl<C: ConnectionTrait> ConnectionTrait for MigratedRows<'_, C> {
    fn get_database_backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let Statement { sql, .. } = &statement;
        let run = |sql| {
            self.db.execute_raw(Statement {
                sql,
                ..statement.clone()
            })
        };
        self.run(sql, run).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let run = async |sql: String| self.db.execute_unprepared(&sql).await;
        self.run(sql, run).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let Statement { sql, .. } = &statement;
        let run = |sql| {
            self.db.query_one_raw(Statement {
                sql,
                ..statement.clone()
            })
        };
        self.run(sql, run).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let Statement { sql, .. } = &statement;
        let run = |sql| {
            self.db.query_all_raw(Statement {
                sql,
                ..statement.clone()
            })
        };
        self.run(sql, run).await
    }
}

impl Database {
    /// Whether a table exists.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn has_table(&self, table: &str) -> Result<bool, DbErr> {
        self.0.tables.forget();
        let reading = self.begin_reading().await?;
        let none = Schemas::default();
        let names = reading.names().as_deref().unwrap_or(&none);
        let found = has_table(&reading, names, table).await?;
        reading.rollback().await?;
        Ok(found)
    }

    /// Starts a change to the tables, for which `lock` is any number that no other program uses on
    /// this database. Only this function provides a plain connection, which the migrations need;
    /// they may take [`MIGRATION_TIMEOUT`].
    ///
    /// # Errors
    /// If other database users own tables of this program, this user may not create those that are
    /// missing, or the database returns an error.
    pub async fn begin_migration(&self, lock: u32) -> Result<Migration, DbErr> {
        let pool = self.pool().await?;
        let is_postgres = self.0.url.sqlite_file().is_none();
        let options = TransactionOptions {
            isolation_level: is_postgres.then_some(IsolationLevel::ReadCommitted),
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let database = self.clone();
        uninterrupted(async move {
            let beginning = pool.connection().begin_with_options(options);
            let timeout = database.0.timeouts.statement;
            pool.before_use().await?;
            let migrating = pool.interrupt().migrating();
            let transaction = database.connecting(timeout, beginning).await?;
            let mut names = Schemas::default();
            if is_postgres {
                wait_for_lock(&transaction, lock).await?;
                let tables = &database.0.tables;
                tables.forget();
                names = tables.find_all(&transaction).await?;
                names.refuse_others()?;
                names.refuse_creation()?;
                set_path(&transaction, &names.search_path()).await?;
            }
            Ok(Migration {
                pool,
                transaction,
                names,
                _migrating: migrating,
            })
        })
        .await
    }
}

async fn wait_for_lock(transaction: &DatabaseTransaction, lock: u32) -> Result<(), DbErr> {
    let ask = format!("SELECT pg_catalog.pg_try_advisory_xact_lock({lock})");
    let deadline = ticks() + LOCK_TIMEOUT;
    loop {
        let row = transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, &ask));
        let is_locked = match row.await? {
            Some(row) => row.try_get_by_index(0)?,
            None => true,
        };
        if is_locked || ticks() >= deadline {
            return Ok(());
        }
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
}
