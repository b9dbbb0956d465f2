//! The requests of a connection and their responses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response, StatusCode, header, response};
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service as _;

use super::activity::{Activity, DISMISS, UNCOUNTED_ANSWER_BYTES};
use crate::direct::{ByHead, Direct, DirectResponse, Head};
use crate::response_headers;

/// What answers the requests of a port.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Asked first.
    pub(crate) direct: Arc<dyn Direct>,
    /// Answers everything else.
    pub(crate) router: Router,
}

impl Answers {
    fn route(
        &self,
        peer: SocketAddr,
        mut head: Parts,
        body: RequestBody,
    ) -> RouteFuture<Infallible> {
        head.extensions.insert(ConnectInfo(peer));
        let request = Request::from_parts(head, Body::new(body));
        self.router.clone().call(request)
    }
}

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) answers: Arc<Answers>,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let (head, incoming) = request.into_parts();
        let is_read = incoming.is_end_stream();
        self.activity.begin_request(!is_read);
        let body = RequestBody {
            incoming,
            is_read,
            activity: self.activity.clone(),
        };
        let may_change = !head.method.is_safe();
        let state = match Head::of(&head, |head| self.by_head(head)) {
            ByHead::Response(response) => State::Direct {
                response: Some(response.into()),
            },
            ByHead::Body | ByHead::Router => State::Routed {
                response: self.answers.route(self.peer, head, body),
            },
        };
        Answering {
            state,
            may_change,
            activity: self.activity.clone(),
        }
    }
}

impl Requests {
    fn by_head(&self, head: &Head<'_>) -> ByHead {
        // It has arrived after the connection was told to make room.
        if self.activity.order.load(Ordering::Acquire) >= DISMISS {
            return ByHead::Response(unavailable());
        }
        self.answers.direct.by_head(head, self.peer)
    }

    /// The response to a request whose body has arrived with its head, if the router is not needed.
    pub(super) fn direct(&self, head: &Head<'_>, body: &[u8]) -> Option<DirectResponse> {
        match self.by_head(head) {
            ByHead::Response(response) => Some(response),
            ByHead::Body => self.answers.direct.by_body(head, body),
            ByHead::Router => None,
        }
    }
}

