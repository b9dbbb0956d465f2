//! A gate, and how one is made.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use license_core::announcement::{Announcement, Envelope};
use license_core::keyring::{Keyring, KeyringError};
use license_core::route::RouteTable;
use license_core::usage::Resource;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use url::Url;

use crate::clock;
use crate::decision::Decision;
use crate::follow::{Subscription, follow, keep_time};
use crate::known::{Known, WithoutContact};
use crate::layer::GateLayer;
use crate::table::{Limit, Table};
use crate::trusted_keys::TrustedKeys;

/// How long contact may be lost before [`WithoutContact::Deny`] and
/// [`WithoutContact::Allow`] take effect: longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// After how long without a byte a connection is taken for dead: a License
/// Client sends something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// Decides whether features may be used, from a live copy of the License
/// Client's decisions. Clones are the same gate, which follows the License
/// Client until the last of them is dropped.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

/// Settings of a gate: see [`Gate::builder`].
#[derive(Debug)]
pub struct GateBuilder {
    url: String,
    token: Option<String>,
    keys: Option<String>,
    installation: Option<String>,
    without_contact: WithoutContact,
    patience: Duration,
    silence: Duration,
}

/// Why a gate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The address is none.
    #[error(
        "'{url}' is no address of a License Client; one looks like http://license-client:8010 ({why})"
    )]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The keys are none to trust.
    #[error("the keys of the gate: {0}")]
    Keys(#[from] KeyringError),
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Http(#[from] reqwest::Error),
    /// Keys prove nothing while everything is let through.
    #[error("a gate with keys cannot allow everything without contact: choose one of the two")]
    Contradiction,
    /// There is no runtime to follow the License Client on.
    #[error("a gate has to be started on a tokio runtime")]
    NoRuntime,
}

impl Gate {
    /// Begins a gate that follows the License Client at `url`, such as
    /// `http://license-client:8010`.
    #[must_use]
    pub fn builder(url: &str) -> GateBuilder {
        GateBuilder {
            url: url.to_owned(),
            token: None,
            keys: None,
            installation: None,
            without_contact: WithoutContact::default(),
            patience: PATIENCE,
            silence: SILENCE,
        }
    }

    /// Decides about one feature, from memory: no network, no lock, nothing
    /// allocated. Any text may be asked about; what nobody knows is not
    /// available.
    #[must_use]
    pub fn check(&self, feature: &str) -> Decision {
        let table = self.shared.table.load();
        table.decide(feature, clock::ticks())
    }

    /// The license's limit of cameras, users or storage. Being over a limit
    /// switches off nothing that already runs.
    #[must_use]
    pub fn limit(&self, resource: Resource) -> Limit {
        self.shared.table.load().limit(resource)
    }

    /// The license's tier, where there is one.
    #[must_use]
    pub fn tier(&self) -> Option<String> {
        self.shared.table.load().tier.clone()
    }

    /// Whether the License Client is being heard.
    #[must_use]
    pub fn is_in_contact(&self) -> bool {
        lock(&self.shared.known).is_in_contact()
    }

    /// Waits until the License Client has been heard for the first time, for
    /// `at_most`; answers whether it has. A gateway that does not wait begins
    /// with what [`WithoutContact`] says.
    pub async fn ready(&self, at_most: Duration) -> bool {
        let mut told = self.shared.told.subscribe();
        let told = told.wait_for(|told| *told);
        matches!(tokio::time::timeout(at_most, told).await, Ok(Ok(_)))
    }

    /// A layer that lets requests through while `feature` is available.
    #[must_use]
    pub fn layer(&self, feature: &str) -> GateLayer {
        GateLayer::for_feature(self.clone(), feature)
    }

    /// A layer that lets requests through while the feature is available that
    /// `routes` name for their path.
    #[must_use]
    pub fn layer_by_path(&self, routes: RouteTable) -> GateLayer {
        GateLayer::by_path(self.clone(), routes)
    }
}

impl GateBuilder {
    /// Believes only what keys of this JWK Set have signed: the text of the
    /// file that `license-server keys export` writes. Vendor keys that come
    /// later are followed along their chain.
    ///
    /// The License Client sends signed licenses to trusted callers alone: the
    /// gateway has to be in one of its `TRUSTED_NETWORKS`, or have a
    /// [token](Self::token).
    #[must_use]
    pub fn keys(mut self, jwk_set: &str) -> Self {
        self.keys = Some(jwk_set.to_owned());
        self
    }

    /// With [keys](Self::keys): believes only licenses of this installation,
    /// so that nobody brings one from elsewhere.
    #[must_use]
    pub fn installation(mut self, id: &str) -> Self {
        self.installation = Some(id.to_owned());
        self
    }

    /// The License Client's `ADMIN_TOKEN`.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// What to do when there is no contact; [`WithoutContact::KeepUntilEnd`]
    /// unless it is said.
    #[must_use]
    pub fn without_contact(mut self, policy: WithoutContact) -> Self {
        self.without_contact = policy;
        self
    }

    /// For how long contact may be lost before the other policies take effect;
    /// 60 s unless it is said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// After how long without a byte a connection is taken for dead; 45 s
    /// unless it is said. A License Client sends something every 15 s.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Starts to follow the License Client, on the tokio runtime that this is
    /// called on. The License Client need not be there yet.
    ///
    /// # Errors
    /// One [`GateError`] for each setting that cannot be used.
    pub fn start(self) -> Result<Gate, GateError> {
        let runtime = Handle::try_current().map_err(|_| GateError::NoRuntime)?;
        let url = self.url;
        let address = |why: String| GateError::Address {
            url: url.clone(),
            why,
        };
        let base = Url::parse(&url).map_err(|error| address(error.to_string()))?;
        let schemes: &[&str] = if cfg!(feature = "tls") {
            &["http", "https"]
        } else {
            &["http"]
        };
        if !schemes.contains(&base.scheme()) {
            let accepted = schemes.join(" and ");
            let why = format!("accepted are {accepted}; https needs the feature 'tls'");
            return Err(address(why));
        }
        let keys = self
            .keys
            .map(|text| Keyring::from_json(&text))
            .transpose()?;
        if keys.is_some() && self.without_contact == WithoutContact::Allow {
            return Err(GateError::Contradiction);
        }
        let keys = keys.map(|keys| TrustedKeys::new(keys, self.installation));
        let subscription = Subscription::new(&base, keys.is_some(), self.token, self.silence)?;
        let (readings, at) = (clock::readings(), clock::ticks());
        let mut known = Known::nothing(self.without_contact, self.patience, keys, &readings);
        let shared = Arc::new(Shared {
            table: ArcSwap::from_pointee(known.table(&readings, at)),
            known: Mutex::new(known),
            told: watch::Sender::new(false),
        });
        let tasks = [
            runtime.spawn(follow(shared.clone(), subscription)),
            runtime.spawn(keep_time(shared.clone())),
        ];
        Ok(Gate {
            shared,
            _tasks: Arc::new(Tasks(tasks.map(|task| task.abort_handle()))),
        })
    }
}

/// What checks and tasks share.
pub(crate) struct Shared {
    table: ArcSwap<Table>,
    known: Mutex<Known>,
    told: watch::Sender<bool>,
}

impl Shared {
    /// The License Client has said something.
    pub(crate) fn hear(&self, announcement: Announcement, envelope: &Envelope) {
        let mut known = lock(&self.known);
        let was_in_contact = known.is_in_contact();
        let unproven = known.hear(announcement, envelope, clock::readings());
        self.publish(&mut known);
        if let Some(why) = unproven {
            tracing::error!(
                security = true,
                "licensed features are off: the License Client is not believed: {why}"
            );
        } else if !was_in_contact {
            tracing::info!("the License Client is heard");
        }
        self.told.send_replace(known.is_told());
    }

    /// Contact is lost; answers whether there was any.
    pub(crate) fn lose_contact(&self) -> bool {
        let mut known = lock(&self.known);
        let was_there = known.lose_contact(&clock::readings());
        self.publish(&mut known);
        was_there
    }

    /// What follows from what is known may be something else by now.
    pub(crate) fn look_at_the_clocks(&self) {
        self.publish(&mut lock(&self.known));
    }

    fn publish(&self, known: &mut Known) {
        let table = known.table(&clock::readings(), clock::ticks());
        self.table.store(Arc::new(table));
    }
}

/// Ends what follows the License Client when nobody asks any more.
struct Tasks([AbortHandle; 2]);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.shared.table.load();
        f.debug_tuple("Gate").field(&**table).finish()
    }
}

/// What is locked here is replaced as a whole.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
