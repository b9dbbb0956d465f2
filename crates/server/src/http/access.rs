//! Who may perform administration: programs with a token, and browsers with a session.
//!
//! Sites need neither: their license key decides what they may do.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use license_service::admin_token::{AdminToken, bearer};
use license_service::client_address::TrustedProxies;
use license_service::clock::Clock;
use license_service::cross_site::is_cross_site;
use license_service::hosts::{AllowedHost, Hosts};
use license_service::sessions::{Door, Sessions, SignInError};

use crate::http::HttpState;
use crate::http::caller::{Caller, Staff};
use crate::http::error::ApiError;
use crate::http::known_tokens::{KnownToken, KnownTokens, NotRead};
use crate::http::reader::Reader;
use crate::store::Store;

/// Maximum length of the URL of a page shown after sign-in, in bytes; longer ones are ignored.
pub(crate) const MAX_NEXT_BYTES: usize = 2 * 1024;

/// How long a response that only shows more to administrators waits for the database to check a token.
const SHOWING_MORE_TIMEOUT: Duration = Duration::from_millis(500);

/// The rules, built at start.
pub struct Access {
    /// The `ADMIN_TOKEN`.
    token: Option<AdminToken>,
    /// The tokens in the database.
    pub(crate) named: KnownTokens,
    clock: Arc<dyn Clock>,
    hosts: Hosts,
    proxies: TrustedProxies,
    /// Logged only once, because anyone can send the header.
    warned_of_proxy: Once,
    /// Callers that used a wrong token, and the names of sessions, which are in the database.
    pub sessions: Sessions,
}

