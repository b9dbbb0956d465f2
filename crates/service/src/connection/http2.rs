//! One HTTP/2 connection, from its first byte to its end.
//!
//! For services whose handlers do not wait for anything but a request's body,
//! which `request_body.rs` bounds: a connection waits for its peer within the same
//! bounds as one of HTTP/1. Requests in flight share the memory that long heads of
//! HTTP/1 have, whichever connection they are on.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

use super::activity::{Activity, DISMISS, END};
use super::exchange::{Answer, Answering, unavailable};
use super::{End, Timeouts};
use crate::admission::Place;
use crate::{clock, response_headers};

/// Maximum number of requests in flight on one connection.
pub(crate) const MAX_STREAMS: u32 = 128;
/// Maximum length of the headers of one request, in bytes as HTTP/2 counts them
/// (RFC 9113, section 6.5.2).
pub(crate) const MAX_HEADER_LIST_BYTES: u32 = 8 * 1024;
/// What a request takes until there is a response, in bytes: its headers, and the part
/// of its body that `request_body.rs` does not count.
const REQUEST_BYTES: usize = 12 * 1024;
/// How many bytes a peer may send on a stream, and on a connection, before they
/// are read.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Maximum number of bytes of one response that wait for the connection.
const MAX_SEND_BUFFER_BYTES: usize = 16 * 1024;
/// How long a peer has to acknowledge that its connection closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request.
    Waiting,
    /// The rest of a request, or the peer's leave to send the response (flow control);
    /// handlers take no time.
    Reading,
    /// The peer, to read.
    Writing,
}

/// An HTTP/2 connection being served.
pub(crate) struct Http2Connection {
    http: http2::Connection<TokioIo<Socket>, Requests, TokioExecutor>,
    activity: Arc<Activity>,
    place: Place,
    timeouts: Arc<Timeouts>,
    opened: Instant,
    phase: Phase,
    /// When `phase` began.
    since: Instant,
    answers: u64,
    /// Bytes sent when the wait for the peer to read began.
    sent: u64,
    closing_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Http2Connection {
    /// `opened` is the instant that the milliseconds of `place` count from.
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        router: Router,
        activity: Arc<Activity>,
        place: Place,
        timeouts: Arc<Timeouts>,
        opened: Instant,
    ) -> Self {
        let socket = Socket {
            stream,
            activity: activity.clone(),
        };
        let requests = Requests {
            router,
            peer,
            activity: activity.clone(),
        };
        let http = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
            .serve_connection(TokioIo::new(socket), requests);
        let now = clock::ticks();
        Self {
            http,
            activity,
            place,
            opened,
            phase: Phase::Waiting,
            since: now,
            answers: 0,
            sent: 0,
            closing_since: None,
            timer: Box::pin(tokio::time::sleep_until(now + timeouts.head)),
            timeouts,
        }
    }

    /// Notes what the connection waits for now.
    fn observe(&mut self) {
        let answers = self.activity.answers.load(Ordering::Relaxed);
        let phase = if self.activity.is_write_blocked.load(Ordering::Relaxed) {
            Phase::Writing
        } else if self.activity.is_request_in_flight() {
            Phase::Reading
        } else {
            Phase::Waiting
        };
        if phase == self.phase && answers == self.answers {
            return;
        }
        self.phase = phase;
        self.answers = answers;
        self.sent = self.activity.sent.load(Ordering::Relaxed);
        self.since = clock::ticks();
        let millis = self
            .since
            .saturating_duration_since(self.opened)
            .as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX - 1);
        match phase {
            Phase::Waiting => self.place.waits_since(millis),
            Phase::Reading | Phase::Writing => self.place.is_held_up_since(millis),
        }
    }

    /// When to look again if nothing happens.
    fn deadline(&self, order: u8) -> Instant {
        let bound = match self.phase {
            Phase::Waiting if self.answers == 0 => self.timeouts.head,
            Phase::Waiting => self.timeouts.idle,
            Phase::Reading | Phase::Writing => self.timeouts.write,
        };
        let deadline = self.since + bound;
        match self.closing_since {
            Some(since) if self.phase == Phase::Waiting || order == DISMISS => {
                deadline.min(since + CLOSE_TIMEOUT)
            }
            _ => deadline,
        }
    }

    /// The deadline has passed: how the connection ends, if it does.
    fn stalled(&mut self) -> Option<End> {
        let now = clock::ticks();
        if self
            .closing_since
            .is_some_and(|it| now >= it + CLOSE_TIMEOUT)
        {
            return Some(End::Closed);
        }
        let sent = self.activity.sent.load(Ordering::Relaxed);
        match self.phase {
            // Bodies have arrived by now, and handlers do not wait: the peer has not
            // let the responses be sent.
            Phase::Waiting | Phase::Reading => Some(End::TimedOut),
            Phase::Writing if sent - self.sent < self.timeouts.min_write_bytes => {
                self.activity.is_reset.store(true, Ordering::Relaxed);
                Some(End::TimedOut)
            }
            Phase::Writing => {
                self.sent = sent;
                self.since = now;
                None
            }
        }
    }
}

