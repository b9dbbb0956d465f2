//! Everything that the use cases share.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use chrono::{DateTime, TimeDelta, Utc};
use license_core::calls::{Calls, Intervals};
use license_core::evidence::Evidence;
use license_core::hardware::{Comparison, Verdict};
use license_core::standing::Policy;
use license_core::taking_over::Remembered;
use license_core::time_guard::{Believed, ClockEvent, Mark};
use license_core::wall_clock::WallReading;
use license_service::clock::Clock;
use license_service::database::Trouble;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::announced::Announced;
use crate::attempts_log::AttemptsLog;
use crate::config::Settings;
use crate::effective_clock::EffectiveClock;
use crate::entitled::LatestEntitled;
use crate::gate_routes::{GateRoutes, GateRoutesError};
use crate::identity::{Identity, Prescribed};
use crate::metrics::Metrics;
use crate::random;
use crate::scheduler::Scheduler;
use crate::sealed_file::SealedFile;
use crate::shared_reading::SharedReading;
use crate::snapshot::Snapshot;
use crate::state_file::StateFile;
use crate::store::local_license_validation_attempts::Attempt;
use crate::store::{Store, StoreError};
use crate::trusted_keys::{TrustedKeys, TrustedKeysError};
use crate::unknown_features::UnknownFeatures;
use crate::unsigned_clock::UnsignedClock;
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
    /// The effective time, for the next start.
    pub kept_time: SealedFile,
    /// The License Server.
    pub upstream: Upstream,
    /// The time used for all decisions: the effective time where keys
    /// are trusted, else the wall clock.
    pub clock: Arc<dyn Clock>,
    /// The same clock, where it is the effective time.
    pub effective: Option<Arc<EffectiveClock>>,
    /// The same clock, where it is the wall clock.
    pub unsigned: Option<Arc<UnsignedClock>>,
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
    pub metrics: Metrics,
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
    time_trouble: ArcSwapOption<String>,
    remembered: Mutex<Remembered>,
    repaired: Mutex<Option<Duration>>,
    /// There was no `time.json` at the start, and it was not checked yet whether one was
    /// expected.
    has_no_time: AtomicBool,
    /// `time.key` was there at the start.
    had_time_key: bool,
    is_schedule_stopped: AtomicBool,
}

