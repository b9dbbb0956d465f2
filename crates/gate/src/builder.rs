//! How a gate is made.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use license_core::keyring::Keyring;
use tokio::runtime::Builder as RuntimeBuilder;

use crate::address::{Address, Secret};
use crate::clock;
use crate::error::GateError;
use crate::follower;
use crate::gate::Gate;
use crate::hook::Hook;
use crate::known::Known;
use crate::shared::{Options, Shared};
use crate::subscription::{Subscription, TlsFiles};
use crate::trusted_keys::TrustedKeys;
use crate::without_contact::WithoutContact;

/// How long contact may be lost before [`WithoutContact::Deny`] and
/// [`WithoutContact::Allow`] take effect: longer than a restart takes.
const DEFAULT_CONTACT_TIMEOUT: Duration = Duration::from_secs(60);
/// After how long without a byte a connection is taken for dead: a License
/// Client sends something every 15 s.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Settings of a gate: see [`Gate::builder`]. It never shows its secrets.
#[derive(Clone)]
#[must_use = "a gate has to be started"]
pub struct GateBuilder {
    url: Secret,
    token: Option<Secret>,
    listener_users: BTreeSet<u32>,
    keys: Option<String>,
    installation: Option<String>,
    without_contact: WithoutContact,
    contact_timeout: Duration,
    idle_timeout: Duration,
    tls: TlsFiles,
    options: Options,
}

impl Gate {
    /// Begins a gate that follows the License Client at `url`, such as
    /// `http://license-client:8010`.
    pub fn builder(url: &str) -> GateBuilder {
        GateBuilder {
            url: Secret::new(url),
            token: None,
            listener_users: BTreeSet::new(),
            keys: None,
            installation: None,
            without_contact: WithoutContact::default(),
            contact_timeout: DEFAULT_CONTACT_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            tls: TlsFiles::default(),
            options: Options::default(),
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
    pub fn keys(mut self, jwk_set: &str) -> Self {
        self.keys = Some(jwk_set.to_owned());
        self
    }

    /// With [keys](Self::keys): believes only licenses of this installation,
    /// so that nobody brings one from elsewhere.
    pub fn installation(mut self, id: &str) -> Self {
        self.installation = Some(id.to_owned());
        self
    }

    /// The License Client's `ADMIN_TOKEN`.
    ///
    /// While the License Client does not run, any user of its machine can listen on its
    /// port. So on Linux the token is sent to an `http` address of the gateway's own
    /// machine only if root, the gateway's user, the owner of `/var/lib/license-client`,
    /// or a [user that is named](Self::listener_user) listens there. On other systems it
    /// is sent to whatever answers: use `https`, or add the gateway to the License
    /// Client's `TRUSTED_NETWORKS` instead.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// The [token](Self::token) may also be sent to programs of this user, by id: the one
    /// who runs the License Client on the gateway's machine. Can be called several times.
    pub fn listener_user(mut self, id: u32) -> Self {
        self.listener_users.insert(id);
        self
    }

    /// What to do when there is no contact; [`WithoutContact::KeepUntilEnd`] by default.
    pub fn without_contact(mut self, policy: WithoutContact) -> Self {
        self.without_contact = policy;
        self
    }

    /// For how long contact may be lost before [`WithoutContact::Deny`] and
    /// [`WithoutContact::Allow`] take effect; 60 s by default.
    pub fn contact_timeout(mut self, timeout: Duration) -> Self {
        self.contact_timeout = timeout;
        self
    }

    /// After how long without a byte a connection is taken for dead; 45 s by default, a
    /// day at most. A License Client sends something every 15 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Trusts certificates that this one has signed, and no others: one or more root
    /// certificates in PEM. Can be called several times.
    #[cfg(feature = "tls")]
    pub fn root_certificate(mut self, pem: &str) -> Self {
        self.tls.roots.push(Secret::new(pem));
        self
    }

    /// Proves with this certificate who the gateway is: the certificate, then its private
    /// key, in PEM.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, pem: &str) -> Self {
        self.tls.client = Some(Secret::new(pem));
        self
    }

    /// Is told of every decision. Can be called several times.
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.options.hooks.push(Arc::new(hook));
        self
    }

    /// Answers requests that are refused, for all layers of this gate: see
    /// [`GateLayer::on_refusal`](crate::GateLayer::on_refusal).
    pub fn on_refusal(
        mut self,
        answer: impl Fn(&crate::Refusal<'_>) -> http::Response<bytes::Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.options.on_refusal = Some(Arc::new(answer));
        self
    }

    pub(crate) fn into_options(self) -> Options {
        self.options
    }

    /// Starts to follow the License Client, on a thread of the gate's own. The License
    /// Client need not be there yet, and the program needs no runtime.
    ///
    /// A process that forks has to start its gates afterwards: a thread does not
    /// survive a fork, and a gate without its thread has lost contact.
    ///
    /// # Errors
    /// One [`GateError`] for each setting that cannot be used.
    pub fn start(self) -> Result<Gate, GateError> {
        let address = |why: String| GateError::Address { why };
        let base = Address::parse(&self.url).map_err(|why| address(why.to_owned()))?;
        let schemes: &[&str] = if cfg!(feature = "tls") {
            &["http", "https"]
        } else {
            &["http"]
        };
        if !schemes.contains(&base.expose().scheme()) {
            let expected = schemes.join(" or ");
            let why = format!("expected {expected}; https needs the feature 'tls'");
            return Err(address(why));
        }
        let keys = self.keys.as_deref().map(Keyring::from_json).transpose();
        let keys = keys.map_err(|error| GateError::Keys(error.to_string()))?;
        if keys.is_some() && self.without_contact == WithoutContact::Allow {
            return Err(GateError::Contradiction);
        }
        let keys = keys.map(|keys| TrustedKeys::new(keys, self.installation));
        let subscription = Subscription::new(
            base,
            keys.is_some(),
            self.token,
            self.listener_users,
            self.idle_timeout,
            &self.tls,
        )?;
        let readings = clock::readings();
        let mut known = Known::nothing(self.without_contact, self.contact_timeout, keys, &readings);
        let table = known.table(&readings, clock::ticks());
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| GateError::Thread(error.to_string()))?;
        let handle = Some(runtime.handle().clone());
        let shared = Arc::new(Shared::new(table, self.options, handle));
        follower::start(&shared, known, subscription, runtime)?;
        Ok(Gate::of(shared))
    }
}

impl fmt::Debug for GateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateBuilder")
            .field("url", &self.url)
            .field("token", &self.token)
            .field("listener_users", &self.listener_users)
            .field("has_keys", &self.keys.is_some())
            .field("installation", &self.installation)
            .field("without_contact", &self.without_contact)
            .field("contact_timeout", &self.contact_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}
