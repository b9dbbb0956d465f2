//! How a gate is made.

use std::sync::Arc;
use std::time::Duration;

use license_core::keyring::{Keyring, KeyringError};
use tokio::runtime::Handle;

use crate::address::{Address, Secret};
use crate::clock;
use crate::follow::{Subscription, follow, keep_time};
use crate::gate::Gate;
use crate::known::{Known, WithoutContact};
use crate::live::Live;
use crate::trusted_keys::TrustedKeys;

/// How long contact may be lost before [`WithoutContact::Deny`] and
/// [`WithoutContact::Allow`] take effect: longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// After how long without a byte a connection is taken for dead: a License
/// Client sends something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// Settings of a gate: see [`Gate::builder`].
#[derive(Debug)]
pub struct GateBuilder {
    url: Secret,
    token: Option<Secret>,
    keys: Option<String>,
    installation: Option<String>,
    without_contact: WithoutContact,
    patience: Duration,
    silence: Duration,
}

/// Why a gate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The address is none. It is not shown, because it may hold a password.
    #[error(
        "not the address of a License Client, which looks like http://license-client:8010 ({why})"
    )]
    Address {
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
            url: Secret::new(url),
            token: None,
            keys: None,
            installation: None,
            without_contact: WithoutContact::default(),
            patience: PATIENCE,
            silence: SILENCE,
        }
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
        self.token = Some(Secret::new(token));
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
        let address = |why: String| GateError::Address { why };
        let base = Address::parse(&self.url).map_err(|why| address(why.to_owned()))?;
        let schemes: &[&str] = if cfg!(feature = "tls") {
            &["http", "https"]
        } else {
            &["http"]
        };
        if !schemes.contains(&base.expose().scheme()) {
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
        let subscription = Subscription::new(base, keys.is_some(), self.token, self.silence)?;
        let known = Known::nothing(
            self.without_contact,
            self.patience,
            keys,
            &clock::readings(),
        );
        let live = Arc::new(Live::new(known));
        let tasks = [
            runtime.spawn(follow(live.clone(), subscription)),
            runtime.spawn(keep_time(live.clone())),
        ];
        Ok(Gate::of(live, tasks.map(|task| task.abort_handle())))
    }
}
