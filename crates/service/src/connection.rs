//! One connection, from its first byte to its end.
//!
//! HTTP/1 alone: the preface of HTTP/2 is a malformed request, and
//! `connection/http2.rs` serves HTTP/2 on ports of its own. A connection
//! waits for its peer within bounds only: for the head of a request, for the
//! next request, and for the peer to read. `request_body.rs` bounds the wait for
//! a body. While a handler works, or an event stream is open, nothing here ends
//! the connection.
//!
//! Where a request is answered before all of its body has been read, the rest of
//! the body would follow on the connection, so the response closes it (RFC 9112,
//! section 9.3).

pub(crate) mod http2;

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use futures_util::task::AtomicWaker;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

use crate::admission::Place;
use crate::byte_budget::ByteBudget;
use crate::{clock, response_headers};

/// A head up to so long is within the buffer that every connection has.
const COUNTED_FROM_BYTES: usize = 8 * 1024;

/// So many bytes of an answer, or of a part of one that is sent in parts, are not
/// counted: the bound on connections bounds them.
const UNCOUNTED_ANSWER_BYTES: usize = 16 * 1024;

/// Most bytes read at a time. hyper makes room for more after a read of 8 KiB, and
/// keeps it for as long as the connection is open.
const MAX_READ_BYTES: usize = 4 * 1024;

/// The bounds of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// Longest wait for the head of a request: the first one since the
    /// connection was opened, others since their first byte.
    pub(crate) head: Duration,
    /// Longest wait for the next request.
    pub(crate) idle: Duration,
    /// Within this time a peer reads `min_write_bytes` or all there is.
    pub(crate) write: Duration,
    pub(crate) min_write_bytes: u64,
}

/// What happens on a connection: counted by its socket and its requests, read by
/// [`Connection`].
#[derive(Debug)]
pub(crate) struct Activity {
    requests: AtomicU64,
    answers: AtomicU64,
    /// Whether a part of the latest request's body has not been read.
    has_unread_body: AtomicBool,
    /// Whether a handler waits for the latest request's body.
    is_body_awaited: AtomicBool,
    /// Whether a body was given up because the connection was told to.
    is_body_cut: AtomicBool,
    /// How many answers have been written completely.
    flushed: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    is_write_blocked: AtomicBool,
    /// Bytes received while no request was in flight.
    head_bytes: AtomicUsize,
    /// Bytes taken from `large_heads`.
    counted: AtomicUsize,
    large_heads: Arc<ByteBudget>,
    large_answers: Arc<ByteBudget>,
    max_head_bytes: usize,
    is_trusted: bool,
    has_no_memory: AtomicBool,
    /// Whether the socket is reset when it is closed.
    is_reset: AtomicBool,
    order: AtomicU8,
    waker: AtomicWaker,
}

/// The connection closes after the request in flight.
const CLOSE: u8 = 1;
/// The same, and a request that its peer holds up is given up.
const DISMISS: u8 = 2;
/// The connection ends now.
const END: u8 = 3;

impl Activity {
    pub(crate) fn new(
        large_heads: Arc<ByteBudget>,
        large_answers: Arc<ByteBudget>,
        max_head_bytes: usize,
        is_trusted: bool,
    ) -> Self {
        Self {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            has_unread_body: AtomicBool::new(false),
            is_body_awaited: AtomicBool::new(false),
            is_body_cut: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_write_blocked: AtomicBool::new(false),
            head_bytes: AtomicUsize::new(0),
            counted: AtomicUsize::new(0),
            large_heads,
            large_answers,
            max_head_bytes,
            is_trusted,
            has_no_memory: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            order: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let none = Arc::new(ByteBudget::new(0, 0));
        Self::new(none.clone(), none, 0, false)
    }

    #[cfg(test)]
    pub(crate) fn is_dismissed(&self) -> bool {
        self.order.load(Ordering::Relaxed) >= DISMISS
    }

    /// Closes the connection once no request is in flight.
    pub(crate) fn close(&self) {
        self.give_order(CLOSE);
    }

    /// Closes the connection for another one, although the peer may hold up a
    /// request.
    pub(crate) fn dismiss(&self) {
        self.give_order(DISMISS);
    }

    /// Ends the connection.
    pub(crate) fn end(&self) {
        self.give_order(END);
    }

    fn give_order(&self, order: u8) {
        self.order.fetch_max(order, Ordering::AcqRel);
        self.waker.wake();
    }

    fn is_request_in_flight(&self) -> bool {
        self.requests.load(Ordering::Relaxed) != self.answers.load(Ordering::Relaxed)
    }

    fn begin_request(&self, has_body: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.has_unread_body.store(has_body, Ordering::Relaxed);
        self.is_body_awaited.store(false, Ordering::Relaxed);
        self.head_bytes.store(0, Ordering::Relaxed);
    }

    fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }

