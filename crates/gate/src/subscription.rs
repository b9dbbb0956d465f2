//! Subscribes to the events of a License Client, on one connection.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{StatusCode, header};
use http_body_util::BodyDataStream;
use license_core::announcement::{Announcement, Envelope};
use reqwest::{Response, Url, redirect};
use sse_stream::SseByteStream;

use crate::address::{Address, Secret};
use crate::error::{ContactError, GateError};

/// Timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for the head of the response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is renewed after this many idle timeouts …
const MAX_AGE_IN_IDLE_TIMEOUTS: u32 = 6;
/// … and after this time at the latest.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// Maximum idle timeout of a connection: one day.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum length of an event: 10,000 features with keys of maximum length take 8 MB.
const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// A connection has reached its maximum age.
#[derive(Debug)]
pub(crate) struct Renewal;

/// Where to subscribe, and to what.
pub(crate) struct Subscription {
    http: reqwest::Client,
    address: Address,
    events: Url,
    token: Option<Secret>,
    /// Additional users whose listeners may receive the token.
    listener_users: BTreeSet<u32>,
    idle_timeout: Duration,
}

/// The certificates for connections to a License Client behind https, in PEM.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) roots: Vec<Secret>,
    pub(crate) client: Option<Secret>,
}

impl TlsFiles {
    /// Why an HTTP client cannot be created: the content of certificates is read last.
    fn blame(&self, why: String) -> GateError {
        let what = match (self.roots.is_empty(), &self.client) {
            (true, None) => return GateError::Http(why),
            (false, None) => "root certificate",
            (true, Some(_)) => "client certificate",
            (false, Some(_)) => "root certificate or the client certificate",
        };
        GateError::Certificate { what, why }
    }
}

impl Subscription {
    /// Prepares a subscription to the License Client at `address`, with or without signed
    /// documents.
    pub(crate) fn new(
        address: Address,
        signed: bool,
        token: Option<Secret>,
        listener_users: BTreeSet<u32>,
        idle_timeout: Duration,
        tls: &TlsFiles,
    ) -> Result<Self, GateError> {
        let idle_timeout = idle_timeout.min(MAX_IDLE_TIMEOUT);
        let http = with_tls(configured(idle_timeout), tls)?;
        let http = http.build().map_err(|error| tls.blame(chain(&error)))?;
        let mut events = address.expose().clone();
        if let Ok(mut path) = events.path_segments_mut() {
            path.pop_if_empty().extend(["api", "license", "events"]);
        }
        if signed {
            events.query_pairs_mut().append_pair("signed", "true");
        }
        Ok(Self {
            http,
            address,
            events,
            token,
            listener_users,
            idle_timeout,
        })
    }

    /// Without secrets.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether a request carries a secret in plain text.
    #[cfg(target_os = "linux")]
    fn sends_secret(&self) -> bool {
        let has_token = self.token.is_some() && self.events.scheme() == "http";
        has_token || license_listening_users::sends_secret(self.address.expose())
    }

