//! Server-sent events: every change of what the site may use.
//!
//! A subscriber gets the current state, not the changes in between: a slow one misses only
//! intermediate states, and none are queued for it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::announced::Announced;
use crate::app::App;
use crate::entitled::envelope;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::body::unacceptable_query;
use crate::http::error::{ApiError, BodyErrors};
use crate::http::subscribers::{Origin, Subscription};

/// Interval of comments while nothing changes, so that proxies keep the connection open.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The comment.
const KEEP_ALIVE: &[u8] = b":\n\n";

/// The content that a subscriber receives for a state.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// The state itself, with its proof if requested.
    State { with_proof: bool },
    /// A notice that the state has changed.
    Refetch,
}

/// The parameters of a subscription.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    signed: bool,
}

/// Subscribe To Events
///
/// Sends the whole state, immediately and after every change: `standing`, `tier`, `features` with
/// their reasons, `limits`, the time until which the state is valid if nothing else changes, and
/// the later states (`then`). If `Last-Event-ID` names the current state, only later changes are
/// sent. With `signed=true`, trusted callers also get the signed license.
#[utoipa::path(
    get,
    path = "/api/license/events",
    params(
        ("signed" = Option<bool>, Query, description = "Whether to include the signed license"),
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event received"),
    ),
    responses(
        (status = 200, description = "Events `snapshot` and `changed`", content_type = "text/event-stream"),
        (status = 401, description = "The signed license is only for trusted callers", body = crate::http::error::ErrorResponse),
        (status = 503, description = "Too many subscribers", body = crate::http::error::ErrorResponse),
        BodyErrors,
    )
)]
pub(super) async fn events(
    state: State<HttpState>,
    caller: Caller,
    peer: ConnectInfo<SocketAddr>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(wanted) = wanted.map_err(|error| unacceptable_query(&error.body_text()))?;
    // The signed document contains the license key.
    if wanted.signed && !caller.trusted {
        return Err(ApiError::Untrusted);
    }
    let with_proof = wanted.signed;
    subscribe(state, caller, peer, &headers, Sent::State { with_proof })
}

/// Subscribe To OFREP Events
///
/// Like `/api/license/events`, for OpenFeature providers: `refetchEvaluation` after every change.
#[utoipa::path(
    get,
    path = "/ofrep/v1/events",
    responses(
        (status = 200, description = "Events of the OpenFeature Remote Evaluation Protocol 0.3", content_type = "text/event-stream"),
        (status = 503, description = "Too many subscribers", body = crate::http::error::ErrorResponse),
    )
)]
pub(super) async fn ofrep_events(
    state: State<HttpState>,
    caller: Caller,
    peer: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    subscribe(state, caller, peer, &headers, Sent::Refetch)
}

/// The stream of one subscriber.
struct Stream {
    app: Arc<App>,
    announced: watch::Receiver<Option<Arc<Announced>>>,
    shutdown: CancellationToken,
    /// The state that the subscriber knows.
    known: Option<String>,
    first: bool,
    sent: Sent,
    /// The rest of an event that has been started.
    rest: Option<Bytes>,
    place: Subscription,
}

fn subscribe(
    State(state): State<HttpState>,
    caller: Caller,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: &HeaderMap,
    sent: Sent,
) -> Result<Response, ApiError> {
    let origin = Origin {
        peer: peer.ip(),
        client: state.access.client_address(peer, headers),
    };
    let place = state.subscribers.subscribe(origin, caller.trusted);
    let place = place.ok_or(ApiError::TooManySubscribers)?;
    let known = headers.get("last-event-id");
    let known = known.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let stream = Stream {
        announced: state.app.announced.subscribe(),
        app: state.app,
        shutdown: state.shutdown,
        first: known.is_none(),
        known,
        sent,
        rest: None,
        place,
    };
    let stream = unfold(stream, async |mut it| {
        let part = it.next().await?;
        Some((Ok::<_, Infallible>(part), it))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // A proxy that compresses would keep events until it has enough of them.
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        // nginx would buffer events until they fill a buffer.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

impl Stream {
    /// The next part of an event about a state that the subscriber does not know; `None` if the
    /// service stops, or another subscriber has taken the place.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(rest) = self.rest.take() {
            return Some(rest);
        }
        loop {
            let state = self.announced.borrow_and_update().clone();
            if let Some(state) = state
                && self.known.as_ref() != Some(&state.id)
            {
                let event = self.begin(&state);
                self.first = false;
                self.known = Some(state.id.clone());
                return Some(event);
            }
            tokio::select! {
                changed = self.announced.changed() => changed.ok()?,
                () = self.shutdown.cancelled() => return None,
                () = self.place.ended.cancelled() => return None,
                () = tokio::time::sleep(KEEP_ALIVE_INTERVAL) => {
                    return Some(Bytes::from_static(KEEP_ALIVE));
                }
            }
        }
    }

    /// The beginning of an event. The rest is the same for all subscribers, and is
    /// shared by them.
    fn begin(&mut self, state: &Announced) -> Bytes {
        let id = &state.id;
        let event = match self.sent {
            Sent::State { with_proof } => {
                let name = if self.first { "snapshot" } else { "changed" };
                let proof = with_proof.then_some(&*self.app.keys);
                let (begin, rest) =
                    state.parts(&envelope(&self.app.snapshot(), proof, self.app.clock.now()));
                self.rest = Some(rest);
                format!("event: {name}\nid: {id}\ndata: {begin}")
            }
            Sent::Refetch => {
                let refetch = json!({"type": "refetchEvaluation", "etag": id});
                format!("id: {id}\ndata: {refetch}\n\n")
            }
        };
        event.into()
    }
}
