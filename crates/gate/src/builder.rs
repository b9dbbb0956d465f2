//! Configures and starts a gate.

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

/// Default delay between losing contact and [`WithoutContact::Deny`] or
/// [`WithoutContact::Allow`] taking effect: longer than a restart takes.
const DEFAULT_CONTACT_TIMEOUT: Duration = Duration::from_secs(60);
/// Default time without data after which a connection is considered dead: a License
/// Client sends something every 15 s.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Settings of a gate: see [`Gate::builder`]. `Debug` does not show its secrets.
#[derive(Clone)]
#[must_use = "a gate does nothing until it is started"]
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
    /// Configures a gate that follows the License Client at `url`, such as
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
    /// Trusts only what the keys of this JWK Set have signed: the content of the file that
    /// `license-server keys export` writes. Later key sets of the vendor are verified along their
    /// chain of signatures.
    ///
    /// The License Client sends signed licenses only to trusted callers: add the
    /// gateway to its `TRUSTED_NETWORKS`, or set a [token](Self::token).
    pub fn keys(mut self, jwk_set: &str) -> Self {
        self.keys = Some(jwk_set.to_owned());
        self
    }

    /// With [keys](Self::keys): accepts only licenses of this installation, so that
    /// a license copied from another site is rejected.
    pub fn installation(mut self, id: &str) -> Self {
        self.installation = Some(id.to_owned());
        self
    }

    /// The License Client's `ADMIN_TOKEN`.
    ///
    /// While the License Client is not running, any user of its machine can listen on its port. On
    /// Linux, the token is therefore sent to an `http` address of the gateway's own machine only if
    /// root, the gateway's user, the owner of `/var/lib/license-client`, or a [named
    /// user](Self::listener_user) is listening there. On other systems it is sent to any program
    /// that answers: use `https`, or add the gateway to the License Client's `TRUSTED_NETWORKS`
    /// instead.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// Also sends the [token](Self::token) to programs of the user with this id, who runs the
    /// License Client on the gateway's machine. Can be called several times. If users are named, a
    /// gate without a token also connects to an `http` address of its machine only if one of the
    /// users who may receive the token is listening there.
    pub fn listener_user(mut self, id: u32) -> Self {
        self.listener_users.insert(id);
        self
    }

    /// What to do without contact; [`WithoutContact::KeepUntilEnd`] by default.
    pub fn without_contact(mut self, policy: WithoutContact) -> Self {
        self.without_contact = policy;
        self
    }

    /// The delay between losing contact and [`WithoutContact::Deny`] or
    /// [`WithoutContact::Allow`] taking effect; 60 s by default.
    pub fn contact_timeout(mut self, timeout: Duration) -> Self {
        self.contact_timeout = timeout;
        self
    }

    /// The time without data after which a connection is considered dead; 45 s by default,
    /// at most one day. A License Client sends something every 15 s.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Trusts only certificates signed by these root certificates, in PEM. Can be called
    /// several times.
    #[cfg(feature = "tls")]
    pub fn root_certificate(mut self, pem: &str) -> Self {
        self.tls.roots.push(Secret::new(pem));
        self
    }

    /// The gateway's client certificate: the certificate followed by its private key, in
    /// PEM.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, pem: &str) -> Self {
        self.tls.client = Some(Secret::new(pem));
        self
    }

    /// Calls `hook` for every decision. Can be called several times.
    pub fn hook(mut self, hook: impl Hook) -> Self {
        self.options.hooks.push(Arc::new(hook));
        self
    }

    /// Builds the responses to refused requests, for all layers of this gate: see
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

    /// Starts following the License Client, on the gate's own thread. The License
    /// Client does not have to be running yet, and the program needs no async runtime.
    ///
    /// A process that forks has to start its gates after the fork: threads do not
    /// survive a fork, and a gate without its thread has lost contact.
    ///
    /// # Errors
    /// [`GateError`] if a setting is invalid.
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
            let why = format!("expected {expected}; https requires the crate feature 'tls'");
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
