//! Access control: networks and the token, host names, origins.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use license_core::license_key;
use license_service::admin_token::{AdminToken, ShownToken};
use license_service::client_address::TrustedProxies;
use license_service::clock::Clock;
use license_service::cross_site::is_cross_site;
use license_service::direct::Head;
use license_service::hosts::{AllowedHost, Hosts};
use license_service::loopback;
use license_service::presentable_url::presentable_value;
use license_service::request_body::{MAX_LONG_BODY_BYTES, allow_bytes};
use license_service::sessions::{Door, Sessions, SignInError};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::attached_networks::{AttachedNetworks, AttachedNetworksError};
use crate::config::TrustedNetwork;
use crate::http::error::{ApiError, TokenRequired};

/// The paths that are answered regardless of the name in `Host`: orchestrators, load balancers and
/// Prometheus call by names of their own, or by none. The responses contain no license key and
/// change nothing.
const ANSWERED_TO_ANY_NAME: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// Headers in which proxies name the caller. A request with one of these is not local, regardless
/// of its value.
const PASSED_ON: [&str; 3] = ["x-forwarded-for", "forwarded", "x-real-ip"];

/// The rules, built at start.
pub struct Access {
    networks: Vec<IpNet>,
    attached: Option<AttachedNetworks>,
    token: Option<AdminToken>,
    hosts: Hosts,
    origins: Vec<HeaderValue>,
    proxies: TrustedProxies,
    /// Browsers that have signed in with the token.
    pub sessions: Sessions,
}

/// Why the rules cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// An entry of `CORS_ALLOWED_ORIGINS` is not an origin.
    #[error(
        "CORS_ALLOWED_ORIGINS: '{0}' is not an origin. Expected a scheme, a host and no path, such as \
         https://vms.example or http://10.1.2.3:8080; list every host, because '*' is not supported"
    )]
    Origin(String),
    /// The networks of this machine cannot be read.
    #[error("TRUSTED_NETWORKS: {0}; list networks such as 10.1.0.0/16 instead")]
    Attached(#[from] AttachedNetworksError),
}

/// Whether a request may make changes, and see license keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// From a trusted network, with the token, or in a session.
    pub trusted: bool,
    /// In a session.
    pub signed_in: bool,
}

impl Caller {
    /// A license key as displayed to this caller.
    #[must_use]
    pub fn sees(self, key: &str) -> String {
        if self.trusted {
            key.to_owned()
        } else {
            license_key::mask(key)
        }
    }
}

impl Access {
    /// Creates the rules from the settings.
    ///
    /// # Errors
    /// One [`AccessError`] for each setting that makes no rule.
    pub fn new(
        networks: &[TrustedNetwork],
        token: Option<AdminToken>,
        allowed_hosts: &[AllowedHost],
        cors_allowed_origins: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AccessError> {
        let mut origins = Vec::new();
        for origin in cors_allowed_origins {
            let wrong = || AccessError::Origin(presentable_value(origin));
            let origin = as_browsers_write_it(origin).ok_or_else(wrong)?;
            origins.push(origin.parse().map_err(|_| wrong())?);
        }
        let attached = TrustedNetwork::attached(networks)?;
        Ok(Self {
            networks: trusted(networks, attached.as_ref()),
            attached,
            token,
            hosts: Hosts::new(allowed_hosts),
            origins,
            proxies: TrustedProxies::default(),
            sessions: Sessions::new("license_session", token, clock),
        })
    }

    /// The same behind this many trusted proxies.
    #[must_use]
    pub fn behind(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// The address that a request comes from, for the log and for counting wrong tokens. It never
    /// makes a caller trusted: callers forwarded by a proxy are not local.
    #[must_use]
    pub fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        self.proxies.client_address(peer.ip(), headers)
    }

    /// Answers browsers of the allowed origins. If no origins are allowed, no header is added, and browsers
    /// hide the responses from pages of other sites.
    #[must_use]
    pub fn cors_layer(&self) -> tower::util::Either<CorsLayer, tower::layer::util::Identity> {
        if self.origins.is_empty() {
            return tower::util::Either::Right(tower::layer::util::Identity::new());
        }
        tower::util::Either::Left(
            CorsLayer::new()
                .allow_origin(AllowOrigin::list(self.origins.clone()))
                .allow_methods([Method::GET, Method::POST, Method::PUT])
                // Libraries used by these pages add their own headers, for tracing and for streams;
                // none of them matters more than the origin.
                .allow_headers(AllowHeaders::mirror_request())
                // The header that OpenFeature's provider for browsers compares.
                .expose_headers([header::ETAG]),
        )
    }

    /// Whether no caller may make changes.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.networks.is_empty() && self.token.is_none()
    }