impl Access {
    /// `token` is the `ADMIN_TOKEN`. Without it and named tokens, access is always refused.
    #[must_use]
    pub fn new(
        token: Option<AdminToken>,
        allowed_hosts: &[AllowedHost],
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            token,
            named: KnownTokens::default(),
            clock: clock.clone(),
            hosts: Hosts::new(allowed_hosts),
            proxies: TrustedProxies::default(),
            warned_of_proxy: Once::new(),
            sessions: Sessions::new("license_server_session", token, clock),
        }
    }

    /// Whether there is any token to sign in with, as far as is known.
    pub(crate) fn has_tokens(&self) -> bool {
        self.token.is_some() || !self.named.is_empty()
    }

    /// Whose token a request carries. Health checks and browsers send none, which does not count as
    /// a guess; a wrong token is logged and counted.
    ///
    /// # Errors
    /// For a wrong or expired token: 401, or 429 for too many wrong ones.
    pub(super) async fn caller(
        &self,
        store: &Store,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Option<Caller>, ApiError> {
        let Some(shown) = bearer(headers) else {
            return Ok(None);
        };
        let caller = self.owner(store, shown).await?;
        if caller.is_some() || !self.has_tokens() {
            return Ok(caller);
        }
        tracing::warn!(security = true, peer = %address, "wrong administrator token");
        Err(match self.sessions.note_failure(Door::Api, address) {
            true => ApiError::Unauthorized,
            false => ApiError::SignIn(SignInError::TooMany),
        })
    }

    /// The same for responses that only show more to administrators: a token that is wrong, or cannot
    /// be checked immediately, counts as none. Proxies with their own sign-in may add a token to every
    /// request.
    pub(super) async fn known_caller(
        &self,
        store: &Store,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Option<Caller> {
        let known = self.caller(store, headers, address);
        let known = tokio::time::timeout(SHOWING_MORE_TIMEOUT, known).await;
        known.ok().and_then(Result::ok).flatten()
    }

    /// Whose token was entered in the sign-in form.
    ///
    /// # Errors
    /// If it is missing, wrong or expired.
    pub(crate) async fn sign_in(
        &self,
        store: &Store,
        shown: &str,
        address: IpAddr,
    ) -> Result<Caller, ApiError> {
        if let Some(caller) = self.owner(store, shown).await? {
            return Ok(caller);
        }
        // An empty form is not a guess.
        let is_new = shown.is_empty() || self.sessions.note_failure(Door::Console, address);
        Err(ApiError::SignIn(match is_new {
            true => SignInError::WrongToken,
            false => SignInError::TooMany,
        }))
    }

    /// Whose token a text is. The correct token is never refused, regardless of how many wrong ones
    /// came before.
    async fn owner(&self, store: &Store, shown: &str) -> Result<Option<Caller>, ApiError> {
        if let Some(token) = self.token.filter(|token| token.is_quoted(shown)) {
            return Ok(Some(Caller::break_glass(token)));
        }
        let Some(known) = self.named.find(shown.trim_matches('"')).await? else {
            return Ok(None);
        };
        self.used(store, &known).await.map(Some)
    }

    /// The owner of a named token that is used now.
    ///
    /// # Errors
    /// If it has expired.
    async fn used(&self, store: &Store, known: &KnownToken) -> Result<Caller, ApiError> {
        let (token, now) = (&known.token, self.clock.now());
        if token.has_ended(now) {
            return Err(ApiError::TokenExpired(token.name.clone()));
        }
        let caller = Caller::named(known, self.clock.clone());
        let noting = |_| self.named.note_used(store, token, now);
        caller.clone().within_share(noting).await;
        Ok(caller)
    }

    /// Lets this server refuse a revoked token immediately; others notice within seconds.
    pub(crate) fn forget_token(&self, id: i64) {
        self.named.forget(id);
    }

    /// Makes a new token known to this server immediately; other servers notice it within seconds.
    pub(crate) async fn follow_addition(&self) {
        if self.named.reread().await.is_err() {
            tracing::warn!(
                "failed to read the tokens; a new token can be used when they are readable again"
            );
        }
    }

    /// Whose tokens these are: of the named tokens with these numbers, and of the `ADMIN_TOKEN` for
    /// `None`. Those that are revoked or have expired are left out.
    ///
    /// # Errors
    /// If one is not known, and the table cannot be read.
    pub(super) async fn owners(&self, tokens: &[Option<i64>]) -> Result<Vec<Caller>, NotRead> {
        let mut ids: Vec<i64> = tokens.iter().copied().flatten().collect();
        ids.sort_unstable();
        ids.dedup();
        let now = self.clock.now();
        let named = self.named.with_ids(&ids).await?;
        let named = named.into_iter().filter(|it| !it.token.has_ended(now));
        let named = named.map(|it| Caller::named(&it, self.clock.clone()));
        Ok(named.chain(self.token.map(Caller::break_glass)).collect())
    }

    /// The same behind this many trusted proxies.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }
}

/// The address that a request comes from: the peer's, or the one that trusted proxies report.
/// Nothing else here uses the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress
where
    Arc<Access>: FromRef<S>,
{
    type Rejection = ApiError;

    /// The listener records the peer of every request; a request without one is a bug.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let access = Arc::<Access>::from_ref(state);
        let peer: Option<&ConnectInfo<SocketAddr>> = parts.extensions.get();
        let ConnectInfo(peer) = peer.ok_or(ApiError::Internal)?;
        let proxies = access.proxies;
        if proxies.ignores_header(&parts.headers) {
            access.warned_of_proxy.call_once(|| {
                tracing::warn!(
                    "X-Forwarded-For is ignored, because TRUSTED_PROXIES is 0: behind a proxy \
                     all callers count as one address"
                );
            });
        }
        Ok(Self(proxies.client_address(peer.ip(), &parts.headers)))
    }
}

/// Refuses changes sent by a page on another site.
pub(super) async fn only_same_site(request: Request, next: Next) -> Response {
    match is_cross_site(request.method(), request.uri(), request.headers(), &[]) {
        true => ApiError::CrossSite.into_response(),
        false => next.run(request).await,
    }
}

/// Accepts or refuses a request by its `Host`.
pub(super) async fn by_known_host(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.hosts.unknown_host(&request) {
        Some(host) => ApiError::UnknownHost(host).into_response(),
        None => next.run(request).await,
    }
}

/// Lets programs with a token through.
pub(super) async fn with_token(
    State(state): State<HttpState>,
    ClientAddress(address): ClientAddress,
    mut request: Request,
    next: Next,
) -> Response {
    let (access, store) = (&state.access, &state.app.store);
    let caller = match access.caller(store, request.headers(), address).await {
        Ok(Some(caller)) => caller,
        Ok(None) if access.has_tokens() => return ApiError::Unauthorized.into_response(),
        Ok(None) => return ApiError::NoToken.into_response(),
        Err(refusal) => return refusal.into_response(),
    };
    let reader = Reader::with_token(caller.clone());
    let serve = |staff: Staff| {
        let extensions = request.extensions_mut();
        extensions.insert(staff.actor(Door::Api, address));
        extensions.insert(reader);
        next.run(request)
    };
    caller.within_share(serve).await
}
