//! Who may perform administration: programs with the token, and browsers with a session.
//!
//! Sites need neither: their license key decides what they may do.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use license_service::admin_token::{AdminToken, ShownToken};
use license_service::client_address::TrustedProxies;
use license_service::clock::Clock;
use license_service::hosts::{AllowedHost, Hosts};
use license_service::sessions::{Door, Sessions, SignInError};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::audit::Actor;
use crate::http::error::ApiError;

/// Maximum length of the URL of a page shown after sign-in, in bytes; longer ones are ignored.
pub(crate) const MAX_NEXT_BYTES: usize = 2 * 1024;

/// The rules, built at start.
pub struct Access {
    token: Option<AdminToken>,
    hosts: Hosts,
    proxies: TrustedProxies,
    /// Logged only once, because anyone can send the header.
    warned_of_proxy: Once,
    /// Callers that used a wrong token, and the names of sessions, which are in the database.
    pub sessions: Sessions,
}

impl Access {
    /// Without a token, access is always refused.
    #[must_use]
    pub fn new(
        token: Option<AdminToken>,
        allowed_hosts: &[AllowedHost],
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            token,
            hosts: Hosts::new(allowed_hosts),
            proxies: TrustedProxies::default(),
            warned_of_proxy: Once::new(),
            sessions: Sessions::new("license_server_session", token, clock),
        }
    }

    /// Whether a request carries the token. Health checks and browsers send none, which does not
    /// count as a guess; a wrong token is logged and counted.
    ///
    /// # Errors
    /// For a wrong token: 401, or 429 for too many.
    pub(super) fn is_administrator(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<bool, ApiError> {
        match self.token.map(|token| token.shown_in(headers)) {
            Some(ShownToken::Right) => Ok(true),
            Some(ShownToken::None) | None => Ok(false),
            Some(ShownToken::Wrong) => {
                tracing::warn!(security = true, peer = %address, "wrong administrator token");
                Err(match self.sessions.note_failure(Door::Api, address) {
                    true => ApiError::Unauthorized,
                    false => ApiError::SignIn(SignInError::TooMany),
                })
            }
        }
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
pub(super) fn csrf_layer() -> CsrfLayer<fn(ProtectionError) -> Response> {
    let reject: fn(ProtectionError) -> Response = |_| ApiError::CrossSite.into_response();
    CsrfLayer::new().with_rejection_response(reject)
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

/// Lets programs with the token through.
pub(super) async fn with_token(
    State(access): State<Arc<Access>>,
    ClientAddress(address): ClientAddress,
    mut request: Request,
    next: Next,
) -> Response {
    if access.token.is_none() {
        return ApiError::NoToken.into_response();
    }
    match access.is_administrator(request.headers(), address) {
        Ok(true) => {}
        Ok(false) => return ApiError::Unauthorized.into_response(),
        Err(refusal) => return refusal.into_response(),
    }
    let actor = Actor::Api(address);
    request.extensions_mut().insert(actor);
    next.run(request).await
}