    /// The head of the request is needed no longer.
    fn forget_head(&self) {
        let counted = self.counted.swap(0, Ordering::Relaxed);
        if counted > 0 {
            self.large_heads.give_back(counted);
        }
    }

    /// Counts bytes of a head; false where there is no memory for a head as
    /// long as this.
    fn receive(&self, bytes: usize) -> bool {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.is_request_in_flight() {
            return true;
        }
        let head_bytes = self.head_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if head_bytes <= COUNTED_FROM_BYTES || self.counted.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let is_taken = self.large_heads.take(self.max_head_bytes, self.is_trusted);
        if is_taken {
            self.counted.store(self.max_head_bytes, Ordering::Relaxed);
        }
        self.has_no_memory.store(!is_taken, Ordering::Relaxed);
        is_taken
    }

    fn note_write(&self, written: &Poll<io::Result<usize>>) {
        self.is_write_blocked
            .store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = written {
            self.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Activity {
    /// Part of an answer, whose bytes count until they are sent or given up; `None`
    /// where there is no memory for it. Bytes that are shared, or part of the
    /// program, are in memory for all callers, and do not count.
    fn count_answer(&self, bytes: Bytes) -> Option<Bytes> {
        let counted = bytes.len().saturating_sub(UNCOUNTED_ANSWER_BYTES);
        if counted == 0 || !bytes.is_unique() {
            return Some(bytes);
        }
        let budget = self.large_answers.clone();
        budget.take(counted, self.is_trusted).then(|| {
            Bytes::from_owner(CountedBytes {
                bytes,
                counted,
                budget,
            })
        })
    }
}

/// Bytes of an answer that wait for the peer to read.
struct CountedBytes {
    bytes: Bytes,
    counted: usize,
    budget: Arc<ByteBudget>,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.budget.give_back(self.counted);
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.forget_head();
    }
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer or the service closed it, or it was told to.
    Closed,
    /// The peer has sent too little, or read too little, for too long.
    TimedOut,
    /// There was no memory for the head of a request.
    NoMemory,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Waiting,
    /// The rest of its head.
    Head,
    /// The rest of its body.
    Body,
    /// A handler, or an event.
    Answering,
    /// The peer, to read.
    Writing,
}

/// A connection being served.
pub(crate) struct Connection {
    http: Option<http1::Connection<TokioIo<Socket>, Requests>>,
    builder: http1::Builder,
    activity: Arc<Activity>,
    place: Place,
    timeouts: Arc<Timeouts>,
    opened: Instant,
    phase: Phase,
    /// When `phase` began.
    since: Instant,
    requests: u64,
    answers: u64,
    /// Bytes received when the wait for a request began.
    received: u64,
    /// Bytes sent when the wait for the peer to read began.
    sent: u64,
    /// Whether hyper's buffers have been released since the last request.
    is_rested: bool,
    is_closing: bool,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
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
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .max_header_size(activity.max_head_bytes)
            .max_buf_size(activity.max_head_bytes.max(COUNTED_FROM_BYTES));
        let socket = Socket {
            stream,
            unread: Bytes::new(),
            activity: activity.clone(),
        };
        let requests = Requests {
            router,
            peer,
            activity: activity.clone(),
        };
        let now = clock::ticks();
        let timer = Box::pin(tokio::time::sleep_until(now + timeouts.head));
        Self {
            http: Some(builder.serve_connection(TokioIo::new(socket), requests)),
            builder,
            activity,
            place,
            timeouts,
            opened,
            phase: Phase::Waiting,
            since: now,
            requests: 0,
            answers: 0,
            received: 0,
            sent: 0,
            is_rested: false,
            is_closing: false,
            timer,
        }
    }

    /// Notes what the connection waits for now.
    fn observe(&mut self) {
        let requests = self.activity.requests.load(Ordering::Relaxed);
        let answers = self.activity.answers.load(Ordering::Relaxed);
        let received = self.activity.received.load(Ordering::Relaxed);
        let is_next = requests == answers && answers != self.answers;
        let was_at = self.received;
        if is_next {
            self.received = received;
            self.is_rested = false;
        }
        let phase = if self.activity.is_write_blocked.load(Ordering::Relaxed) {
            Phase::Writing
        } else if requests != answers && self.activity.is_body_awaited.load(Ordering::Relaxed) {
            Phase::Body
        } else if requests != answers {
            Phase::Answering
        } else if received > self.received {
            Phase::Head
        } else {
            Phase::Waiting
        };
        if phase == self.phase && requests == self.requests && answers == self.answers {
            return;
        }
        self.phase = phase;
        self.requests = requests;
        self.answers = answers;
        self.sent = self.activity.sent.load(Ordering::Relaxed);
        self.since = clock::ticks();
        match phase {
            Phase::Waiting | Phase::Head => self.place.waits_since(self.millis()),
            Phase::Body | Phase::Writing => self.place.is_held_up_since(self.millis()),
            Phase::Answering => self.place.is_busy(),
        }
        // A long request leaves large buffers behind.
        let is_large = received - was_at > COUNTED_FROM_BYTES as u64;
        if phase == Phase::Waiting && is_next && is_large {
            self.rest();
        }
    }

    fn millis(&self) -> u64 {
        let millis = self
            .since
            .saturating_duration_since(self.opened)
            .as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX - 1)
    }