    /// For a connection to this machine: the host, and the address on which only trusted users
    /// listen. `localhost` has two addresses, and while the License Client uses one, another user
    /// may listen on the other. Without a secret, and without named users, any user may listen if no
    /// trusted one does.
    #[cfg(target_os = "linux")]
    async fn proven_listener(
        &self,
        mut trusted: BTreeSet<u32>,
    ) -> Result<Option<(String, SocketAddr)>, ContactError> {
        use license_listening_users::{ListenerError, first_trusted};
        let (host, port) = (self.events.host_str(), self.events.port_or_known_default());
        let is_plain = self.events.scheme() == "http";
        let (true, Some(host), Some(port)) = (is_plain, host, port) else {
            return Ok(None);
        };
        let is_required = self.sends_secret() || !self.listener_users.is_empty();
        let failed = ContactError::Connection;
        let looking_up = tokio::net::lookup_host((host.trim_matches(['[', ']']), port));
        let found = tokio::time::timeout(CONNECT_TIMEOUT, looking_up).await;
        let found = found.map_err(|_| failed("the name server did not respond".to_owned()))?;
        let found = found.map_err(|error| failed(error.to_string()))?;
        trusted.extend(&self.listener_users);
        match first_trusted(found, &trusted) {
            Ok(address) => Ok(address.map(|address| (host.to_owned(), address))),
            Err(_) if !is_required => Ok(None),
            Err(ListenerError::Foreign { address, user }) => {
                Err(ContactError::ForeignListener { address, user })
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The user who listens cannot be determined here.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_async, reason = "on Linux a name is looked up")]
    async fn proven_listener(
        &self,
        _: BTreeSet<u32>,
    ) -> Result<Option<(String, SocketAddr)>, ContactError> {
        Ok(None)
    }

    /// Connects, and passes on all events until contact is lost or the connection is to be renewed.
    /// Another program that was listening for a moment could otherwise keep the connection.
    pub(crate) async fn hear(
        &self,
        said: impl FnMut(Announcement, &Envelope) -> Result<(), ContactError>,
    ) -> Result<Renewal, ContactError> {
        let events = self.connect().await?;
        match tokio::time::timeout(self.max_age(), self.pass_on(events, said)).await {
            Ok(lost) => lost.map(|never| match never {}),
            Err(_) => Ok(Renewal),
        }
    }

    /// After how long a connection is renewed: up to a tenth less at random, so that many gates do
    /// not reconnect together.
    fn max_age(&self) -> Duration {
        let max_age = MAX_AGE.min(self.idle_timeout * MAX_AGE_IN_IDLE_TIMEOUTS);
        let random = RandomState::new().build_hasher().finish() % 1_000;
        max_age - max_age / 10 * u32::try_from(random).unwrap_or_default() / 1_000
    }

    async fn connect(&self) -> Result<Response, ContactError> {
        let http = match self.proven_listener(always_trusted()).await? {
            Some((host, address)) => configured(self.idle_timeout)
                .resolve(&host, address)
                .build()
                .map_err(|error| ContactError::Connection(chain(&error)))?,
            None => self.http.clone(),
        };
        let mut request = http.get(self.events.clone());
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        // The library's errors would repeat the URL.
        let sent = tokio::time::timeout(HEAD_TIMEOUT, request.send()).await;
        let sent = sent.map_err(|_| ContactError::Silent)?;
        let sent = sent.map_err(reqwest::Error::without_url);
        let response = sent.map_err(|error| ContactError::Connection(chain(&error)))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => Err(ContactError::Untrusted),
            status => Err(ContactError::Status(status.as_u16())),
        }
    }

    async fn pass_on(
        &self,
        response: Response,
        mut said: impl FnMut(Announcement, &Envelope) -> Result<(), ContactError>,
    ) -> Result<Infallible, ContactError> {
        let unread = Arc::new(AtomicUsize::new(0));
        let body = http::Response::from(response).into_body();
        let bounded = BodyDataStream::new(body).map({
            let unread = unread.clone();
            move |chunk| {
                let interrupted =
                    |error: reqwest::Error| ContactError::Interrupted(chain(&error.without_url()));
                let chunk = chunk.map_err(interrupted)?;
                match unread.fetch_add(chunk.len(), Ordering::Relaxed) {
                    0..MAX_EVENT_BYTES => Ok(chunk),
                    _ => Err(ContactError::TooLong {
                        max_bytes: MAX_EVENT_BYTES,
                    }),
                }
            }
        });
        let mut events = SseByteStream::new(bounded);
        // The state is sent first, and immediately; after that, comments are enough.
        let mut timeout = self.idle_timeout;
        loop {
            let event = tokio::time::timeout(timeout, events.next()).await;
            let Some(event) = event.map_err(|_| ContactError::Silent)? else {
                return Err(ContactError::Ended);
            };
            timeout = Duration::MAX;
            unread.store(0, Ordering::Relaxed);
            let Some(data) = event.map_err(broken)?.data else {
                continue;
            };
            let unreadable = |error: serde_json::Error| ContactError::Unreadable(error.to_string());
            let announcement: Announcement = serde_json::from_str(&data).map_err(unreadable)?;
            let envelope: Envelope = serde_json::from_str(&data).map_err(unreadable)?;
            drop(data);
            said(announcement, &envelope)?;
        }
    }
}

/// Users whose programs may always receive the token.
fn always_trusted() -> BTreeSet<u32> {
    #[cfg(target_os = "linux")]
    {
        use license_listening_users::{PACKAGED_STATE_DIR, trusted_users};
        trusted_users([std::path::Path::new(PACKAGED_STATE_DIR)])
    }
    #[cfg(not(target_os = "linux"))]
    BTreeSet::new()
}

/// The settings of every connection.
fn configured(idle_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(idle_timeout)
        .redirect(redirect::Policy::none())
        // A License Client is on the local network, so no proxy is used.
        .no_proxy()
}