/// What `time.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeptTime {
    /// The effective time.
    #[serde(flatten)]
    pub believed: Believed,
    /// What is remembered about licenses, including former ones.
    #[serde(default)]
    pub remembered: Remembered,
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
        let kept_time = SealedFile::in_directory(&settings.state_dir, "time.json", "time.key");
        let metrics = Metrics::new();
        let (has_no_time, had_time_key) = (!kept_time.exists(), kept_time.has_key());
        let mut remembered = Remembered::default();
        let effective = keys.are_required().then(|| {
            let kept = recall_time(&kept_time, &metrics);
            let believed = kept.as_ref().map(|kept| &kept.believed);
            let (clock, events) = EffectiveClock::start(clock.clone(), believed);
            remembered = kept.map(|kept| kept.remembered).unwrap_or_default();
            events.iter().for_each(log_clock_event);
            Arc::new(clock)
        });
        let unsigned = effective
            .is_none()
            .then(|| Arc::new(UnsignedClock::start(clock.clone())));
        let clock: Arc<dyn Clock> = match (&effective, &unsigned) {
            (Some(effective), _) => effective.clone(),
            (None, Some(unsigned)) => unsigned.clone(),
            (None, None) => clock,
        };
        let upstream = Upstream::new(
            &settings.license_api_url,
            settings.license_api_timeout,
            settings.license_ca_file.as_deref(),
            effective.clone().map(|clock| clock as Arc<dyn Clock>),
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
            kept_time,
            upstream,
            effective,
            unsigned,
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
            time_trouble: ArcSwapOption::empty(),
            remembered: Mutex::new(remembered),
            repaired: Mutex::default(),
            has_no_time: AtomicBool::new(has_no_time),
            had_time_key,
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
            self.learn_time(signed);
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

    /// A signed answer to our own question, sent when the process had been
    /// running for `sent`, says what time it is.
    pub fn prove_time(&self, signed: DateTime<Utc>, sent: Duration) {
        if let Some(clock) = &self.effective {
            let waited = clock.running().saturating_sub(sent);
            self.time_was_set(&clock.prove(signed, waited));
        }
    }

    /// A signed answer was imported from a file.
    pub fn answer_time(&self, signed: DateTime<Utc>) {
        if let Some(clock) = &self.effective {
            self.time_was_set(&clock.answer(signed));
        }
    }

    /// Why the effective time cannot be stored reliably; `None` when it is,
    /// and where no keys are trusted.
    #[must_use]
    pub fn time_trouble(&self) -> Option<Arc<String>> {
        self.time_trouble.load_full()
    }

    /// Records whether the effective time can be stored. Preventing that can reset the time, so
    /// each new problem is a security event.
    pub fn note_time_trouble(&self, trouble: Option<String>) {
        let trouble = trouble.map(Arc::new);
        let before = self.time_trouble.swap(trouble.clone());
        match (before, trouble) {
            (before, Some(trouble)) if before.as_ref() != Some(&trouble) => {
                tracing::error!(security = true, %trouble, "the effective time cannot be stored \
                    reliably");
                self.metrics.security_event();
            }
            (Some(_), None) => tracing::info!("the effective time is stored reliably again"),
            _ => {}
        }
    }

    fn time_was_set(&self, events: &[ClockEvent]) {
        if events.is_empty() {
            return;
        }
        events.iter().for_each(log_clock_event);
        // A recorded time in the future counts as now.
        let now = self.clock.now();
        self.note_call(|calls| calls.clock_set(now));
        self.changed.notify_one();
    }

    /// A validation was attempted, with any result.
    pub fn note_validation_tried(&self) {
        if let Some(clock) = &self.effective {
            self.time_was_set(&clock.validation_tried());
        }
    }

    /// What the machine shows as a call begins that can confirm the license; `None` where
    /// keys are trusted.
    #[must_use]
    pub fn wall_reading(&self) -> Option<WallReading> {
        self.unsigned.as_ref().map(|clock| clock.reading())
    }

    /// The time at which such a call ends that began at `begun`. It counts for everything
    /// after [`App::note_confirmation_tried`], which has to come when what the call has
    /// changed is known: otherwise the site would have lapsed in between.
    #[must_use]
    pub fn now_when_tried(&self, begun: Option<WallReading>) -> DateTime<Utc> {
        match (&self.unsigned, begun) {
            (Some(clock), Some(begun)) => clock.now_when_tried(begun),
            _ => self.clock.now(),
        }
    }

    /// A call that can confirm the license was tried, and began at `begun`.
    pub fn note_confirmation_tried(&self, begun: Option<WallReading>) {
        if let (Some(clock), Some(begun)) = (&self.unsigned, begun)
            && let Some(ahead) = clock.tried(begun)
        {
            let minutes = ahead.num_minutes();
            tracing::info!(minutes, "the wall clock is trusted again after its jump");
            self.changed.notify_one();
        }
    }

    /// Whether the time waits for one validation to be tried.
    #[must_use]
    pub fn awaits_validation(&self) -> bool {
        let is_held = self
            .unsigned
            .as_ref()
            .is_some_and(|it| it.ahead().is_some());
        let clock = self.effective.as_ref();
        is_held || clock.is_some_and(|clock| clock.guard().awaits_validation())
    }

    /// How far the wall clock is ahead of the effective time; negative is behind.
    #[must_use]
    pub fn wall_ahead(&self) -> Option<TimeDelta> {
        match (&self.effective, &self.unsigned) {
            (Some(clock), _) => Some(clock.guard().wall_ahead()),
            (None, Some(clock)) => clock.ahead(),
            (None, None) => None,
        }
    }

    /// An earlier run has kept this high-water mark beside this evidence.
    pub fn recall_time(&self, mark: Option<&Mark>, evidence: &Evidence) {
        if let Some(clock) = &self.effective {
            let signed = evidence.newest_signed_at();
            if signed.is_some() {
                self.look_for_lost_time();
            }
            // An unsigned license at least says when its grace period began.
            let grace = evidence
                .grace_started_at
                .map(Mark::unsigned)
                .map(Mark::as_claim);
            let mark = mark.copied().or(grace);
            let events = clock.recall(mark.as_ref(), signed);
            events.iter().for_each(log_clock_event);
        }
        if let Some(clock) = &self.unsigned {
            clock.recall(evidence, &self.policy);
        }
    }

    /// There is a signed license but no `time.json`. A new installation has none; if an earlier
    /// one has left other files, it was removed.
    fn look_for_lost_time(&self) {
        let was_here = self.had_time_key || self.remembered().has_signed();
        if self.has_no_time.swap(false, Ordering::SeqCst) && was_here {
            tracing::error!(
                security = true,
                "time.json is missing beside a signed license; was it removed?"
            );
            self.metrics.security_event();
        }
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

    /// A signed document proves that it is no earlier than this.
    fn learn_time(&self, signed: DateTime<Utc>) {
        if let Some(clock) = &self.effective {
            clock.learn(signed);
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

/// Logs what is notable about the machine's clocks.
pub fn log_clock_event(event: &ClockEvent) {
    let minutes = |by: TimeDelta| by.num_minutes();
    match event {
        ClockEvent::Behind { by } => tracing::error!(
            security = true,
            minutes = minutes(*by),
            "the wall clock is behind the effective time and is ignored; set it, and keep it \
             correct with NTP"
        ),
        ClockEvent::Doubted { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "the wall clock is far ahead and is not trusted until the License Server confirms it \
             or it has stayed ahead for 72 h"
        ),
        ClockEvent::Believed { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "the wall clock has stayed ahead for 72 h and is trusted now"
        ),
        ClockEvent::BootClockLeapt { by } => tracing::warn!(
            minutes = minutes(*by),
            "the boot clock has jumped ahead by more than is accepted"
        ),
        ClockEvent::Set { by } => tracing::info!(
            minutes = minutes(*by),
            "a signed answer set the effective time"
        ),
        ClockEvent::AwaitsValidation { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "no effective time is stored and the wall clock is far ahead of the newest signed \
             document, asking the License Server first"
        ),
        ClockEvent::Assumed { ahead } => tracing::warn!(
            minutes = minutes(*ahead),
            "no effective time is stored and the License Server did not confirm the time, using \
             the wall clock"
        ),
    }
}

/// The time that an earlier run has kept. A file that was edited counts as
/// absent.
fn recall_time(file: &SealedFile, metrics: &Metrics) -> Option<KeptTime> {
    file.read().unwrap_or_else(|error| {
        tracing::error!(security = true, %error, "ignoring the effective time in time.json");
        metrics.security_event();
        None
    })
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
