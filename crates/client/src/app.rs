//! The parts of the service, put together from the settings.

use std::path::PathBuf;
use std::sync::Arc;

use license_core::plausible_time::PlausibleTime;
use license_core::schedule::calls::Intervals;
use license_core::standing::Policy;
use license_service::clock::Clock;
use tokio::sync::{Notify, watch};

use crate::announced::Announced;
use crate::attempts_log::AttemptsLog;
use crate::config::Settings;
use crate::entitled::LatestEntitled;
use crate::gate_routes::{GateRoutes, GateRoutesError};
use crate::identity::{Identity, Prescribed};
use crate::knowledge::snapshot::Snapshot;
use crate::knowledge::timekeeping::Timekeeping;
use crate::knowledge::{Knowledge, Parts};
use crate::metrics::Metrics;
use crate::scheduler::Scheduler;
use crate::secret_file::SecretFile;
use crate::state_file::StateFile;
use crate::store::{Store, StoreError};
use crate::trusted_keys::{TrustedKeys, TrustedKeysError};
use crate::unknown_features::UnknownFeatures;
use crate::upstream::{Upstream, UpstreamError};
use crate::usage::{Meter, Queries};

/// The running service, shared by requests and jobs.
pub struct App {
    /// What this installation knows, and where it is stored.
    pub knowledge: Knowledge,
    /// The time used for decisions, and what changes it.
    pub time: Arc<Timekeeping>,
    /// The same time, read-only.
    pub clock: Arc<dyn Clock>,
    /// The database.
    pub store: Arc<Store>,
    /// The client of the License Server.
    pub(crate) upstream: Upstream,
    /// Which responses are trusted.
    pub(crate) keys: Arc<TrustedKeys>,
    /// The settings that affect decisions.
    pub(crate) policy: Policy,
    /// The regular intervals of calls.
    pub(crate) intervals: Intervals,
    /// The display name of the installation.
    pub(crate) installation_name: String,
    /// Version of the VMS.
    pub(crate) app_version: String,
    /// The root of the machine's own files: `/`.
    pub(crate) root: PathBuf,
    /// Which process makes the scheduled calls.
    pub(crate) scheduler: Arc<Scheduler>,
    /// The file with the document of the installed release.
    pub(crate) release_document: PathBuf,
    /// The file with the secret that proves that this site started a trial.
    pub(crate) trial_secret: SecretFile,
    /// The features that paths of the VMS need.
    pub(crate) gate_routes: GateRoutes,
    /// Usage.
    pub meter: Arc<Meter>,
    /// The log of attempts.
    pub attempts: Arc<AttemptsLog>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Unknown features that gates ask about.
    pub(crate) unknown_features: UnknownFeatures,
    /// The state for subscribers; `None` before the first one.
    pub(crate) announced: watch::Sender<Option<Arc<Announced>>>,
    /// What the site may use, computed once for all callers.
    pub(crate) entitled: LatestEntitled,
    /// Notified when another process has changed something in the database.
    pub(crate) database_changed: Notify,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The trusted keys cannot be used.
    #[error(transparent)]
    TrustedKeys(#[from] TrustedKeysError),
    /// The database cannot be used.
    #[error("DATABASE_URL is {url}: {error}")]
    Store {
        /// The database, without its password.
        url: String,
        /// The cause.
        error: StoreError,
    },
    /// The gate routes cannot be used.
    #[error(transparent)]
    GateRoutes(#[from] GateRoutesError),
    /// The HTTP client cannot be created.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl App {
    /// Builds the service from the settings. It has no state yet: [`Knowledge::load`] must be
    /// called next.
    ///
    /// # Errors
    /// One [`OpenError`] for each setting that cannot be used.
    pub fn new(settings: &Settings, machine: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let keys = Arc::new(TrustedKeys::load(settings.license_trusted_keys.as_deref())?);
        let metrics = Arc::new(Metrics::new());
        let (time, remembered) = Timekeeping::start(
            machine,
            keys.are_required(),
            &settings.state_dir,
            metrics.clone(),
        );
        let clock = time.clock();
        let time = Arc::new(time);
        let upstream = Upstream::new(
            &settings.license_api_url,
            settings.license_api_timeout,
            settings.license_ca_file.as_deref(),
            time.effective()
                .map(|clock| clock.clone() as Arc<dyn Clock>),
            &settings.proxies,
        )?;
        let store = Arc::new(store(settings)?);
        let policy = policy(settings);
        let scheduler = Arc::new(Scheduler::new());
        let meter = Arc::new(Meter::new(usage_queries(settings), clock.clone()));
        let attempts = Arc::new(AttemptsLog::new(store.clone(), clock.clone()));
        let parts = Parts {
            store: store.clone(),
            local_copy: StateFile::in_directory(&settings.state_dir, "local-copy.json"),
            installation_key: StateFile::in_directory(&settings.state_dir, "installation-key.json"),
            time: time.clone(),
            keys: keys.clone(),
            policy,
            prescribed: prescribed(settings),
            root: PathBuf::from("/"),
            scheduler: scheduler.clone(),
            meter: meter.clone(),
            attempts: attempts.clone(),
            metrics: metrics.clone(),
        };
        Ok(Self {
            knowledge: Knowledge::new(parts, remembered),
            time,
            clock,
            store,
            upstream,
            keys,
            policy,
            intervals: Intervals {
                validation: settings.validation_interval_hours,
                heartbeat: settings.heartbeat_interval_hours,
            },
            installation_name: settings.installation_name.clone(),
            app_version: settings.app_version.clone(),
            root: PathBuf::from("/"),
            scheduler,
            release_document: settings.release_document(),
            trial_secret: SecretFile::in_directory(&settings.state_dir, "trial.key"),
            gate_routes: GateRoutes::load(settings.gate_routes.as_deref())?,
            meter,
            attempts,
            metrics,
            unknown_features: UnknownFeatures::default(),
            announced: watch::Sender::new(None),
            entitled: LatestEntitled::default(),
            database_changed: Notify::new(),
        })
    }

    /// The current time, for what the license grants.
    #[must_use]
    pub fn plausible_time(&self) -> PlausibleTime {
        self.time.plausible()
    }

    /// What is known about the license, and what follows from it.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.knowledge.snapshot()
    }

    /// The identity of this installation; `None` until the database has been reached for the first
    /// time.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.knowledge.identity()
    }
}

fn store(settings: &Settings) -> Result<Store, OpenError> {
    let database = settings.database();
    let timeouts = settings.database_timeouts.clone();
    Store::new(&database, timeouts).map_err(|error| {
        let url = database.to_string();
        OpenError::Store { url, error }
    })
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        grace: settings.offline_grace_period_hours,
        allow_unlicensed_core: settings.allow_unlicensed_core_features,
    }
}

fn usage_queries(settings: &Settings) -> Queries {
    Queries {
        cameras: settings.usage_cameras_query.clone(),
        users: settings.usage_users_query.clone(),
        storage_gb: settings.usage_storage_gb_query.clone(),
    }
}

/// An empty id counts as missing.
fn prescribed(settings: &Settings) -> Prescribed {
    let usable = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
    Prescribed {
        installation_id: usable(&settings.installation_id),
        hardware_id: usable(&settings.license_hardware_id),
    }
}
