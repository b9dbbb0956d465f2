//! How the requests of one connection are answered, and their answers sent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service as _;

use super::streams::{InFlight, Streams};
use crate::connection::exchange::{Answer, Answering, unavailable};
use crate::response_headers;

/// Answers the requests of one connection.
pub(super) struct Requests {
    pub(super) router: Router,
    pub(super) peer: SocketAddr,
    pub(super) streams: Arc<Streams>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<StreamAnswer>;
    type Error = Infallible;
    type Future = StreamAnswering;

    fn call(&self, request: Request<Incoming>) -> StreamAnswering {
        let may_change = !request.method().is_safe();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let in_flight = self.streams.begin();
        StreamAnswering {
            answering: in_flight.bytes.as_ref().map(|_| {
                let response = self.router.clone().call(request);
                Answering::routed(response, may_change, self.streams.activity().clone())
            }),
            in_flight,
        }
    }
}

pin_project! {
    /// A response that is being created.
    pub(super) struct StreamAnswering {
        // `None` if there is no memory left for the request.
        #[pin]
        answering: Option<Answering>,
        in_flight: Arc<InFlight>,
    }
}

impl Future for StreamAnswering {
    type Output = Result<Response<StreamAnswer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = match this.answering.as_mut().as_pin_mut() {
            Some(answering) => ready!(answering.poll(cx))?,
            None => {
                let mut response = Response::from(unavailable());
                response_headers::complete(response.headers_mut());
                let activity = this.in_flight.streams.activity().clone();
                response.map(|_| Answer::empty(activity))
            }
        };
        this.answering.set(None);
        let in_flight = this.in_flight.clone();
        Poll::Ready(Ok(response.map(|answer| StreamAnswer { answer, in_flight })))
    }
}

/// The body of a response.
pub(super) struct StreamAnswer {
    answer: Answer,
    in_flight: Arc<InFlight>,
}

/// Part of a response: it waits in the connection until the peer allows it to be sent.
struct UnsentBytes {
    bytes: Bytes,
    _in_flight: Arc<InFlight>,
}

impl AsRef<[u8]> for UnsentBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for StreamAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.answer).poll_frame(cx));
        let unsent = |bytes| {
            Bytes::from_owner(UnsentBytes {
                bytes,
                _in_flight: self.in_flight.clone(),
            })
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(unsent))))
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
