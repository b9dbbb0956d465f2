//! One connection, from its first byte to its end.
//!
//! HTTP/1 only: the preface of HTTP/2 is a malformed request, and `connection/http2.rs` serves
//! HTTP/2 on separate ports. All waits for the peer have timeouts: for the head of a request, for
//! the next request, and for the peer to read. `request_body.rs` limits the wait for a body.
//! While a handler works, or an event stream is open, the connection is not ended here, unless the
//! peer has closed its sending side. Such a peer may be gone, or may only have no further request
//! (RFC 9293, section 3.6): it gets its response, but only for as long as that makes progress.
//!
//! If a request is answered before all of its body has been read, the rest of the body would follow
//! on the connection, so the response closes it (RFC 9112, section 9.3).

pub(crate) mod activity;
pub(crate) mod exchange;
pub(crate) mod http2;
mod opening;
mod response_bytes;
mod resting;
mod socket;
mod whole_request;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use self::activity::{Activity, COUNTED_FROM_BYTES, DISMISS, END};
use self::exchange::{Answers, Requests, unavailable};
use self::opening::Opening;
use self::resting::{Rested, Resting};
use self::socket::Socket;
use crate::admission::Place;
use crate::clock;

/// How long a connection that makes room for another one may take to end: to finish a response, or
/// for the peer to acknowledge the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a peer that has closed its sending side may wait for its response, or for the next part.
/// If it has not sent the whole request, this is the end of that.
pub(crate) const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of headers of a request. The HTTP library's default is 100.
pub(crate) const MAX_HEADERS: usize = 256;

/// The limits of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Timeouts {
    /// Timeout for the head of a request. It starts when the connection is opened for the first
    /// request, and at the first byte for the others.
    pub(crate) head: Duration,
    /// Timeout for the next request.
    pub(crate) idle: Duration,
    /// The time within which a peer must read `min_write_bytes` or everything there is.
    pub(crate) write: Duration,
    pub(crate) min_write_bytes: u64,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer or the service closed the connection, or it was told to close.
    Closed,
    /// The peer sent or read too little for too long.
    TimedOut,
    /// There was no memory for the head of a request.
    NoMemory,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Waiting,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's body.
    Body,
    /// A handler, or an event.
    Answering,
    /// The peer reading the response.
    Writing,
}

/// Who reads the requests of a connection.
enum Http {
    /// No state is kept between two requests.
    Resting(Resting),
    /// The library does.
    Serving(Box<http1::Connection<TokioIo<Socket>, Requests>>),
    /// It has ended.
    Ended,
}

impl Http {
    fn is_resting(&self) -> bool {
        matches!(self, Self::Resting(_))
    }

    /// The parts of the connection, which has ended then, and the bytes that the library has read.
    fn take(&mut self) -> Option<(Socket, Requests, Bytes)> {
        match std::mem::replace(self, Self::Ended) {
            Self::Resting(resting) => Some((resting.socket, resting.requests, Bytes::new())),
            Self::Serving(http) => {
                let parts = http.into_parts();
                Some((parts.io.into_inner(), parts.service, parts.read_buf))
            }
            Self::Ended => None,
        }
    }
}

/// A connection being served.
pub(crate) struct Connection {
    http: Http,
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
    is_closing: bool,
    /// When it has to have ended, if it makes room for another one.
    leaves_by: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Connection {
    /// `opened` is the instant from which the milliseconds of `place` are counted.
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        answers: Arc<Answers>,
        activity: Arc<Activity>,
        place: Place,
        timeouts: Arc<Timeouts>,
        opened: Instant,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .header_read_timeout(None)
            .max_headers(MAX_HEADERS)
            .max_header_size(activity.max_head_bytes)
            .max_buf_size(activity.max_head_bytes.max(COUNTED_FROM_BYTES));
        let socket = Socket {
            // Each read sets its own limit.
            stream: stream.take(0),
            unread: Bytes::new(),
            opening: Opening::default(),
            activity: activity.clone(),
        };
        let requests = Requests {
            answers,
            peer,
            activity: activity.clone(),
        };
        let now = clock::ticks();
        let timer = Box::pin(tokio::time::sleep_until(now + timeouts.head));
        Self {
            http: Http::Resting(Resting::new(socket, requests)),
            builder,
            activity,
            place,
            timeouts,
            opened,
            // The first poll looks for a request.
            phase: Phase::Answering,
            since: now,
            requests: 0,
            answers: 0,
            received: 0,
            sent: 0,
            is_closing: false,
            leaves_by: None,
            timer,
        }
    }

