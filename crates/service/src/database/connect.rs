//! Connects to a database for the first time, and explains why that is not possible.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use rustix::fs::{Access, access};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use sqlx::{ConnectOptions as _, Connection as _};

use super::failure::{self, Failure, Trouble, db_error, words};
use super::postgres_options::postgres_options;
use super::{Database, Timeouts, address};
use crate::clock::ticks;
use crate::database_url::DatabaseUrl;
use crate::state_dir::{NotWritable, check_writable, give_to_owner};

/// Delay between two attempts to open an SQLite file that another process has locked.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// PostgreSQL-compatible databases may not know the setting.
const ASK_ENCODING: &str = "SELECT pg_catalog.current_setting('server_encoding', true)";

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The SQLite file or its directory cannot be created or written.
    #[error(transparent)]
    NotWritable(#[from] NotWritable),
    /// The database is not available now: it is starting, or cannot be reached.
    #[error("cannot reach the database: {0}")]
    NotReached(Trouble),
    /// The database does not respond, or not to this client.
    #[error("{0}")]
    Refused(Trouble),
}

impl ConnectError {
    /// The problem.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match self {
            // The error itself says what to do.
            Self::NotWritable(error) => Trouble {
                what: error.to_string(),
                failure: match error {
                    NotWritable::DanglingLink(_) => Failure::DanglingLink,
                    NotWritable::Refused { .. }
                    | NotWritable::Full { .. }
                    | NotWritable::ReadOnly { .. }
                    | NotWritable::Impossible { .. }
                    | NotWritable::NoWorkingDirectory { .. } => Failure::Refused,
                },
            },
            Self::NotReached(trouble) | Self::Refused(trouble) => trouble.clone(),
        }
    }
}

impl From<DbErr> for ConnectError {
    fn from(error: DbErr) -> Self {
        Self::Refused(Trouble::of(&error))
    }
}

impl Database {
    /// Connects. A missing SQLite file is created, with its directory.
    ///
    /// # Errors
    /// [`ConnectError::NotReached`] if the database may be back soon; other errors if the file
    /// cannot be created, or the database returns an error, has an encoding other than UTF8, or is
    /// behind a pooler that this program cannot work with.
    pub async fn connect(url: &DatabaseUrl, timeouts: Timeouts) -> Result<Self, ConnectError> {
        if let Some(file) = url.sqlite_file() {
            make_file(file)?;
        }
        let database = Self::new(url, timeouts)?;
        match database.why_not().await {
            Some(trouble) if trouble.failure.is_temporary() => {
                return Err(ConnectError::NotReached(trouble));
            }
            Some(trouble) => return Err(ConnectError::Refused(trouble)),
            None => {}
        }
        let deadline = ticks() + database.0.timeouts.wait;
        loop {
            match database.execute_unprepared("SELECT 1").await {
                Ok(_) => return Ok(database),
                // Another process has locked the file. When a file is switched to write-ahead
                // logging, SQLite fails immediately, regardless of its busy timeout
                // (sqlite.org/wal.html, section 8).
                Err(error) if failure::is_locked(&error) && ticks() < deadline => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Creates the file of an SQLite database and its directory, if necessary ([`make_file`]). A
    /// failure is repeated for every statement until the file is there.
    ///
    /// # Errors
    /// If one of them cannot be created or written.
    pub fn make_file(&self) -> Result<(), ConnectError> {
        let Some(file) = self.0.url.sqlite_file() else {
            return Ok(());
        };
        let made = make_file(file);
        let why = made.as_ref().err().map(ToString::to_string);
        *self
            .0
            .not_made
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = why;
        made
    }

    /// Why a PostgreSQL database cannot be used, in its own words; `None` if it can, and for
    /// SQLite. A pool only reports a timeout.
    ///
    /// Statements are always prepared by name. A pooler that gives each transaction a different
    /// session, and does not keep prepared statements, confuses the names: the second of two
    /// connections finds the statement of the first.
    pub async fn why_not(&self) -> Option<Trouble> {
        if self.0.url.sqlite_file().is_some() {
            return None;
        }
        let connecting = async {
            self.0.url.reread().await;
            let options = address::choose(&postgres_options(&self.0.url)?).await?;
            let mut first = options.connect().await?;
            let mut second = options.connect().await?;
            for connection in [&mut first, &mut second] {
                sqlx::query("SELECT 1").execute(connection).await?;
            }
            let asking = sqlx::query_scalar(ASK_ENCODING).fetch_one(&mut first);
            let encoding: Option<String> = asking.await?;
            first.close().await?;
            second.close().await?;
            Ok::<_, sqlx::Error>(encoding)
        };
        let connecting = async { connecting.await.map_err(db_error) };
        let error = match self.connecting(self.0.timeouts.wait, connecting).await {
            Ok(encoding) => {
                let other = encoding.filter(|encoding| !is_utf8(encoding))?;
                failure::wrong_encoding(&other)
            }
            Err(error) => self.connecting_explained(failure::in_words(error)),
        };
        Some(Trouble::of(&error))
    }

    /// Why a reachable database cannot store every text; `None` if it can.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn wrong_encoding(&self) -> Result<Option<String>, DbErr> {
        if self.0.url.sqlite_file().is_some() {
            return Ok(None);
        }
        let ask = Statement::from_string(DbBackend::Postgres, ASK_ENCODING);
        let row = self.query_one_raw(ask).await?;
        let encoding = match row {
            Some(row) => row.try_get_by_index::<Option<String>>(0)?,
            None => None,
        };
        let other = encoding.filter(|encoding| !is_utf8(encoding));
        Ok(other.map(|other| words(&failure::wrong_encoding(&other))))
    }
}

/// Creates the file of an SQLite database and its directory, if necessary.
///
/// # Errors
/// If one of them cannot be created or written. SQLite itself would not say which.
pub fn make_file(file: &Path) -> Result<(), ConnectError> {
    const SETTING: &str = "STATE_DIR or DATABASE_URL";
    let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    check_writable(SETTING, directory)?;
    // The file contains license keys, so a file that is created here is readable only by its owner.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let is_writable = match made {
        Ok(made) => give_to_owner(&made, file),
        // The file is not opened, because closing it would release SQLite's locks (fcntl(2)).
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            access(file, Access::READ_OK | Access::WRITE_OK).map_err(Into::into)
        }
        Err(error) => Err(error),
    };
    is_writable.map_err(|error| NotWritable::new(SETTING, file, &error).into())
}

