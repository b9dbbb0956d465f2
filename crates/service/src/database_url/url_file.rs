//! The file that contains a URL, and is replaced while the service runs.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::time::Instant;

use super::{DatabaseUrl, Place};
use crate::clock::ticks;
use crate::presentable_url::{SecretUrl, presentable_path};
use crate::text_file;
use crate::trimmed::trimmed;

/// Minimum time between two reads.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum size of the file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A file with the URL of a PostgreSQL database.
pub(super) struct UrlFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The URL that was read last, if it could be used and differs from the first one.
    current: Option<SecretUrl>,
    read_at: Option<Instant>,
    /// The last warning, which is not repeated.
    warned: Option<String>,
}

/// The same file.
impl PartialEq for UrlFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for UrlFile {}

impl UrlFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            state: Mutex::default(),
        }
    }

    pub(super) fn current(&self) -> Option<SecretUrl> {
        self.state().current.clone()
    }

    /// Reads the file again, if it is time.
    pub(super) async fn reread(&self, url: &DatabaseUrl) {
        let now = ticks();
        {
            let mut state = self.state();
            if state.read_at.is_some_and(|at| now - at < MIN_INTERVAL) {
                return;
            }
            state.read_at = Some(now);
        }
        self.read(url).await;
    }

    async fn read(&self, url: &DatabaseUrl) {
        let path = self.path.clone();
        let reading =
            tokio::task::spawn_blocking(move || text_file::read_regular(&path, MAX_BYTES));
        let found = match reading.await {
            Ok(Ok(text)) => replacement(url, &text),
            Ok(Err(error)) => Err(format!("it cannot be read: {error}")),
            Err(_) => return,
        };
        self.note(found);
    }

    fn note(&self, found: Result<Option<SecretUrl>, String>) {
        let file = presentable_path(&self.path);
        let mut state = self.state();
        match found {
            Ok(new) => {
                state.warned = None;
                if let Some(new) = new {
                    state.current = Some(new);
                    tracing::info!(
                        file,
                        "DATABASE_URL_FILE has changed; new connections to the \
                        database use its user and password"
                    );
                }
            }
            Err(why) if state.warned.as_ref() != Some(&why) => {
                tracing::warn!(
                    file,
                    "keeping the previous DATABASE_URL: the content of \
                    DATABASE_URL_FILE has changed and cannot be used: {why}"
                );
                state.warned = Some(why);
            }
            Err(_) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The URL in this text, if it differs from `url`.
///
/// # Errors
/// If it is no URL, or that of another database: the text never contains a part of it.
fn replacement(url: &DatabaseUrl, text: &str) -> Result<Option<SecretUrl>, String> {
    let new: DatabaseUrl = trimmed(text).parse()?;
    let Place::Postgres { url: found, .. } = &new.0 else {
        return Err(RESTART.to_owned());
    };
    if new.expose() == url.expose() {
        return Ok(None);
    }
    match (place(url), place(&new)) {
        (Some(old), Some(new)) if old == new => Ok(Some(found.clone())),
        _ => Err(RESTART.to_owned()),
    }
}

const RESTART: &str = "it names another host, port or database; restart the service to use it";

/// The server and the database. Without a name, the database is that of the user.
fn place(url: &DatabaseUrl) -> Option<(String, u16, Option<PathBuf>, Option<String>)> {
    let options: PgConnectOptions = url.expose().parse().ok()?;
    Some((
        options.get_host().to_owned(),
        options.get_port(),
        options.get_socket().cloned(),
        Some(
            options
                .get_database()
                .unwrap_or(options.get_username())
                .to_owned(),
        ),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Reads the file at any time.
    async fn read(url: &DatabaseUrl) {
        let Place::Postgres {
            file: Some(file), ..
        } = &url.0
        else {
            panic!("{url:?}");
        };
        file.read(url).await;
    }

    #[tokio::test]
    async fn only_the_user_and_the_password_are_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("url");
        let old = "postgresql://site:old@db.example:5432/licenses";
        let url: DatabaseUrl = old.parse().unwrap();
        let url = url.in_file(file.clone());
        let clone = url.clone();
        for (text, expected) in [
            (old, old),
            (
                "postgresql://site:new@db.example:5432/licenses\r\n",
                "postgresql://site:new@db.example:5432/licenses",
            ),
            ("", "postgresql://site:new@db.example:5432/licenses"),
            (
                "postgresql://site:x@other.example:5432/licenses",
                "postgresql://site:new@db.example:5432/licenses",
            ),
            (
                "postgresql://site:x@db.example:5433/licenses",
                "postgresql://site:new@db.example:5432/licenses",
            ),
            (
                "postgresql://site:x@db.example:5432/others",
                "postgresql://site:new@db.example:5432/licenses",
            ),
            (
                "sqlite:a.db",
                "postgresql://site:new@db.example:5432/licenses",
            ),
            (
                "postgresql://role2:p@db.example/licenses",
                "postgresql://role2:p@db.example/licenses",
            ),
            (old, old),
        ] {
            fs::write(&file, text).unwrap();
            read(&url).await;
            assert_eq!(clone.expose(), expected, "{text}");
        }
        fs::remove_file(&file).unwrap();
        read(&url).await;
        assert_eq!(clone.expose(), old);
        url.reread().await;
        // Not twice in a second.
        fs::write(&file, old.replace("old", "newest")).unwrap();
        url.reread().await;
        assert_eq!(clone.expose(), old);
    }
}
