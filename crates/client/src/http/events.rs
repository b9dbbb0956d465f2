//! Server-sent events: every change of what the site may use.
//!
//! A subscriber is told what is so now, not what has happened in between: one
//! that is slow misses nothing but intermediate states, and none is kept for
//! it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::announced::Announced;
use crate::http::HttpState;
use crate::http::error::ApiError;

/// A comment is sent when nothing has changed for so long, so that proxies
/// keep the connection.
const KEPT_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// What is sent for a state.
type Words = fn(&Announced, first: bool) -> Event;

/// Subscribe To Events
///
/// The whole state first, and again after every change: `standing`, `tier`,
/// `features` with their reasons, `limits`, and until when all of it holds if
/// nothing else happens. With `Last-Event-ID` of the current state, only what
/// follows.
#[utoipa::path(
    get,
    path = "/api/license/events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The newest event that is known")),
    responses(
        (status = 200, description = "Events `snapshot` and `changed`", content_type = "text/event-stream"),
        (status = 503, description = "There are too many subscribers", body = crate::http::error::ErrorResponse),
    )
)]
pub(super) async fn events(state: State<HttpState>, headers: HeaderMap) -> Response {
    subscribe(state, &headers, |state, first| {
        let name = if first { "snapshot" } else { "changed" };
        Event::default().event(name).data(&state.text)
    })
}

/// Subscribe To OFREP Events
///
/// The same for OpenFeature providers: `refetchEvaluation` after every change.
#[utoipa::path(
    get,
    path = "/ofrep/v1/events",
    responses(
        (status = 200, description = "Events of the OpenFeature Remote Evaluation Protocol 0.3", content_type = "text/event-stream"),
        (status = 503, description = "There are too many subscribers", body = crate::http::error::ErrorResponse),
    )
)]
pub(super) async fn ofrep_events(state: State<HttpState>, headers: HeaderMap) -> Response {
    subscribe(state, &headers, |state, _| {
        let refetch = json!({"type": "refetchEvaluation", "etag": state.id});
        Event::default().data(refetch.to_string())
    })
}

/// One subscription.
struct Subscription {
    announced: watch::Receiver<Arc<Announced>>,
    shutdown: CancellationToken,
    /// The state that the subscriber knows.
    known: Option<String>,
    first: bool,
    words: Words,
    _place: OwnedSemaphorePermit,
}

fn subscribe(State(state): State<HttpState>, headers: &HeaderMap, words: Words) -> Response {
    let Ok(place) = state.subscribers.clone().try_acquire_owned() else {
        return ApiError::TooManySubscribers.into_response();
    };
    let known = headers.get("last-event-id");
    let known = known.and_then(|id| id.to_str().ok()).map(str::to_owned);
    let subscription = Subscription {
        announced: state.app.announced.subscribe(),
        shutdown: state.shutdown,
        first: known.is_none(),
        known,
        words,
        _place: place,
    };
    let stream = unfold(subscription, async |mut it| {
        let event = it.next().await?;
        Some((Ok::<_, Infallible>(event), it))
    });
    let alive = KeepAlive::new().interval(KEPT_ALIVE_EVERY);
    Sse::new(Box::pin(stream)).keep_alive(alive).into_response()
}

impl Subscription {
    /// The next state that the subscriber does not know; `None` when the
    /// service stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let state = self.announced.borrow_and_update().clone();
            if !state.id.is_empty() && self.known.as_ref() != Some(&state.id) {
                let event = (self.words)(&state, self.first).id(&state.id);
                self.first = false;
                self.known = Some(state.id.clone());
                return Some(event);
            }
            tokio::select! {
                changed = self.announced.changed() => changed.ok()?,
                () = self.shutdown.cancelled() => return None,
            }
        }
    }
}