/// Includes the spellings of PostgreSQL-compatible databases.
fn is_utf8(encoding: &str) -> bool {
    ["UTF8", "UTF-8", "UNICODE"]
        .iter()
        .any(|name| encoding.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that asks for the method with this number (PostgreSQL's manual,
    /// `AuthenticationGSS`: 7, `AuthenticationSSPI`: 9).
    async fn server(method: u8) -> DatabaseUrl {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut start = [0; 1024];
                let _ = connection.read(&mut start).await;
                let asks = [b'R', 0, 0, 0, 8, 0, 0, 0, method];
                let _ = connection.write_all(&asks).await;
                let _ = connection.read(&mut start).await;
            }
        });
        let url = format!("postgresql://u:p@127.0.0.1:{port}/d?sslmode=disable");
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn a_method_to_sign_in_that_is_not_supported_ends_a_command() {
        for method in [7, 9] {
            let url = server(method).await;
            let error = Database::connect(&url, Timeouts::default()).await;
            let error = error.unwrap_err();
            assert!(matches!(error, ConnectError::Refused(_)), "{error:?}");
            let said = error.to_string();
            assert!(said.contains("(GSS, SSPI); use scram-sha-256"), "{said}");
            assert!(!said.contains("is running"), "{said}");
            // And so does a statement of a service.
            let database = Database::new(&url, Timeouts::default()).unwrap();
            let error = database.execute_unprepared("SELECT 1").await.unwrap_err();
            assert!(words(&error).contains("pg_hba.conf"), "{error}");
        }
    }

    /// A server that asks for SCRAM-SHA-256 (PostgreSQL's manual, `AuthenticationSASL`: 10,
    /// `AuthenticationSASLContinue`: 11).
    async fn scram_server() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let message = |kind: u32, data: &[u8]| {
            let length = u32::try_from(8 + data.len()).unwrap();
            let head = [length.to_be_bytes(), kind.to_be_bytes()].concat();
            [b"R", &head[..], data].concat()
        };
        let asks = message(10, b"SCRAM-SHA-256\0\0");
        let challenge = message(11, b"r=nonce,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut read = [0; 1024];
                for message in [&asks, &challenge] {
                    let _ = connection.read(&mut read).await;
                    let _ = connection.write_all(message).await;
                }
                let _ = connection.read(&mut read).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn credentials_that_scram_cannot_use_are_named_and_never_quoted() {
        let port = scram_server().await;
        for (credentials, said) in [
            ("u:Schl%C3%BCssel-%F0%9F%94%92-2024", "the password in"),
            ("u:a%D7%90b1", "the password in"),
            ("%F0%9F%94%92:p", "the user name in"),
        ] {
            let url = format!("postgresql://{credentials}@127.0.0.1:{port}/d?sslmode=disable");
            let url = url.parse().unwrap();
            let error = Database::connect(&url, Timeouts::default()).await;
            let error = error.unwrap_err();
            assert!(matches!(error, ConnectError::Refused(_)), "{error:?}");
            assert_eq!(error.trouble().failure, Failure::Login);
            let database = Database::new(&url, Timeouts::default()).unwrap();
            let statement = database.execute_unprepared("SELECT 1").await.unwrap_err();
            for text in [error.to_string(), format!("{statement:?}")] {
                assert!(text.contains(said), "{text}");
                assert!(text.contains("RFC 4013"), "{text}");
                let is_quoted = ["saslprep", "🔒", "Prohibited", "is running"];
                assert!(!is_quoted.iter().any(|it| text.contains(it)), "{text}");
            }
        }
        // Others reach PostgreSQL.
        let url = format!("postgresql://u:na%C3%AFve@127.0.0.1:{port}/d?sslmode=disable");
        let error = Database::connect(&url.parse().unwrap(), Timeouts::default()).await;
        assert!(!error.unwrap_err().to_string().contains("RFC 4013"));
    }
}
