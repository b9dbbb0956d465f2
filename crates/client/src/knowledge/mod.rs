//! What this installation knows, and where it is stored.
//!
//! [`Knowledge`] has one value in memory for everything that is known: the evidence about the
//! license with the site's switches ([`Snapshot`]), the identity of the installation, the calls so
//! far, the pending request files, and what is remembered about former licenses. It stores them in
//! the database and in the local copy; the last two only in `STATE_DIR`:
//!
//! - load: [`Knowledge::load_local_copy`] and [`Knowledge::open_database`] at the start (`load`);
//! - change: the methods of a [`Turn`], of which there is one at a time (`turn`);
//! - flush: [`Turn::flush`] writes the changes that the database could not store before
//!   (`unwritten`);
//! - reload: [`Knowledge::reload`] applies the changes made by other processes (`reload`).
//!
//! Its fields are private, so that nothing can be changed without being stored.

mod calls;
mod copied_rows;
mod database_state;
mod evidence_rows;
mod follow_database;
mod keep_time;
mod key_sets;
mod load;
mod local_copy;
mod machine;
mod reload;
pub mod reports;
mod requests;
pub mod snapshot;
mod stored_rows;
pub mod timekeeping;
pub mod turn;
mod unwritten;
mod verified_rows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use license_core::evidence::Evidence;
use license_core::hardware::Comparison;
use license_core::installation_key::InstallationKey;
use license_core::license_key;
use license_core::offline::Pending;
use license_core::remembered::Remembered;
use license_core::schedule::calls::Calls;
use license_core::standing::Policy;
use license_core::taking_over::NotTakenOver;
use license_service::clock::Clock;
use tokio::sync::Notify;

use self::database_state::DatabaseState;
use self::snapshot::Snapshot;
use self::timekeeping::Timekeeping;
use self::turn::Turn;
use self::unwritten::Unwritten;
use crate::attempts_log::AttemptsLog;
use crate::identity::{Identity, Prescribed};
use crate::metrics::Metrics;
use crate::random;
use crate::release_document::ReleaseDocument;
use crate::scheduler::Scheduler;
use crate::state_file::StateFile;
use crate::store::Store;
use crate::trusted_keys::TrustedKeys;
use crate::usage::Meter;

/// What this installation knows.
pub struct Knowledge {
    parts: Parts,
    clock: Arc<dyn Clock>,
    /// Held while evidence is being changed.
    turn: tokio::sync::Mutex<()>,
    snapshot: ArcSwap<Snapshot>,
    /// Notified when what the site may use may have changed.
    changed: Notify,
    calls: Mutex<Calls>,
    /// Notified when the next call may be due at a different time.
    calls_changed: Notify,
    identity: ArcSwapOption<Identity>,
    /// The identity in the local copy, unless a setting prescribed a part of it that no setting
    /// prescribes any more.
    copied_identity: ArcSwapOption<Identity>,
    installation_key: ArcSwapOption<InstallationKey>,
    comparison: ArcSwapOption<Comparison>,
    remembered: Mutex<Remembered>,
    /// The request files that wait for an answer.
    requests: Mutex<Vec<Pending>>,
    unwritten: Mutex<Unwritten>,
    database: DatabaseState,
    /// When rows that others had changed were last rewritten.
    repaired_at: Mutex<Option<Duration>>,
    /// When each reason for not using stored evidence was last logged.
    not_taken_over_logged: Mutex<BTreeMap<NotTakenOver, Duration>>,
}

