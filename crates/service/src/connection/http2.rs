//! One HTTP/2 connection, from its first byte to its end.
//!
//! For services whose handlers wait only for a request's body, which `request_body.rs` bounds: a
//! connection waits for its peer within the same limits as an HTTP/1 connection. Requests on all
//! connections share memory until their responses are sent, and the oldest request limits the
//! lifetime of its connection.

mod answers;
mod socket;
mod streams;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::Router;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use self::answers::Requests;
use self::socket::Socket;
use self::streams::Streams;
use super::activity::{Activity, DISMISS, END};
use super::{End, LEAVE_TIMEOUT, Timeouts, millis_between};
use crate::admission::Place;
use crate::clock;

/// Maximum number of requests in flight on one connection.
pub(crate) const MAX_STREAMS: u32 = 128;
/// Maximum length of the headers of one request, in bytes as HTTP/2 counts them
/// (RFC 9113, section 6.5.2).
pub(crate) const MAX_HEADER_LIST_BYTES: u32 = 8 * 1024;
/// How many bytes a peer may send on a stream, and on a connection, before they
/// are read.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Maximum number of bytes of one response that wait for the connection.
const MAX_SEND_BUFFER_BYTES: usize = 16 * 1024;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request.
    Waiting,
    /// The rest of a request, or the peer's flow control credit to send the response; handlers take
    /// no time.
    Reading,
    /// The peer reading the response.
    Writing,
}

/// An HTTP/2 connection being served.
pub(crate) struct Http2Connection {
    http: http2::Connection<TokioIo<Socket>, Requests, TokioExecutor>,
    activity: Arc<Activity>,
    streams: Arc<Streams>,
    place: Place,
    timeouts: Arc<Timeouts>,
    opened: Instant,
    phase: Phase,
    /// When `phase` began; for [`Phase::Reading`], when the oldest request began.
    since: Instant,
    /// When the oldest request without a complete response began.
    oldest: Option<Instant>,
    finished: u64,
    /// Bytes sent when the wait for the peer to read began.
    sent: u64,
    closing_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl Http2Connection {
    /// `opened` is the instant from which the milliseconds of `place` are counted.
    pub(crate) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        router: Router,
        activity: Arc<Activity>,
        place: Place,
        timeouts: Arc<Timeouts>,
        opened: Instant,
    ) -> Self {
        let socket = Socket::new(stream, activity.clone());
        let streams = Arc::new(Streams::new(activity.clone()));
        let requests = Requests {
            router,
            peer,
            streams: streams.clone(),
        };
        let http = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
            .serve_connection(TokioIo::new(socket), requests);
        let now = clock::ticks();
        place.waits_since(millis_between(opened, now));
        Self {
            http,
            activity,
            streams,
            place,
            opened,
            phase: Phase::Waiting,
            since: now,
            oldest: None,
            finished: 0,
            sent: 0,
            closing_since: None,
            timer: Box::pin(tokio::time::sleep_until(now + timeouts.head)),
            timeouts,
        }
    }

    /// Records what the connection is waiting for now.
    fn observe(&mut self) {
        let book = self.streams.book();
        let (finished, oldest) = (book.finished(), book.oldest());
        drop(book);
        let phase = if self.activity.is_write_blocked.load(Ordering::Relaxed) {
            Phase::Writing
        } else if oldest.is_some() {
            Phase::Reading
        } else {
            Phase::Waiting
        };
        let is_same = phase == self.phase && finished == self.finished;
        self.oldest = oldest;
        self.finished = finished;
        // Responses that end do not restart the timeout of a peer that does not read.
        if is_same || phase == Phase::Writing && self.phase == Phase::Writing {
            return;
        }
        self.phase = phase;
        self.sent = self.activity.sent.load(Ordering::Relaxed);
        let now = clock::ticks();
        self.since = match phase {
            Phase::Reading => oldest.unwrap_or(now),
            Phase::Waiting | Phase::Writing => now,
        };
        let millis = millis_between(self.opened, self.since);
        match phase {
            Phase::Waiting => self.place.waits_since(millis),
            Phase::Reading | Phase::Writing => self.place.is_held_up_since(millis),
        }
    }

    /// When to check again if nothing happens.
    fn deadline(&self, order: u8) -> Instant {
        let bound = match self.phase {
            Phase::Waiting if self.finished == 0 => self.timeouts.head,
            Phase::Waiting => self.timeouts.idle,
            Phase::Reading | Phase::Writing => self.timeouts.write,
        };
        let deadline = self.since + bound;
        let deadline = deadline.min(self.oldest_ends().unwrap_or(deadline));
        match self.closing_since {
            Some(since) if self.phase == Phase::Waiting || order == DISMISS => {
                deadline.min(since + LEAVE_TIMEOUT)
            }
            _ => deadline,
        }
    }

    /// When the oldest request ends its connection.
    fn oldest_ends(&self) -> Option<Instant> {
        self.oldest.map(|since| since + self.timeouts.write)
    }

    /// Handles a passed deadline; returns how the connection ends, if it does.
    fn stalled(&mut self) -> Option<End> {
        let now = clock::ticks();
        if self
            .closing_since
            .is_some_and(|it| now >= it + LEAVE_TIMEOUT)
        {
            return Some(End::Closed);
        }
        let sent = self.activity.sent.load(Ordering::Relaxed);
        match self.phase {
            // Bodies have arrived by now, and handlers do not wait: the peer has not allowed the
            // responses to be sent.
            Phase::Waiting | Phase::Reading => Some(End::TimedOut),
            Phase::Writing
                if sent - self.sent < self.timeouts.min_write_bytes
                    || self.oldest_ends().is_some_and(|ends| now >= ends) =>
            {
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
