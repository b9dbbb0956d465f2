//! Everything that the use cases share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use chrono::{DateTime, Utc};
use license_core::calls::{Calls, Intervals};
use license_core::evidence::Evidence;
use license_core::hardware::{Comparison, Verdict};
use license_core::standing::Policy;
use license_core::taking_over::Remembered;
use license_core::time_guard::Mark;
use license_core::wall_clock::WallReading;
use license_service::clock::Clock;
use license_service::database::Trouble;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::announced::Announced;
use crate::attempts_log::AttemptsLog;
use crate::config::Settings;
use crate::entitled::LatestEntitled;
use crate::gate_routes::{GateRoutes, GateRoutesError};
use crate::identity::{Identity, Prescribed};
use crate::metrics::Metrics;
use crate::random;
use crate::scheduler::Scheduler;
use crate::shared_reading::SharedReading;
use crate::snapshot::Snapshot;
use crate::state_file::StateFile;
use crate::store::local_license_validation_attempts::Attempt;
use crate::store::{Store, StoreError};
use crate::timekeeping::Timekeeping;
use crate::trusted_keys::{TrustedKeys, TrustedKeysError};
use crate::unknown_features::UnknownFeatures;
use crate::upstream::{Sender, Upstream, UpstreamError};
use crate::usage::{Meter, Queries};

/// Most lines for the log of attempts that wait for the database.
const WAITING_ATTEMPTS: usize = 1000;

/// The running service, shared by requests and jobs.
pub struct App {
    /// The database.
    pub store: Arc<Store>,
    /// What the service knows, as a file.
    pub local_copy: StateFile,
    /// The License Server.
    pub upstream: Upstream,
    /// The time that counts, and what moves it.
    pub time: Timekeeping,
    /// The same time, to be read.
    pub clock: Arc<dyn Clock>,
    /// Whose word counts.
    pub keys: TrustedKeys,
    /// What the site's settings decide.
    pub policy: Policy,
    /// The ids that settings prescribe.
    pub prescribed: Prescribed,
    /// What people call the installation.
    pub installation_name: String,
    /// Version of the VMS.
    pub app_version: String,
    /// Where the machine's own files are: `/`.
    pub root: PathBuf,
    /// Regular intervals of calls.
    pub intervals: Intervals,
    /// Which process makes the scheduled calls.
    pub scheduler: Scheduler,
    /// Which paths of the VMS need which feature.
    pub gate_routes: GateRoutes,
    /// What is in use.
    pub meter: Meter,
    /// Why changes cannot be stored, as reported by the database.
    pub database_trouble: SharedReading<Option<Trouble>>,
    /// The log of attempts.
    pub attempts: AttemptsLog,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Unknown features that gates ask about.
    pub unknown_features: UnknownFeatures,
    /// Held while evidence is being changed, so that calls to the License
    /// Server that change it take turns.
    pub turn: tokio::sync::Mutex<()>,
    /// Rung when the next call may be due at another time than before.
    pub calls_changed: Notify,
    /// The state for subscribers; `None` before the first one.
    pub announced: watch::Sender<Option<Arc<Announced>>>,
    /// What the site may use, computed one time for all callers.
    pub entitled: LatestEntitled,
    /// Notified when their state may have changed.
    pub changed: Notify,
    /// Rung when another process has changed something in the database.
    pub database_changed: Notify,
    identity: ArcSwapOption<Identity>,
    comparison: ArcSwapOption<Comparison>,
    snapshot: ArcSwap<Snapshot>,
    calls: Mutex<Calls>,
    unwritten: Mutex<Unwritten>,
    database: Mutex<Database>,
    remembered: Mutex<Remembered>,
    repaired: Mutex<Option<Duration>>,
    is_schedule_stopped: AtomicBool,
}

/// What could not be stored and waits for the database to come back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unwritten {
    /// The evidence in memory is newer than what is stored.
    pub evidence: bool,
    /// The time of the last heartbeat.
    pub heartbeat: bool,
    /// What services have reported.
    pub usage: bool,
    /// Lines for the log of attempts.
    pub attempts: Vec<Attempt>,
}