/// The parts of the service that store, verify or create knowledge.
pub struct Parts {
    /// The database.
    pub store: Arc<Store>,
    /// The copy in `STATE_DIR`.
    pub local_copy: StateFile,
    /// The installation key in `STATE_DIR`.
    pub installation_key: StateFile,
    /// The time, which signed documents prove.
    pub time: Arc<Timekeeping>,
    /// The keys that documents are verified with.
    pub keys: Arc<TrustedKeys>,
    /// The settings that affect decisions.
    pub policy: Policy,
    /// The ids that settings prescribe.
    pub prescribed: Prescribed,
    /// The root of the machine's own files: `/`.
    pub root: PathBuf,
    /// Which process makes the scheduled calls.
    pub scheduler: Arc<Scheduler>,
    /// What services have reported.
    pub meter: Arc<Meter>,
    /// The log of attempts, read for all callers.
    pub attempts: Arc<AttemptsLog>,
    /// Counts security events.
    pub metrics: Arc<Metrics>,
}

impl Knowledge {
    /// Initially knows only what `time.json` contains about licenses. [`Knowledge::load`] must be
    /// called next.
    #[must_use]
    pub fn new(parts: Parts, remembered: Remembered) -> Self {
        let clock = parts.time.clock();
        let nothing = Snapshot::new(
            Evidence::default(),
            BTreeSet::new(),
            parts.policy,
            ReleaseDocument::Absent,
        );
        let calls = Calls::new(clock.now(), random::jitter(), random::jitter());
        Self {
            turn: tokio::sync::Mutex::new(()),
            snapshot: ArcSwap::from_pointee(nothing),
            changed: Notify::new(),
            calls: Mutex::new(calls),
            calls_changed: Notify::new(),
            identity: ArcSwapOption::empty(),
            copied_identity: ArcSwapOption::empty(),
            installation_key: ArcSwapOption::empty(),
            comparison: ArcSwapOption::empty(),
            remembered: Mutex::new(remembered),
            requests: Mutex::default(),
            unwritten: Mutex::default(),
            database: DatabaseState::new(clock.clone()),
            repaired_at: Mutex::default(),
            not_taken_over_logged: Mutex::default(),
            clock,
            parts,
        }
    }

    /// Waits until nothing else changes the evidence, so that calls to the License Server that
    /// change it take turns.
    pub async fn turn(&self) -> Turn<'_> {
        Turn::new(self, self.turn.lock().await)
    }

    /// What is known about the license, and what follows from it.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Waits until what the site may use may have changed for a reason other than the passage of
    /// time.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The key with which this installation proves its calls; `None` until the database has been reached
    /// for the first time, or if it cannot be read from `STATE_DIR`.
    #[must_use]
    pub fn installation_key(&self) -> Option<Arc<InstallationKey>> {
        self.installation_key.load_full()
    }

    /// The identity of this installation; `None` until the database has been reached for the first
    /// time.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    /// How this machine compares with the known one; `None` until the database has been reached.
    #[must_use]
    pub fn comparison(&self) -> Option<Arc<Comparison>> {
        self.comparison.load_full()
    }

    /// What is remembered about licenses, including former ones.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        lock(&self.remembered).clone()
    }

    /// Changes what is remembered.
    fn remember(&self, change: impl FnOnce(Remembered) -> Remembered) {
        let mut remembered = lock(&self.remembered);
        *remembered = change(std::mem::take(&mut *remembered));
    }

    /// Puts new knowledge into effect, also for a restart without the database.
    async fn publish(&self, snapshot: Snapshot) {
        self.show(snapshot);
        self.write_local_copy().await;
    }

    /// Replaces the snapshot from which callers are answered.
    fn show(&self, snapshot: Snapshot) {
        if let Some(signed) = snapshot.evidence.newest_signed_at() {
            self.parts.time.learn(signed);
        }
        self.remember(|remembered| remembered.with(&snapshot.evidence));
        let key = snapshot.evidence.license_key();
        let is_other = !license_key::same(key, self.snapshot().evidence.license_key());
        if is_other && evidence_rows::is_signed(&snapshot.evidence) {
            self.drop_requests_of_others(key);
        }
        self.snapshot.store(Arc::new(snapshot));
        self.changed.notify_one();
        self.calls_changed.notify_one();
    }
}

/// The locked values are replaced as a whole: a panic elsewhere cannot leave them half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
