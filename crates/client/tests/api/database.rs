//! A fresh database for each test, SQLite or PostgreSQL.

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};
use tempfile::TempDir;
use uuid::Uuid;

/// Which engine a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Makes two tests of one async function that takes an [`Engine`].
macro_rules! on_both_engines {
    ($($(#[$attribute:meta])* $name:ident;)+) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                Box::pin(super::$name(crate::database::Engine::Sqlite)).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                Box::pin(super::$name(crate::database::Engine::Postgres)).await;
            })+
        }
    };
}
pub(crate) use on_both_engines;

/// A database that goes away with this value.
pub struct TestDatabase {
    pub url: String,
    name: Option<String>,
    _directory: TempDir,
}

impl TestDatabase {
    pub async fn new(engine: Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        match engine {
            Engine::Sqlite => {
                let file = directory.path().join("test.sqlite");
                std::fs::File::create(&file).unwrap();
                Self {
                    url: format!("sqlite:{}", file.display()),
                    name: None,
                    _directory: directory,
                }
            }
            Engine::Postgres => {
                let name = format!("test_{}", Uuid::new_v4().simple());
                let server = postgres_server();
                let admin = Database::connect(&server).await.unwrap();
                let create = format!("CREATE DATABASE {name}");
                admin.execute_unprepared(&create).await.unwrap();
                admin.close().await.unwrap();
                let (base, _) = server.rsplit_once('/').unwrap();
                Self {
                    url: format!("{base}/{name}"),
                    name: Some(name),
                    _directory: directory,
                }
            }
        }
    }

    /// The same database for a second process; the first one removes it.
    pub fn same_as(other: &Self) -> Self {
        Self {
            url: other.url.clone(),
            name: None,
            _directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A separate connection of the test, to read rows and to change them like another program.
    pub async fn connect(&self) -> DatabaseConnection {
        // What a test writes as another program is not for the product's log.
        let mut options = ConnectOptions::new(&self.url);
        options.sqlx_logging(false);
        Database::connect(options).await.unwrap()
    }

    pub async fn execute(&self, sql: &str) {
        let connection = self.connect().await;
        connection.execute_unprepared(sql).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Makes a trigger skip each `event`, such as INSERT, of rows of a table, without an error;
    /// with `when`, only if that holds.
    pub async fn skip(&self, event: &str, table: &str, when: Option<&str>) {
        let when = when.map(|it| format!("WHEN ({it})")).unwrap_or_default();
        let trigger = format!("CREATE TRIGGER skip_{event}_{table} BEFORE {event} ON {table}");
        let sql = match self.name {
            None => format!("{trigger} {when} BEGIN SELECT RAISE(IGNORE); END"),
            Some(_) => format!(
                "CREATE OR REPLACE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RETURN NULL; END $$; \
                 {trigger} FOR EACH ROW {when} EXECUTE FUNCTION skip()"
            ),
        };
        self.execute(&sql).await;
    }

    /// Removes that trigger.
    pub async fn skip_no_more(&self, event: &str, table: &str) {
        let from = self.name.as_ref().map(|_| format!("ON {table}"));
        let from = from.unwrap_or_default();
        self.execute(&format!("DROP TRIGGER skip_{event}_{table} {from}"))
            .await;
    }

    /// The first column of each row, as text.
    pub async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        self.try_texts(sql).await.unwrap()
    }

    /// The same, where the connection may be closed at any time.
    pub async fn try_texts(&self, sql: &str) -> Result<Vec<Option<String>>, DbErr> {
        let mut options = ConnectOptions::new(&self.url);
        options.sqlx_logging(false);
        let connection = Database::connect(options).await?;
        let statement =
            sea_orm::Statement::from_string(connection.get_database_backend(), sql.to_owned());
        let rows = connection.query_all_raw(statement).await?;
        let texts = rows
            .iter()
            .map(|row| row.try_get_by_index::<Option<String>>(0))
            .collect();
        connection.close().await?;
        texts
    }

    pub async fn drop_database(&self) {
        if let Some(name) = &self.name {
            let admin = Database::connect(postgres_server()).await.unwrap();
            let drop = format!("DROP DATABASE {name} WITH (FORCE)");
            admin.execute_unprepared(&drop).await.unwrap();
            admin.close().await.unwrap();
        }
    }
}

/// `cargo xtask test` starts a private server and says here where it is.
#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn postgres_server() -> String {
    std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL names no PostgreSQL server: run the tests with 'cargo xtask test'",
    )
}
