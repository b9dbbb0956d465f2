//! The requests of a connection and their responses.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service as _;

use super::activity::{Activity, DISMISS, UNCOUNTED_ANSWER_BYTES};
use crate::response_headers;

/// The requests of one connection.
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let mut request = request.map(|incoming| {
            let is_read = incoming.is_end_stream();
            self.activity.begin_request(!is_read);
            Body::new(RequestBody {
                incoming,
                is_read,
                activity: self.activity.clone(),
            })
        });
        request.extensions_mut().insert(ConnectInfo(self.peer));
        Answering {
            response: self.router.clone().call(request),
            activity: self.activity.clone(),
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
        pub(super) response: RouteFuture<Infallible>,
        pub(super) activity: Arc<Activity>,
    }
}

impl Future for Answering {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        this.activity.forget_head();
        if this.activity.is_body_cut.load(Ordering::Relaxed) {
            response = unavailable();
        }
        let activity = this.activity.clone();
        let mut response = match Answer::begin(response, activity.clone(), cx) {
            Some(response) => response,
            None => unavailable().map(|body| Answer::new(body, activity)),
        };
        let headers = response.headers_mut();
        response_headers::complete(headers);
        if this.activity.has_unread_body() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// The response if the service has no memory left for a request or its response.
pub(super) fn unavailable() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// The body of a response; the request is answered when it is dropped.
pub(super) struct Answer {
    /// The first part, which was read before the response started.
    first: Option<Bytes>,
    body: Body,
    activity: Arc<Activity>,
}

impl Answer {
    pub(super) fn new(body: Body, activity: Arc<Activity>) -> Self {
        Self {
            first: None,
            body,
            activity,
        }
    }

    /// A response, counted before it starts; `None` if there is no memory left for it. A streamed
    /// body is counted part by part.
    fn begin(
        response: Response<Body>,
        activity: Arc<Activity>,
        cx: &mut Context<'_>,
    ) -> Option<Response<Self>> {
        let (parts, mut body) = response.into_parts();
        let length = body.size_hint().exact().unwrap_or_default();
        let mut first = None;
        if length > UNCOUNTED_ANSWER_BYTES as u64
            && let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(cx)
            && let Ok(bytes) = frame.into_data()
        {
            let Some(bytes) = activity.count_answer(bytes) else {
                // The request is not answered yet: another response follows.
                return None;
            };
            first = Some(bytes);
        }
        let answer = Self {
            first,
            body,
            activity,
        };
        Some(Response::from_parts(parts, answer))
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
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
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
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint();
        let first = self.first.as_ref().map_or(0, Bytes::len) as u64;
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(rest.saturating_add(first)),
            None => rest,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.activity.answers.fetch_add(1, Ordering::Relaxed);
    }
}
