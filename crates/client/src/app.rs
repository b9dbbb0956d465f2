//! Everything that the use cases share.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use license_core::contact::{Question, Trust};
use license_core::evidence::Evidence;
use license_core::keyring::{Keyring, KeyringError};
use license_core::schedule::Jitter;
use license_core::standing::Policy;
use license_service::clock::Clock;
use tokio::sync::Notify;

use crate::config::Settings;
use crate::identity::{self, Identity};
use crate::random;
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};
use crate::upstream::{Upstream, UpstreamError};

/// The running service, shared by requests and jobs.
pub struct App {
    /// The database.
    pub store: Store,
    /// The License Server.
    pub upstream: Upstream,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose word counts.
    pub trust: Trust,
    /// What the site's settings decide.
    pub policy: Policy,
    /// Who we are.
    pub identity: Identity,
    /// Regular interval of validations.
    pub validation_interval: TimeDelta,
    /// Regular interval of heartbeats.
    pub heartbeat_interval: TimeDelta,
    /// Held while evidence is being changed, so that calls to the License
    /// Server that change it take turns.
    pub turn: tokio::sync::Mutex<()>,
    /// Rung when the next call may be due at another time than before.
    pub calls_changed: Notify,
    snapshot: ArcSwap<Snapshot>,
    calls: Mutex<Calls>,
}

/// When the License Server was called, which says when it is called next.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// The newest validation or activation that was tried.
    pub validated_at: DateTime<Utc>,
    /// Validations that were not confirmed, in a row.
    pub failures: u32,
    /// Something happened that only a validation can explain: it is due now.
    pub validation_wanted: bool,
    /// Validations that began since the start, for callers who waited while
    /// somebody else validated.
    pub validations: u64,
    /// The newest heartbeat that was tried.
    pub heartbeat_at: DateTime<Utc>,
    /// Drawn anew with each validation.
    pub validation_jitter: Jitter,
    /// Drawn anew with each heartbeat.
    pub heartbeat_jitter: Jitter,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file that a setting names cannot be read.
    #[error("{setting}: the file '{file}' cannot be read: {error}")]
    File {
        /// Which setting.
        setting: &'static str,
        /// Which file.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The trusted keys cannot be trusted.
    #[error("LICENSE_TRUSTED_KEYS: {0}")]
    TrustedKeys(#[from] KeyringError),
    /// The database cannot be used.
    #[error("DATABASE_URL is {url}: {error}")]
    Store {
        /// The database, without its password.
        url: String,
        /// Why.
        error: StoreError,
    },
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl App {
    /// Opens the database and settles the identity. The evidence is loaded by
    /// `licensing::resume`, which has to come next.
    ///
    /// # Errors
    /// One [`OpenError`] for each thing that keeps the service from starting.
    pub async fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let trust = match &settings.license_trusted_keys {
            Some(file) => {
                let text = read("LICENSE_TRUSTED_KEYS", file)?;
                Trust::Keys(Keyring::from_json(&String::from_utf8_lossy(&text))?)
            }
            None => Trust::Unsigned,
        };
        let roots = settings
            .license_ca_file
            .as_deref()
            .map(|file| read("LICENSE_CA_FILE", file))
            .transpose()?;

        let now = clock.now();
        let (store, identity) = open_store(settings, now).await.map_err(|error| {
            let url = settings.database().to_string();
            OpenError::Store { url, error }
        })?;
        let upstream = Upstream::new(
            &settings.license_api_url,
            settings.license_api_timeout,
            roots.as_deref(),
            &identity.installation_id,
        )?;
        let policy = Policy {
            grace: settings.offline_grace_period_hours,
            allow_unlicensed_core: settings.allow_unlicensed_core_features,
        };
        let nothing = Snapshot::new(Evidence::default(), BTreeSet::new(), policy);
        Ok(Self {
            store,
            upstream,
            trust,
            policy,
            identity,
            validation_interval: settings.validation_interval_hours,
            heartbeat_interval: settings.heartbeat_interval_hours,
            turn: tokio::sync::Mutex::new(()),
            calls_changed: Notify::new(),
            snapshot: ArcSwap::from_pointee(nothing),
            calls: Mutex::new(Calls {
                validated_at: now,
                failures: 0,
                validation_wanted: false,
                validations: 0,
                heartbeat_at: now,
                validation_jitter: random::jitter(),
                heartbeat_jitter: random::jitter(),
            }),
            clock,
        })
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Makes new knowledge the one that answers.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.calls_changed.notify_one();
    }

    /// When the License Server was called.
    #[must_use]
    pub fn calls(&self) -> Calls {
        *self.lock_calls()
    }

    /// Notes a call, and wakes the scheduler.
    pub fn note_call(&self, note: impl FnOnce(&mut Calls)) {
        note(&mut self.lock_calls());
        self.calls_changed.notify_one();
    }

    /// What an answer about `license_key` has to fit.
    #[must_use]
    pub fn question<'a>(
        &'a self,
        license_key: &'a str,
        nonce: &'a str,
        evidence: &Evidence,
    ) -> Question<'a> {
        Question {
            nonce,
            license_key,
            installation_id: &self.identity.installation_id,
            hardware_id: &self.identity.hardware_id,
            newest_seq: evidence.newest_seq(license_key),
        }
    }

    /// The numbers inside are plain copies: a panic elsewhere cannot have
    /// left them half written.
    fn lock_calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open_store<'a>(
    settings: &'a Settings,
    now: DateTime<Utc>,
) -> Result<(Store, Identity), StoreError> {
    let store = Store::open(&settings.database(), now).await?;
    let given = |id: &'a Option<String>| id.as_deref().filter(|id| !id.is_empty());
    let installation_id = given(&settings.installation_id);
    let installation_id = identity::installation_id(&store, installation_id, now).await?;
    let hardware_id = given(&settings.license_hardware_id);
    let hardware_id = identity::hardware_id(&store, hardware_id, now).await?;
    let identity = Identity {
        installation_id,
        hardware_id,
        installation_name: settings.installation_name.clone(),
        app_version: settings.app_version.clone(),
    };
    Ok((store, identity))
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, OpenError> {
    std::fs::read(file).map_err(|error| OpenError::File {
        setting,
        file: file.display().to_string(),
        error,
    })
}