impl Future for Http2Connection {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        this.activity.waker.register(cx.waker());
        loop {
            let order = this.activity.order.load(Ordering::Acquire);
            if order == END {
                return Poll::Ready(End::Closed);
            }
            if order != 0 && this.closing_since.is_none() {
                this.closing_since = Some(clock::ticks());
                Pin::new(&mut this.http).graceful_shutdown();
            }
            if let Poll::Ready(ended) = Pin::new(&mut this.http).poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return Poll::Ready(End::Closed);
            }
            this.observe();
            let deadline = this.deadline(order);
            if deadline < this.timer.deadline() || this.timer.is_elapsed() {
                this.timer.as_mut().reset(deadline);
            }
            ready!(this.timer.as_mut().poll(cx));
            if this.timer.deadline() >= deadline
                && let Some(end) = this.stalled()
            {
                return Poll::Ready(end);
            }
        }
    }
}

/// The requests of one connection.
struct Requests {
    router: Router,
    peer: SocketAddr,
    activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<StreamAnswer>;
    type Error = Infallible;
    type Future = StreamAnswering;

    fn call(&self, request: Request<Incoming>) -> StreamAnswering {
        self.activity.begin_request(false);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let request_bytes = RequestBytes::take(&self.activity);
        StreamAnswering {
            answering: request_bytes.as_ref().map(|_| Answering {
                response: self.router.clone().call(request),
                activity: self.activity.clone(),
            }),
            activity: self.activity.clone(),
            request_bytes,
            unanswered: Unanswered(Some(self.activity.clone())),
        }
    }
}

/// Memory for one request.
struct RequestBytes(Arc<Activity>);

impl RequestBytes {
    fn take(activity: &Arc<Activity>) -> Option<Self> {
        let budget = &activity.large_heads;
        let is_taken = budget.take(REQUEST_BYTES, activity.is_trusted);
        is_taken.then(|| Self(activity.clone()))
    }
}

impl Drop for RequestBytes {
    fn drop(&mut self) {
        self.0.large_heads.give_back(REQUEST_BYTES);
    }
}

/// A request that is given up before there is a response counts as answered.
struct Unanswered(Option<Arc<Activity>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.answers.fetch_add(1, Ordering::Relaxed);
            activity.waker.wake();
        }
    }
}

pin_project! {
    /// A response in the making.
    struct StreamAnswering {
        // Nothing where there is no memory for the request.
        #[pin]
        answering: Option<Answering>,
        activity: Arc<Activity>,
        request_bytes: Option<RequestBytes>,
        unanswered: Unanswered,
    }
}

impl Future for StreamAnswering {
    type Output = Result<Response<StreamAnswer>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = match this.answering.as_mut().as_pin_mut() {
            Some(answering) => ready!(answering.poll(cx))?,
            None => {
                let mut response = unavailable();
                response_headers::complete(response.headers_mut());
                response.map(|body| Answer::new(body, this.activity.clone()))
            }
        };
        this.answering.set(None);
        *this.request_bytes = None;
        // From here on the body counts.
        let activity = this.unanswered.0.take();
        Poll::Ready(Ok(response.map(|answer| StreamAnswer {
            answer,
            _wake: Wake(activity),
        })))
    }
}

/// The body of a response. Its connection looks again when it is dropped, because
/// other tasks than the connection's make responses.
struct StreamAnswer {
    answer: Answer,
    /// Dropped behind `answer`, which counts.
    _wake: Wake,
}

struct Wake(Option<Arc<Activity>>);

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.waker.wake();
        }
    }
}

impl HttpBody for StreamAnswer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.answer).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

/// A TCP stream that counts.
struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Drop for Socket {
    /// A peer that does not read is reset, with all that the system keeps for it.
    fn drop(&mut self) {
        if self.activity.is_reset.load(Ordering::Relaxed)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "connection closed instead of reset");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.note_write(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
