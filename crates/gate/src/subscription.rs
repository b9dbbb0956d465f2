//! Hears what a License Client says, on one connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use http::{StatusCode, header};
use http_body_util::BodyDataStream;
use license_core::announcement::{Announcement, Envelope};
use reqwest::{Url, redirect};
use sse_stream::SseByteStream;

use crate::address::{Address, Secret};
use crate::error::{ContactError, GateError};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is taken for dead after a day at the latest.
const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest event that is read: 10,000 features with the longest keys take 8 MB.
const MAX_EVENT_BYTES: usize = 32 * 1024 * 1024;

/// Where to hear what.
pub(crate) struct Subscription {
    http: reqwest::Client,
    address: Address,
    events: Url,
    token: Option<Secret>,
    idle_timeout: Duration,
}

/// What the connection to a License Client behind https is made with, in PEM.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) roots: Vec<Secret>,
    pub(crate) client: Option<Secret>,
}

impl TlsFiles {
    /// Why an HTTP client cannot be made: what is in a certificate is read last.
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
    /// Prepares to hear the License Client at `address`, with what is signed or without.
    pub(crate) fn new(
        address: Address,
        signed: bool,
        token: Option<Secret>,
        idle_timeout: Duration,
        tls: &TlsFiles,
    ) -> Result<Self, GateError> {
        let idle_timeout = idle_timeout.min(MAX_IDLE_TIMEOUT);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(idle_timeout)
            .redirect(redirect::Policy::none())
            // A License Client is next door, and no proxy is before it.
            .no_proxy();
        let http = with_tls(http, tls)?;
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
            idle_timeout,
        })
    }

    /// Without secrets.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Connects, and passes on everything that is said until contact is lost.
    pub(crate) async fn hear(
        &self,
        mut said: impl FnMut(Announcement, &Envelope) -> Result<(), ContactError>,
    ) -> Result<Infallible, ContactError> {
        let mut request = self.http.get(self.events.clone());
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        // The library's errors would repeat the URL.
        let sent = request.send().await.map_err(reqwest::Error::without_url);
        let response = sent.map_err(|error| ContactError::Connection(chain(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(ContactError::Untrusted),
            status => return Err(ContactError::Status(status.as_u16())),
        }
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
        // The state comes first, and immediately; after that comments will do.
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
                why: "it contains no certificate".to_owned(),
            });
        }
        roots.extend(certificates);
    }
    // A site that has a certificate authority of its own trusts no other.
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

/// What broke a stream: the library wraps what we have said ourselves.
fn broken(error: sse_stream::Error) -> ContactError {
    match error {
        sse_stream::Error::Body(inner) => match inner.downcast::<ContactError>() {
            Ok(ours) => *ours,
            Err(other) => ContactError::Interrupted(chain(&*other)),
        },
        other => ContactError::Unreadable(chain(&other)),
    }
}

/// An error with what has led to it: the outermost one says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = errors.map(ToString::to_string).collect();
    texts.join(": ")
}