#[cfg(feature = "tls")]
fn with_tls(
    http: reqwest::ClientBuilder,
    tls: &TlsFiles,
) -> Result<reqwest::ClientBuilder, GateError> {
    let unreadable = |what| {
        move |error: reqwest::Error| GateError::Certificate {
            what,
            why: chain(&error),
        }
    };
    let mut roots = Vec::new();
    for pem in &tls.roots {
        let certificates = reqwest::Certificate::from_pem_bundle(pem.expose().as_bytes());
        let certificates = certificates.map_err(unreadable("root certificate"))?;
        if certificates.is_empty() {
            return Err(GateError::Certificate {
                what: "root certificate",
                why: "the PEM text contains no certificate".to_owned(),
            });
        }
        roots.extend(certificates);
    }
    // A site with its own certificate authority trusts no other authority.
    let http = match roots.is_empty() {
        true => http,
        false => http.tls_certs_only(roots),
    };
    let Some(pem) = &tls.client else {
        return Ok(http);
    };
    let identity = reqwest::Identity::from_pem(pem.expose().as_bytes());
    Ok(http.identity(identity.map_err(unreadable("client certificate"))?))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature 'tls' it fails")]
fn with_tls(
    http: reqwest::ClientBuilder,
    _: &TlsFiles,
) -> Result<reqwest::ClientBuilder, GateError> {
    Ok(http)
}

/// The cause of a broken stream: the library wraps our own errors.
fn broken(error: sse_stream::Error) -> ContactError {
    match error {
        sse_stream::Error::Body(inner) => match inner.downcast::<ContactError>() {
            Ok(ours) => *ours,
            Err(other) => ContactError::Interrupted(chain(&*other)),
        },
        other => ContactError::Unreadable(chain(&other)),
    }
}

/// An error with its causes: the outermost error alone says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Accepts one connection, answers 401, and returns what was sent.
    fn listener() -> (u16, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).unwrap();
            let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        (port, listening)
    }

    fn subscription(url: &str) -> Subscription {
        Subscription::new(
            Address::parse(&Secret::new(url)).unwrap(),
            false,
            Some(Secret::new("hunter2hunter2hunter2")),
            BTreeSet::new(),
            Duration::from_secs(5),
            &TlsFiles::default(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn the_token_is_sent_to_a_trusted_users_listener() {
        for host in ["127.0.0.1", "localhost"] {
            let (port, listening) = listener();
            let subscription = subscription(&format!("http://{host}:{port}"));
            let heard = subscription.hear(|_, _| Ok(())).await;
            assert!(
                matches!(heard, Err(ContactError::Untrusted)),
                "{:?}",
                heard.err()
            );
            let request = listening.join().unwrap();
            assert!(
                request.contains("Bearer hunter2hunter2hunter2"),
                "{request}"
            );
            // Nothing listens there now, so no connection is made.
            let heard = subscription.hear(|_, _| Ok(())).await.unwrap_err();
            assert!(
                heard.to_string().contains("no License Client is listening"),
                "{heard}"
            );
        }
    }

    #[tokio::test]
    async fn no_secret_is_sent_to_another_users_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = rustix::process::geteuid().as_raw();
        let others = BTreeSet::from([me + 1]);
        let url = format!("http://localhost:{port}");
        let proven = subscription(&url).proven_listener(others.clone()).await;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(
            proven,
            Err(ContactError::ForeignListener { address, user: me })
        );
        // A named user may receive it.
        let mut named = subscription(&url);
        named.listener_users.insert(me);
        let proven = named.proven_listener(others.clone()).await;
        assert_eq!(proven, Ok(Some(("localhost".to_owned(), address))));
        // A user name or a password in the address is a secret as well.
        for secret in ["//me:hunter2@", "//hunter2@"] {
            let mut with_secret = subscription(&url.replace("//", secret));
            with_secret.token = None;
            let proven = with_secret.proven_listener(others.clone()).await;
            assert!(proven.is_err(), "{proven:?}");
        }
        // Without a secret, or if a certificate proves the server's identity, any user may listen.
        let mut without = subscription(&url);
        without.token = None;
        assert_eq!(without.proven_listener(others.clone()).await, Ok(None));
        // But a trusted user's listener takes precedence, and named users are the only ones.
        let proven = without.proven_listener(BTreeSet::from([me])).await;
        assert_eq!(proven, Ok(Some(("localhost".to_owned(), address))));
        without.listener_users.insert(me + 2);
        let proven = without.proven_listener(others.clone()).await;
        assert_eq!(
            proven,
            Err(ContactError::ForeignListener { address, user: me })
        );
        let mut tls = subscription(&url.replace("http://", "https://me:hunter2@"));
        tls.events.set_scheme("https").unwrap();
        assert_eq!(tls.proven_listener(others).await, Ok(None));
    }
}