/// How it is with the database.
#[derive(Clone, Debug)]
pub struct Database {
    /// It has been reached since the start, and its tables are there.
    pub is_open: bool,
    /// What is wrong with it now.
    pub trouble: Option<Trouble>,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The trusted keys cannot be trusted.
    #[error(transparent)]
    TrustedKeys(#[from] TrustedKeysError),
    /// The database cannot be used.
    #[error("DATABASE_URL is {url}: {error}")]
    Store {
        /// The database, without its password.
        url: String,
        /// Why.
        error: StoreError,
    },
    /// The table of the gate cannot be used.
    #[error(transparent)]
    GateRoutes(#[from] GateRoutesError),
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl App {
    /// Makes the service of the settings. It knows nothing yet:
    /// `licensing::resume` must be called next.
    ///
    /// # Errors
    /// One [`OpenError`] for each setting that cannot be used.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let keys = TrustedKeys::load(settings.license_trusted_keys.as_deref())?;
        let metrics = Arc::new(Metrics::new());
        let (time, remembered) = Timekeeping::start(
            clock,
            keys.are_required(),
            &settings.state_dir,
            metrics.clone(),
        );
        let clock = time.clock();
        let upstream = Upstream::new(
            &settings.license_api_url,
            settings.license_api_timeout,
            settings.license_ca_file.as_deref(),
            time.effective()
                .map(|clock| clock.clone() as Arc<dyn Clock>),
            &settings.proxies,
        )?;
        let database = settings.database();
        let timeouts = settings.database_timeouts.clone();
        let store = Store::new(&database, timeouts).map_err(|error| {
            let url = database.to_string();
            OpenError::Store { url, error }
        })?;
        let store = Arc::new(store);

        let now = clock.now();
        let policy = Policy {
            grace: settings.offline_grace_period_hours,
            allow_unlicensed_core: settings.allow_unlicensed_core_features,
        };
        let nothing = Snapshot::new(Evidence::default(), BTreeSet::new(), policy);
        Ok(Self {
            attempts: AttemptsLog::new(store.clone(), clock.clone()),
            store,
            local_copy: StateFile::in_directory(&settings.state_dir, "local-copy.json"),
            upstream,
            time,
            keys,
            policy,
            prescribed: Prescribed {
                installation_id: given(settings.installation_id.as_ref()),
                hardware_id: given(settings.license_hardware_id.as_ref()),
            },
            installation_name: settings.installation_name.clone(),
            app_version: settings.app_version.clone(),
            root: PathBuf::from("/"),
            intervals: Intervals {
                validation: settings.validation_interval_hours,
                heartbeat: settings.heartbeat_interval_hours,
            },
            scheduler: Scheduler::new(),
            gate_routes: GateRoutes::load(settings.gate_routes.as_deref())?,
            meter: Meter::new(
                Queries {
                    cameras: settings.usage_cameras_query.clone(),
                    users: settings.usage_users_query.clone(),
                    storage_gb: settings.usage_storage_gb_query.clone(),
                },
                clock.clone(),
            ),
            database_trouble: SharedReading::new(clock.clone()),
            metrics,
            unknown_features: UnknownFeatures::default(),
            turn: tokio::sync::Mutex::new(()),
            calls_changed: Notify::new(),
            announced: watch::Sender::new(None),
            entitled: LatestEntitled::default(),
            changed: Notify::new(),
            database_changed: Notify::new(),
            identity: ArcSwapOption::empty(),
            comparison: ArcSwapOption::empty(),
            snapshot: ArcSwap::from_pointee(nothing),
            calls: Mutex::new(Calls::new(now, random::jitter(), random::jitter())),
            unwritten: Mutex::default(),
            database: Mutex::new(Database {
                is_open: false,
                trouble: Some(StoreError::NotReached.trouble()),
            }),
            remembered: Mutex::new(remembered),
            repaired: Mutex::default(),
            is_schedule_stopped: AtomicBool::new(false),
            clock,
        })
    }

    /// Who this installation is; `None` until the database has been reached
    /// for the first time.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.identity.load_full()
    }

    /// Leaves the License Server alone for as long as it asks to; `None` when it
    /// answered, and may be asked again.
    pub fn heed_retry_after(&self, retry_after: Option<Duration>) {
        let now = self.clock.now();
        self.note_call(|calls| calls.asked_to_wait(retry_after, now, random::jitter()));
    }

    /// Settles who this installation is.
    pub fn settle_identity(&self, identity: Identity) {
        self.identity.store(Some(Arc::new(identity)));
    }

    /// How this machine compares with the one that is known; `None` until the
    /// database has been reached.
    #[must_use]
    pub fn comparison(&self) -> Option<Arc<Comparison>> {
        self.comparison.load_full()
    }

    /// Notes how this machine compares.
    pub fn note_comparison(&self, comparison: Comparison) {
        self.comparison.store(Some(Arc::new(comparison)));
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Makes new knowledge the one that answers.
    pub fn publish(&self, snapshot: Snapshot) {
        if let Some(signed) = snapshot.evidence.newest_signed_at() {
            self.time.learn(signed);
        }
        {
            let mut remembered = lock(&self.remembered);
            *remembered = std::mem::take(&mut *remembered).with(&snapshot.evidence);
        }
        self.snapshot.store(Arc::new(snapshot));
        self.changed.notify_one();
        self.calls_changed.notify_one();
    }

    /// What is remembered about licenses, including former ones.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        lock(&self.remembered).clone()
    }

    /// A license was deactivated: what is stored about it does not bring it back.
    pub fn note_given_up(&self, license_key: &str) {
        let mut remembered = lock(&self.remembered);
        *remembered = std::mem::take(&mut *remembered).without(license_key);
    }

    /// The local copy remembers this, beside the license that it holds.
    pub fn recall_remembered(&self, kept: Remembered) {
        let mut remembered = lock(&self.remembered);
        *remembered = kept.joined(std::mem::take(&mut *remembered));
    }

    /// Whether rows that others have changed may be rewritten: not again within `interval`,
    /// because a trigger can change them each time.
    pub fn may_mend(&self, interval: Duration) -> bool {
        let now = self.clock.running();
        let mut repaired = lock(&self.repaired);
        let is_due = repaired.is_none_or(|at| now.saturating_sub(at) >= interval);
        if is_due {
            *repaired = Some(now);
        }
        is_due
    }

    /// When the License Server was called.
    #[must_use]
    pub fn calls(&self) -> Calls {
        *lock(&self.calls)
    }

    /// Notes a call, and wakes the scheduler.
    pub fn note_call(&self, note: impl FnOnce(&mut Calls)) {
        note(&mut lock(&self.calls));
        self.calls_changed.notify_one();
    }

    /// What waits for the database.
    #[must_use]
    pub fn unwritten(&self) -> Unwritten {
        lock(&self.unwritten).clone()
    }

    /// Notes what waits for the database, or does so no longer. Of too many
    /// lines for the log, the oldest are dropped.
    pub fn note_unwritten(&self, note: impl FnOnce(&mut Unwritten)) {
        let mut unwritten = lock(&self.unwritten);
        note(&mut unwritten);
        let too_many = unwritten.attempts.len().saturating_sub(WAITING_ATTEMPTS);
        unwritten.attempts.drain(..too_many);
    }

    /// How it is with the database.
    #[must_use]
    pub fn database(&self) -> Database {
        lock(&self.database).clone()
    }

    /// Notes how it is with the database; answers how it was before.
    pub fn note_database(&self, note: impl FnOnce(&mut Database)) -> Database {
        let mut database = lock(&self.database);
        let before = database.clone();
        note(&mut database);
        before
    }

    /// A signed answer to our own question, sent when the process had been running for `sent`,
    /// says what time it is.
    pub fn prove_time(&self, signed: DateTime<Utc>, sent: Duration) {
        if self.time.prove(signed, sent) {
            self.note_clock_set();
        }
    }

    /// A signed answer was imported from a file.
    pub fn answer_time(&self, signed: DateTime<Utc>) {
        if self.time.answer(signed) {
            self.note_clock_set();
        }
    }

    /// A validation was attempted, with any result.
    pub fn note_validation_tried(&self) {
        if self.time.validation_tried() {
            self.note_clock_set();
        }
    }

    /// A call that can confirm the license was tried, and began at `begun`.
    pub fn note_confirmation_tried(&self, begun: Option<WallReading>) {
        if self.time.confirmation_tried(begun) {
            self.changed.notify_one();
        }
    }

    /// A call recorded in the future counts as made now.
    fn note_clock_set(&self) {
        let now = self.clock.now();
        self.note_call(|calls| calls.clock_set(now));
        self.changed.notify_one();
    }

    /// An earlier run has left this high-water mark beside this evidence.
    pub fn recall_time(&self, mark: Option<&Mark>, evidence: &Evidence) {
        let remembered = self.remembered();
        self.time.recall(mark, evidence, &self.policy, &remembered);
    }

    /// Whether the process that should make the scheduled calls does not, as far as
    /// this one has seen.
    #[must_use]
    pub fn is_schedule_stopped(&self) -> bool {
        self.is_schedule_stopped.load(Ordering::SeqCst)
    }

    /// Records whether it does. A user of the database can keep every process from calling, so
    /// each new occurrence is a security event.
    pub fn note_schedule_stopped(&self, is_stopped: bool) {
        let was_stopped = self.is_schedule_stopped.swap(is_stopped, Ordering::SeqCst);
        match (was_stopped, is_stopped) {
            (false, true) => {
                tracing::error!(
                    security = true,
                    "no process makes the scheduled calls, although the License Server is \
                     reachable; this process validates instead"
                );
                self.metrics.security_event();
            }
            (true, false) => tracing::info!("the scheduled calls are made again"),
            _ => {}
        }
    }

    /// What a request about `license_key` tells the License Server about its sender.
    #[must_use]
    pub fn sender(&self, identity: &Identity, license_key: &str) -> Sender {
        let drift = self.comparison().filter(|c| c.verdict == Verdict::Drifted);
        Sender {
            installation_id: identity.installation_id.clone(),
            newest_seq: self.snapshot().evidence.newest_seq(license_key),
            drift: drift.map(|comparison| comparison.changed().collect()),
        }
    }
}

impl Unwritten {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.evidence && !self.heartbeat && !self.usage && self.attempts.is_empty()
    }
}

/// What is locked here is replaced as a whole: a panic elsewhere cannot have
/// left it half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty id counts as none.
fn given(id: Option<&String>) -> Option<String> {
    id.filter(|id| !id.is_empty()).cloned()
}