    /// The networks of `TRUSTED_NETWORKS`.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// The networks of `attached` and `gateway`, if the setting has one of them.
    #[must_use]
    pub fn attached(&self) -> Option<&AttachedNetworks> {
        self.attached.as_ref()
    }

    /// Whether pages of other sites may call the service.
    #[must_use]
    pub fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Who calls, if the request is in no session.
    #[must_use]
    pub fn caller_without_session(&self, peer: SocketAddr, head: &Head<'_>) -> Caller {
        let is_passed_on = PASSED_ON.iter().any(|name| head.value(name).is_some());
        let shown = head.value(header::AUTHORIZATION.as_str());
        Caller {
            trusted: self.trusts_one(peer.ip(), is_passed_on, shown),
            signed_in: false,
        }
    }

    /// Whether the service answers under this `Host`.
    #[must_use]
    pub fn accepts_host(&self, host: &[u8]) -> bool {
        self.hosts.accepts_header(host)
    }

    /// The token that a request carries. Without a token, none is wrong.
    fn shown_token(&self, headers: &HeaderMap) -> ShownToken {
        let shown = self.token.map(|token| token.shown_in(headers));
        shown.unwrap_or(ShownToken::None)
    }

    /// The response to a call that needed the token. A wrong one is logged and counted, and answered
    /// with 429 if there were too many. Calls that do not need it are not affected: gateways pass on
    /// the tokens of visitors, which are for other services.
    fn judged(&self, shown: ShownToken, address: IpAddr, response: Response) -> Response {
        let is_needed = response.extensions().get::<TokenRequired>().is_some();
        if shown != ShownToken::Wrong || !is_needed {
            return response;
        }
        if !self.sessions.note_failure(Door::Api, address) {
            return ApiError::SignIn(SignInError::TooMany).into_response();
        }
        tracing::warn!(security = true, peer = %address, "wrong administrator token");
        response
    }

    fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> Caller {
        let signed_in = self.sessions.touch(headers);
        Caller {
            trusted: signed_in || self.trusts(peer, headers),
            signed_in,
        }
    }

    /// Under a name that is not accepted, the caller may be a page of another site in the browser of
    /// a trusted user (DNS rebinding): only the token counts, which no such page has.
    fn caller_by_any_name(&self, headers: &HeaderMap) -> Caller {
        let shown = headers.get(header::AUTHORIZATION);
        let shown = shown.map(HeaderValue::as_bytes);
        Caller {
            trusted: self.token.is_some_and(|token| token.is_shown_as(shown)),
            signed_in: false,
        }
    }

    fn trusts(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let is_passed_on = PASSED_ON.iter().any(|name| headers.contains_key(*name));
        let shown = headers.get(header::AUTHORIZATION);
        self.trusts_one(peer, is_passed_on, shown.map(HeaderValue::as_bytes))
    }

    /// `shown` is the value of the header `Authorization`.
    fn trusts_one(&self, peer: IpAddr, is_passed_on: bool, shown: Option<&[u8]>) -> bool {
        let peer = peer.to_canonical();
        // Behind a proxy the peer is the proxy, not the caller.
        let is_near = !is_passed_on && self.networks.iter().any(|it| it.contains(&peer));
        is_near || self.token.is_some_and(|token| token.is_shown_as(shown))
    }
}