    /// Releases hyper's buffers between two requests. Returns true if the
    /// connection is inside a request: part of the next request was in the
    /// buffers, or part of the last request's body has not been read. In that case
    /// hyper keeps its state: a new one would parse the body as a request.
    fn rest(&mut self) -> bool {
        if self.activity.has_unread_body() {
            return true;
        }
        self.is_rested = true;
        if self.is_closing {
            return false;
        }
        let Some(http) = self.http.take() else {
            return false;
        };
        let parts = http.into_parts();
        let mut socket = parts.io.into_inner();
        // A copy, because the bytes are a part of a large buffer.
        socket.unread = Bytes::copy_from_slice(&[&parts.read_buf[..], &socket.unread].concat());
        let is_partial = !socket.unread.is_empty();
        if is_partial {
            self.received = self.received.saturating_sub(socket.unread.len() as u64);
            self.phase = Phase::Head;
        }
        let io = TokioIo::new(socket);
        self.http = Some(self.builder.serve_connection(io, parts.service));
        is_partial
    }

    /// When to look again if nothing happens; `None` while nothing bounds the
    /// wait.
    fn deadline(&self) -> Option<Instant> {
        let bound = match self.phase {
            Phase::Body | Phase::Answering => return None,
            Phase::Head => self.timeouts.head,
            Phase::Waiting if self.requests == 0 => self.timeouts.head,
            Phase::Waiting if !self.is_rested => self.timeouts.head.min(self.timeouts.idle),
            Phase::Waiting => self.timeouts.idle,
            Phase::Writing => self.timeouts.write,
        };
        Some(self.since + bound)
    }

    /// The deadline has passed: whether the connection ends.
    fn has_stalled(&mut self) -> bool {
        match self.phase {
            Phase::Body | Phase::Answering => false,
            Phase::Head => true,
            Phase::Waiting if self.requests == 0 => true,
            // What has waited for so long as a part of a request is a slow head.
            Phase::Waiting if !self.is_rested => self.rest(),
            Phase::Waiting => true,
            Phase::Writing => {
                let sent = self.activity.sent.load(Ordering::Relaxed);
                let is_slow = sent - self.sent < self.timeouts.min_write_bytes;
                if is_slow {
                    self.reset();
                } else {
                    self.sent = sent;
                    self.since = clock::ticks();
                }
                is_slow
            }
        }
    }

    /// Ends a connection whose peer does not read, with all that the system
    /// keeps for it.
    fn reset(&mut self) {
        if let Some(http) = self.http.take() {
            let socket = http.into_parts().io.into_inner();
            if let Err(error) = socket.stream.set_zero_linger() {
                tracing::debug!(%error, "a connection was closed instead of reset");
            }
        }
    }

    /// Serves the connection until its end, and gives its place back. Where a
    /// request was given up, the peer can still read why if the stream is closed
    /// with `lingering_close.rs`.
    pub(crate) async fn run(mut self) -> (End, Option<TcpStream>) {
        let end = (&mut self).await;
        let Self { http, activity, .. } = self;
        let is_cut = activity.is_body_cut.load(Ordering::Relaxed);
        let http = http.filter(|_| is_cut);
        let stream = http.map(|http| http.into_parts().io.into_inner().stream);
        (end, stream)
    }

