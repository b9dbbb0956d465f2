//! Whether the database can be used, as far as this process has seen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use license_service::clock::Clock;
use license_service::database::{Failure, Transaction, Trouble};

use super::{Knowledge, lock};
use crate::identity::Identity;
use crate::shared_reading::SharedReading;
use crate::store::{OtherInstallation, Store, StoreError};

/// Maximum age of a check's result. Anyone may ask, so all callers share one check in this time.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The state of the database.
pub(super) struct DatabaseState {
    seen: Mutex<Seen>,
    /// Why changes cannot be stored, as reported by the database.
    asked: SharedReading<Option<Trouble>>,
}

struct Seen {
    /// The local copy has been read, which knows what the database contained.
    has_copy: bool,
    /// It has been reached since the start, and its tables exist.
    is_open: bool,
    /// It is that of another installation, and must not be written.
    other: Option<OtherInstallation>,
    /// Its current problem.
    trouble: Option<Trouble>,
}

impl DatabaseState {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            seen: Mutex::new(Seen {
                has_copy: false,
                is_open: false,
                other: None,
                trouble: Some(not_reached()),
            }),
            asked: SharedReading::new(clock),
        }
    }

    pub(super) fn note_opened(&self) {
        let mut seen = lock(&self.seen);
        seen.is_open = true;
        seen.trouble = None;
    }

    pub(super) fn note_own_installation(&self) {
        lock(&self.seen).other = None;
    }

    /// Returns whether that was not known yet.
    pub(super) fn note_other_installation(&self, other: &OtherInstallation) -> bool {
        lock(&self.seen).other.replace(other.clone()).as_ref() != Some(other)
    }

    pub(super) fn note_copy(&self) {
        lock(&self.seen).has_copy = true;
    }

    pub(super) fn note_available(&self) {
        if lock(&self.seen).trouble.take().is_some() {
            tracing::info!("database available again");
        }
    }

    /// Logged once, not every few seconds; `/readyz` always shows it.
    pub(super) async fn note_trouble(&self, store: &Store, error: &StoreError) {
        let trouble = store.why_not().await;
        let trouble = trouble.unwrap_or_else(|| error.trouble());
        let before = lock(&self.seen).trouble.replace(trouble.clone());
        if before.as_ref() != Some(&trouble) {
            tracing::error!(
                %trouble,
                "database unavailable, serving from memory and retrying"
            );
        }
    }
}

/// The trouble before the first attempt has ended.
fn not_reached() -> Trouble {
    Trouble {
        what: "the database has not been reached yet".to_owned(),
        failure: Failure::Refused,
    }
}

impl Knowledge {
    /// Begins a change at `now`: every change of what is known begins here.
    ///
    /// # Errors
    /// If the database is that of another installation, or returns an error.
    pub(super) async fn begin(&self, now: DateTime<Utc>) -> Result<Transaction, StoreError> {
        let other = lock(&self.database.seen).other.clone();
        other.map_or(Ok(()), Err)?;
        self.parts.store.begin(now).await
    }

    /// Who this installation is.
    ///
    /// # Errors
    /// [`StoreError::NotRead`] while that is not known, with the trouble of the database.
    pub fn require_identity(&self) -> Result<Arc<Identity>, StoreError> {
        self.identity().ok_or_else(|| {
            let trouble = lock(&self.database.seen).trouble.clone();
            StoreError::NotRead(trouble.unwrap_or_else(not_reached))
        })
    }

    /// Why it is not known whether there is a license: the database has never been read, and there
    /// is no local copy. `None` if it is known.
    #[must_use]
    pub fn unread_because(&self) -> Option<Trouble> {
        let seen = lock(&self.database.seen);
        let is_known = seen.is_open || seen.has_copy || self.snapshot().evidence.lease.is_some();
        (!is_known).then(|| seen.trouble.clone().unwrap_or_else(not_reached))
    }

    /// Whether the database has been reached since the start, and its tables are there.
    #[must_use]
    pub fn is_database_open(&self) -> bool {
        lock(&self.database.seen).is_open
    }

    /// Whether the database is open, and nothing is known to be wrong with it.
    #[must_use]
    pub fn is_database_available(&self) -> bool {
        let seen = lock(&self.database.seen);
        seen.is_open && seen.trouble.is_none()
    }

    /// Why the database does not accept changes; `None` if it does. If no problem is known, the
    /// database is checked.
    pub async fn database_trouble(&self) -> Option<Trouble> {
        let seen = lock(&self.database.seen).trouble.clone();
        if seen.is_some() {
            return seen;
        }
        let ask = || {
            let store = self.parts.store.clone();
            async move { store.ping().await.err().map(|error| error.trouble()) }
        };
        let asked = self.database.asked.get(MAX_AGE, ask).await;
        asked.unwrap_or_else(|| {
            Some(Trouble {
                what: "the database check failed; see the log".to_owned(),
                failure: Failure::Panicked,
            })
        })
    }
}