/// Checks the `Host` of a request, and records who is calling. Wrong tokens are counted here.
pub(super) async fn identify(
    State(access): State<Arc<Access>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match access.hosts.unknown_host(&request) {
        Some(_) if ANSWERED_TO_ANY_NAME.contains(&request.uri().path()) => {
            access.caller_by_any_name(request.headers())
        }
        Some(host) => return ApiError::UnknownHost(host).into_response(),
        None => access.caller(peer.ip(), request.headers()),
    };
    let shown = access.shown_token(request.headers());
    let address = access.client_address(peer, request.headers());
    request.extensions_mut().insert(caller);
    access.judged(shown, address, next.run(request).await)
}

/// Refuses changes sent by a page on another site.
pub(super) async fn only_same_site(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, uri) = (request.method(), request.uri());
    match is_cross_site(method, uri, request.headers(), &access.origins) {
        true => ApiError::CrossSite.into_response(),
        false => next.run(request).await,
    }
}

/// Records who is calling, on a port where changes are impossible and host names are irrelevant.
pub(super) async fn note_caller(
    State(access): State<Arc<Access>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = Caller {
        trusted: access.trusts(peer.ip(), request.headers()),
        signed_in: false,
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Refuses callers that may not make changes.
pub(super) async fn only_trusted(
    caller: Caller,
    request: axum::http::Request<Body>,
    next: Next,
) -> Response {
    if caller.trusted {
        allow_bytes(request.extensions(), MAX_LONG_BODY_BYTES);
        next.run(request).await
    } else {
        ApiError::Untrusted.into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    /// Every request has passed `identify`; a request that has not is a bug.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().copied().ok_or(ApiError::Internal)
    }
}

/// An origin in the only form that browsers send: lower case, punycode, no default port, no
/// trailing slash.
fn as_browsers_write_it(origin: &str) -> Option<String> {
    let url = url::Url::parse(origin.trim()).ok()?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && !url.host_str()?.contains('*');
    is_origin.then(|| url.origin().ascii_serialization())
}

fn trusted(networks: &[TrustedNetwork], attached: Option<&AttachedNetworks>) -> Vec<IpNet> {
    let mut trusted = Vec::new();
    for network in networks {
        match network {
            TrustedNetwork::Loopback => trusted.extend(loopback::NETWORKS),
            TrustedNetwork::Attached => {
                trusted.extend(attached.into_iter().flat_map(AttachedNetworks::neighbours));
            }
            TrustedNetwork::Gateway => {
                let forwarders = attached.into_iter().flat_map(AttachedNetworks::forwarders);
                trusted.extend(forwarders.copied().map(IpNet::from));
            }
            TrustedNetwork::Cidr(network) => trusted.push(*network),
            TrustedNetwork::None => {}
        }
    }
    trusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(networks: &[TrustedNetwork], token: Option<&str>) -> Access {
        let token = token.map(|token| AdminToken::new(&token.into()));
        let clock = Arc::new(license_service::clock::SystemClock);
        Access::new(networks, token, &[], &[], clock).unwrap()
    }

    #[test]
    fn networks_and_the_token_are_trusted_and_nobody_else() {
        let access = access(
            &[TrustedNetwork::Loopback, "10.1.0.0/16".parse().unwrap()],
            Some("0123456789abcdef"),
        );
        let none = HeaderMap::new();
        let trusts = |ip: &str, headers: &HeaderMap| access.trusts(ip.parse().unwrap(), headers);
        assert!(trusts("127.0.0.9", &none));
        assert!(trusts("::1", &none));
        assert!(trusts("::ffff:127.0.0.1", &none));
        assert!(trusts("10.1.2.3", &none));
        assert!(!trusts("10.2.0.1", &none));
        let with = |value: &'static str| {
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))])
        };
        assert!(trusts("10.2.0.1", &with("Bearer 0123456789abcdef")));
        assert!(!trusts("10.2.0.1", &with("Bearer 0123456789abcdeF")));
        assert!(!trusts("10.2.0.1", &with("Basic 0123456789abcdef")));
        assert!(!trusts("10.2.0.1", &with("Bearer ")));
    }

    #[test]
    fn without_a_token_no_token_is_right() {
        let access = access(&[], None);
        let empty =
            HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer "))]);
        assert!(!access.trusts("127.0.0.1".parse().unwrap(), &empty));
    }
}