    /// Records what the connection is waiting for now.
    fn observe(&mut self) {
        let requests = self.activity.requests.load(Ordering::Relaxed);
        let answers = self.activity.answers.load(Ordering::Relaxed);
        let received = self.activity.received.load(Ordering::Relaxed);
        let is_next = requests == answers && answers != self.answers;
        if is_next {
            self.received = received;
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
        let millis = millis_between(self.opened, self.since);
        match phase {
            Phase::Waiting | Phase::Head => self.place.waits_since(millis),
            Phase::Body | Phase::Writing => self.place.is_held_up_since(millis),
            Phase::Answering => self.place.is_busy(),
        }
        if phase == Phase::Waiting && requests > 0 {
            self.rest();
        }
    }

    /// Releases the library's buffers between two requests, unless part of the last request's body
    /// has not been read: a new state would parse that body as a request.
    fn rest(&mut self) {
        let is_serving = matches!(self.http, Http::Serving(_));
        if !is_serving || self.is_closing || self.activity.has_unread_body() {
            return;
        }
        let Some((mut socket, requests, read)) = self.http.take() else {
            return;
        };
        // A copy, because the bytes are part of a large buffer.
        socket.unread = Bytes::copy_from_slice(&[&read[..], &socket.unread].concat());
        match socket.unread.len() {
            0 => self.http = Http::Resting(Resting::new(socket, requests)),
            partial => {
                self.received = self.received.saturating_sub(partial as u64);
                self.phase = Phase::Head;
                self.serve(socket, requests);
            }
        }
    }

    /// Leaves the requests to the library.
    fn serve(&mut self, socket: Socket, requests: Requests) {
        if self.is_closing {
            self.builder.keep_alive(false);
        }
        let io = TokioIo::new(socket);
        let http = self.builder.serve_connection(io, requests);
        self.http = Http::Serving(Box::new(http));
    }

    /// When to check again if nothing happens; `None` if there is no deadline.
    fn deadline(&self) -> Option<Instant> {
        let bound = match self.phase {
            Phase::Body | Phase::Answering if self.activity.is_half_closed() => HALF_CLOSED_TIMEOUT,
            Phase::Body | Phase::Answering => return self.leaves_by,
            Phase::Head => self.timeouts.head,
            Phase::Waiting if self.requests == 0 || self.activity.has_unread_body() => {
                self.timeouts.head.min(self.timeouts.idle)
            }
            Phase::Waiting => self.timeouts.idle,
            Phase::Writing => self.timeouts.write,
        };
        let deadline = self.since + bound;
        Some(deadline.min(self.leaves_by.unwrap_or(deadline)))
    }

    /// Handles a passed deadline; returns whether the connection ends.
    fn has_stalled(&mut self) -> bool {
        match self.phase {
            Phase::Body | Phase::Answering => {
                self.activity.is_half_closed() && self.has_sent_less_than(1)
            }
            Phase::Head | Phase::Waiting => true,
            Phase::Writing => {
                let is_slow = self.has_sent_less_than(self.timeouts.min_write_bytes);
                if is_slow {
                    self.reset();
                }
                is_slow
            }
        }
    }

    /// Whether fewer than `bytes` were sent since the phase began; if not, it begins again.
    fn has_sent_less_than(&mut self, bytes: u64) -> bool {
        let sent = self.activity.sent.load(Ordering::Relaxed);
        let is_slow = sent - self.sent < bytes;
        if !is_slow {
            self.sent = sent;
            self.since = clock::ticks();
        }
        is_slow
    }

    /// Ends a connection whose peer does not read, including the data in system buffers.
    fn reset(&mut self) {
        if let Some((socket, ..)) = self.http.take()
            && let Err(error) = socket.stream.get_ref().set_zero_linger()
        {
            tracing::debug!(%error, "a connection was closed instead of reset");
        }
    }

    /// Serves the connection until its end, and releases its place. If a request was abandoned, or
    /// not looked at, the peer can still read why if the stream is closed with `lingering_close.rs`.
    pub(crate) async fn run(mut self) -> (End, Option<TcpStream>) {
        let end = (&mut self).await;
        let is_cut = self.activity.is_body_cut.load(Ordering::Relaxed);
        let is_new = self.leaves_by.is_some() && self.requests == 0 && self.http.is_resting();
        let stream = (is_cut || is_new).then(|| self.http.take()).flatten();
        let stream = stream.map(|(socket, ..)| socket.stream.into_inner());
        if let Some(stream) = &stream
            && is_new
        {
            refuse(stream);
        }
        (end, stream)
    }

    fn poll_http(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Http::Resting(resting) = &mut self.http {
            match ready!(resting.poll(cx, self.is_closing)) {
                Rested::Ended => self.http = Http::Ended,
                Rested::Received(bytes) => {
                    if let Some((mut socket, requests, _)) = self.http.take() {
                        socket.unread = bytes;
                        self.serve(socket, requests);
                    }
                }
            }
        }
        if let Http::Serving(http) = &mut self.http
            && let Err(error) = ready!(Pin::new(http).poll(cx))
        {
            tracing::debug!(%error, "a connection ended");
        }
        Poll::Ready(())
    }
}

/// Responds that there are too many connections. Nothing waits for the write: an empty buffer takes
/// it, or it is lost.
pub(crate) fn refuse(stream: &TcpStream) {
    let mut response = unavailable();
    let close = HeaderValue::from_static("close");
    response.headers.push((header::CONNECTION, close));
    if let Err(error) = stream.try_write(&response_bytes::bytes_of(&response)) {
        tracing::debug!(%error, "failed to send 503 on a refused connection");
    }
}

/// The time from `opened` to `now`, in the milliseconds of [`Place`].
fn millis_between(opened: Instant, now: Instant) -> u64 {
    let millis = now.saturating_duration_since(opened).as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX - 1)
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
            if order != 0 && !this.is_closing {
                this.is_closing = true;
                if let Http::Serving(http) = &mut this.http {
                    Pin::new(&mut **http).graceful_shutdown();
                }
            }
            if order == DISMISS && this.leaves_by.is_none() {
                this.leaves_by = Some(clock::ticks() + LEAVE_TIMEOUT);
            }
            if this.poll_http(cx).is_ready() {
                let has_no_memory = this.activity.has_no_memory.load(Ordering::Relaxed);
                return Poll::Ready(match has_no_memory {
                    true => End::NoMemory,
                    false => End::Closed,
                });
            }
            let was_resting = this.http.is_resting();
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
            if this.http.is_resting() != was_resting {
                continue;
            }
            let Some(deadline) = this.deadline() else {
                return Poll::Pending;
            };
            // A later deadline does not reset the timer: between two requests of a busy connection,
            // no timer is set.
            if deadline < this.timer.deadline() || this.timer.is_elapsed() {
                this.timer.as_mut().reset(deadline);
            }
            ready!(this.timer.as_mut().poll(cx));
            if this.leaves_by.is_some_and(|end| end <= clock::ticks()) {
                return Poll::Ready(End::Closed);
            }
            if this.timer.deadline() >= deadline && this.has_stalled() {
                return Poll::Ready(match this.phase {
                    Phase::Body | Phase::Answering => End::Closed,
                    _ => End::TimedOut,
                });
            }
        }
    }
}