/// The body of a request. It records when hyper has read all of it, and ends with an error if the
/// connection is needed for another peer.
struct RequestBody {
    incoming: Incoming,
    is_read: bool,
    activity: Arc<Activity>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        let activity = &self.activity;
        activity
            .is_body_awaited
            .store(polled.is_pending(), Ordering::Relaxed);
        if polled.is_pending() && activity.order.load(Ordering::Acquire) == DISMISS {
            activity.is_body_cut.store(true, Ordering::Relaxed);
            let error = "the connection was closed in favor of another caller";
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = ready!(polled);
        // After an error, the position of the body's end is unknown.
        let is_read = match &frame {
            Some(Ok(_)) => self.incoming.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        // Only once: the next request may have started.
        if is_read && !self.is_read {
            self.is_read = true;
            self.activity
                .has_unread_body
                .store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

pin_project! {
    /// A response that is being created.
    pub(super) struct Answering {
        #[pin]
        state: State,
        // Whether the request may change something, by its method.
        may_change: bool,
        activity: Arc<Activity>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State {
        /// The response exists.
        Direct { response: Option<Response<Bytes>> },
        /// The router answers.
        Routed { #[pin] response: RouteFuture<Infallible> },
    }
}

impl State {
    /// A response, and what it has as a body.
    fn poll_response(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<(response::Parts, ResponseBody)> {
        Poll::Ready(match self.project() {
            StateProjection::Direct { response } => {
                let (head, body) = response.take().unwrap_or_default().into_parts();
                (head, ResponseBody::Whole(body))
            }
            StateProjection::Routed { response } => match ready!(response.poll(cx)) {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    (head, ResponseBody::Streamed(body))
                }
                Err(never) => match never {},
            },
        })
    }
}

/// The body of a response, before its bytes are counted.
enum ResponseBody {
    Whole(Bytes),
    Streamed(Body),
}

impl Answering {
    /// A response that the router is creating, to a request that may change something or not.
    pub(super) fn routed(
        response: RouteFuture<Infallible>,
        may_change: bool,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            state: State::Routed { response },
            may_change,
            activity,
        }
    }
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut head, body) = ready!(this.state.poll_response(cx));
        let activity = this.activity;
        activity.forget_head();
        let is_body_cut = activity.is_body_cut.load(Ordering::Relaxed);
        let begun = (!is_body_cut).then(|| Answer::begin(body, activity, cx));
        let answer = begun.flatten().unwrap_or_else(|| {
            let is_done = *this.may_change && !head.status.is_client_error();
            let instead = match is_done {
                true => outcome_unknown(),
                false => unavailable(),
            };
            let (instead, body) = Response::from(instead).into_parts();
            head = instead;
            Answer::short(body, activity.clone())
        });
        response_headers::complete(&mut head.headers);
        if activity.has_unread_body() {
            let close = HeaderValue::from_static("close");
            head.headers.insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(Response::from_parts(head, answer)))
    }
}

/// The response if the service has no memory left for a request or its response, or no connection.
pub(super) fn unavailable() -> DirectResponse {
    let seconds = HeaderValue::from_static("1");
    DirectResponse {
        headers: vec![(header::RETRY_AFTER, seconds)],
        ..DirectResponse::empty(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// The response to a request that may have changed something, if there is no memory left for the one
/// that says what. It has the form of the errors of both services.
fn outcome_unknown() -> DirectResponse {
    const BODY: &str = concat!(
        r#"{"error":{"code":"outcome_unknown","message":"The request was handled, but there is no "#,
        r#"memory left for the response, because too many others are not being read. Check "#,
        r#"whether a change was stored before you repeat the request."},"detail":"The request was "#,
        r#"handled, but there is no memory left for the response. Check whether a change was "#,
        r#"stored before you repeat the request."}"#,
    );
    let body = Bytes::from_static(BODY.as_bytes());
    DirectResponse::json(StatusCode::SERVICE_UNAVAILABLE, body)
}

/// The body of a response; the request is answered when it is dropped.
pub(super) struct Answer {
    /// The whole body, or its first part if that was read before the response started.
    first: Option<Bytes>,
    rest: Option<Body>,
    activity: Arc<Activity>,
}

impl Answer {
    pub(super) fn empty(activity: Arc<Activity>) -> Self {
        Self::short(Bytes::new(), activity)
    }

    /// A body that is too short to be counted.
    fn short(body: Bytes, activity: Arc<Activity>) -> Self {
        Self {
            first: Some(body).filter(|body| !body.is_empty()),
            rest: None,
            activity,
        }
    }

    /// A body, counted before the response starts; `None` if there is no memory left for it: the
    /// request is then not answered yet. A streamed body is counted part by part.
    fn begin(body: ResponseBody, activity: &Arc<Activity>, cx: &mut Context<'_>) -> Option<Self> {
        let (first, rest) = match body {
            ResponseBody::Whole(bytes) => (Some(bytes), None),
            ResponseBody::Streamed(mut body) => {
                let length = body.size_hint().exact().unwrap_or_default();
                let mut first = None;
                if length > UNCOUNTED_ANSWER_BYTES as u64
                    && let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(cx)
                {
                    first = frame.into_data().ok();
                }
                (first, Some(body))
            }
        };
        let first = match first.filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => Some(activity.count_answer(bytes)?),
            None => None,
        };
        Some(Self {
            first,
            rest,
            activity: activity.clone(),
        })
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        Poll::Ready(frame.map(|frame| match frame?.into_data() {
            Ok(bytes) => {
                let error = || axum::Error::new("no memory left for the response");
                let counted = self.activity.count_answer(bytes).ok_or_else(error);
                counted.map(Frame::data)
            }
            Err(trailers) => Ok(trailers),
        }))
    }

    fn is_end_stream(&self) -> bool {
        let is_end = |rest: &Body| rest.is_end_stream();
        self.first.is_none() && self.rest.as_ref().is_none_or(is_end)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map(HttpBody::size_hint);
        let rest = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        longer(rest, self.first.as_ref().map_or(0, Bytes::len))
    }
}

/// The length of a body with so many more bytes, if it is known.
fn longer(rest: SizeHint, bytes: usize) -> SizeHint {
    match rest.exact() {
        Some(rest) => SizeHint::with_exact(rest.saturating_add(bytes as u64)),
        None => rest,
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.activity.answers.fetch_add(1, Ordering::Relaxed);
    }
}