    fn poll_http(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(http) = &mut self.http else {
            return Poll::Ready(());
        };
        let ended = ready!(Pin::new(http).poll(cx));
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
        Poll::Ready(())
    }
}

impl Future for Connection {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        this.activity.waker.register(cx.waker());
        loop {
            let order = this.activity.order.load(Ordering::Acquire);
            if order == END {
                return Poll::Ready(End::Closed);
            }
            if order != 0
                && !this.is_closing
                && let Some(http) = &mut this.http
            {
                this.is_closing = true;
                Pin::new(http).graceful_shutdown();
            }
            if this.poll_http(cx).is_ready() {
                let has_no_memory = this.activity.has_no_memory.load(Ordering::Relaxed);
                return Poll::Ready(match has_no_memory {
                    true => End::NoMemory,
                    false => End::Closed,
                });
            }
            let was_rested = this.is_rested;
            this.observe();
            if this.is_closing
                && (this.phase == Phase::Waiting || this.phase == Phase::Head && order >= DISMISS)
            {
                return Poll::Ready(End::Closed);
            }
            if this.phase == Phase::Writing && order == DISMISS {
                this.reset();
                return Poll::Ready(End::Closed);
            }
            if this.is_rested && !was_rested {
                continue;
            }
            let Some(deadline) = this.deadline() else {
                return Poll::Pending;
            };
            // A later deadline leaves the timer alone: between two requests of a
            // busy connection nothing is set.
            if deadline < this.timer.deadline() || this.timer.is_elapsed() {
                this.timer.as_mut().reset(deadline);
            }
            ready!(this.timer.as_mut().poll(cx));
            if this.timer.deadline() >= deadline && this.has_stalled() {
                return Poll::Ready(End::TimedOut);
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

/// The body of a request, which notes when hyper has read all of it, and ends in
/// an error where the connection is needed for another peer.
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
            let error = "the connection is needed for another caller";
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = ready!(polled);
        // After an error the end of the body is unknown.
        let is_read = match &frame {
            Some(Ok(_)) => self.incoming.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        // Only one time: the next request may have begun.
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
    /// A response in the making.
    struct Answering {
        #[pin]
        response: RouteFuture<Infallible>,
        activity: Arc<Activity>,
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

/// The response where the service has no room for a request or its answer.
fn unavailable() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// The body of a response; the request is answered when it is dropped.
struct Answer {
    /// A first part that was looked at before the response began.
    first: Option<Bytes>,
    body: Body,
    activity: Arc<Activity>,
}

impl Answer {
    fn new(body: Body, activity: Arc<Activity>) -> Self {
        Self {
            first: None,
            body,
            activity,
        }
    }

    /// A response, counted before it begins; `None` where there is no memory for
    /// it. A body that is made in parts is counted part by part.
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
                let error = || axum::Error::new("there is no memory for the answer");
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

/// A TCP stream that counts.
struct Socket {
    stream: TcpStream,
    /// Received by the connection before its buffers were released.
    unread: Bytes,
    activity: Arc<Activity>,
}

impl Socket {
    /// hyper itself answers a request that it cannot read, without the headers
    /// that every response is sent with. Where `head` is such an answer, this is
    /// it with them.
    fn refusal(&self, head: &[u8]) -> Option<Vec<u8>> {
        let answers = self.activity.answers.load(Ordering::Relaxed);
        if self.activity.is_request_in_flight()
            || answers != self.activity.flushed.load(Ordering::Relaxed)
        {
            return None;
        }
        let lines = head.strip_suffix(b"\r\n\r\n")?;
        let more = response_headers::lines();
        Some([lines, b"\r\n", more.as_bytes(), b"\r\n"].concat())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let fits = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        let fits = buf.remaining().min(MAX_READ_BYTES);
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(fits));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let bytes = part.filled().len();
        buf.advance(bytes);
        Poll::Ready(match self.activity.receive(bytes) {
            true => Ok(()),
            false => Err(io::ErrorKind::OutOfMemory.into()),
        })
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(refusal) = self.refusal(buf) {
            // The connection ends after it, and its buffer has room.
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &refusal))?;
            return Poll::Ready(Ok(written.min(buf.len())));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        if let Some(first) = first
            && self.refusal(first).is_some()
        {
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answers = self.activity.answers.load(Ordering::Relaxed);
        self.activity.flushed.store(answers, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
