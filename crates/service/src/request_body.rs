//! Request bodies, bounded before a handler sees them: in length, in time, and
//! in bytes that all requests hold together.
//!
//! A handler reads a body that arrives whole or not at all. If it does not arrive, the caller
//! gets the reason, regardless of how the handler treats the error.

use std::error::Error;
use std::fmt::{Display, Formatter};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Extensions, header};
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower_layer::Layer;
use tower_service::Service;

use crate::byte_budget::ByteBudget;
use crate::clock;

/// Maximum size of a body on routes with long bodies, in bytes ([`allow_bytes`]).
pub const MAX_LONG_BODY_BYTES: usize = 64 * 1024;

/// The bounds of request bodies.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Maximum size of a body, in bytes, unless a handler allows more ([`allow_bytes`]).
    pub max_bytes: usize,
    /// The first bytes of a body are not counted: the bound on connections
    /// bounds them.
    pub uncounted_bytes: usize,
    /// Bytes of bodies that all callers together may make the service hold …
    pub open_bytes: usize,
    /// … and how many more are for trusted callers alone.
    pub reserved_bytes: usize,
    /// Timeout for the next bytes of a body.
    pub idle_timeout: Duration,
    /// Timeout for a whole body.
    pub total_timeout: Duration,
    /// How much of a refused body is read and thrown away, in bytes, so that
    /// its sender reads why it is refused instead of finding the connection
    /// closed.
    pub max_discarded_bytes: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            max_bytes: 8 * 1024,
            uncounted_bytes: 4 * 1024,
            open_bytes: 16 * 1024 * 1024,
            reserved_bytes: 16 * 1024 * 1024,
            idle_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(20),
            max_discarded_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// It is too long.
    #[error("the body is too long; the limit is {max_bytes} bytes")]
    TooLong {
        /// Maximum size of a body, in bytes.
        max_bytes: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// It arrives in too many pieces, each of which costs as much as a large one.
    #[error("the body arrives in too many pieces; send larger chunks")]
    TooManyPieces,
    /// Other requests hold all the bytes there are for bodies.
    #[error("too many requests are being received; try again later")]
    Busy,
}

/// Bounds the bodies of the requests that pass through it.
#[derive(Clone, Debug)]
pub struct BoundBodies {
    limits: Arc<BodyLimits>,
    budget: Arc<ByteBudget>,
    is_trusted: fn(&Extensions) -> bool,
    refuse: fn(BodyRefusal) -> Response,
}

impl BoundBodies {
    /// `is_trusted` says from a request's extensions whether its caller may use
    /// the reserved bytes, `refuse` makes the response to a body that is not
    /// read.
    #[must_use]
    pub fn new(
        limits: BodyLimits,
        is_trusted: fn(&Extensions) -> bool,
        refuse: fn(BodyRefusal) -> Response,
    ) -> Self {
        let budget = ByteBudget::new(limits.open_bytes, limits.reserved_bytes);
        Self {
            limits: Arc::new(limits),
            budget: Arc::new(budget),
            is_trusted,
            refuse,
        }
    }

    /// The bytes that requests hold.
    #[must_use]
    pub fn budget(&self) -> &Arc<ByteBudget> {
        &self.budget
    }
}

/// Lets the body of this request be up to `max_bytes` long. Takes effect for a
/// handler that has not read the body yet.
pub fn allow_bytes(extensions: &Extensions, max_bytes: usize) {
    if let Some(BodyHandle(receipt)) = extensions.get() {
        receipt.max_bytes.store(max_bytes, Ordering::Relaxed);
    }
}

/// Lets the body of this request use the reserved bytes: its caller has turned
/// out to be trusted.
pub fn mark_trusted(extensions: &Extensions) {
    if let Some(BodyHandle(receipt)) = extensions.get() {
        receipt.is_trusted.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct BodyHandle(Arc<Receipt>);

/// What is known about one body. It lives as long as the request, so the bytes
/// count until the response is made.
#[derive(Debug)]
struct Receipt {
    max_bytes: AtomicUsize,
    is_trusted: AtomicBool,
    counted: AtomicUsize,
    refusal: AtomicU8,
    budget: Arc<ByteBudget>,
}

const TOO_LONG: u8 = 1;
const TIMED_OUT: u8 = 2;
const BUSY: u8 = 3;
const TOO_MANY_PIECES: u8 = 4;
/// Pieces of any body that are accepted …
const MAX_PIECES: usize = 1024;
/// … and the mean size of further ones, in bytes. A segment of TCP has at least twice as many.
const MIN_MEAN_PIECE_BYTES: usize = 256;

impl Receipt {
    fn refusal(&self) -> Option<BodyRefusal> {
        match self.refusal.load(Ordering::Relaxed) {
            TOO_LONG => Some(BodyRefusal::TooLong {
                max_bytes: self.max_bytes.load(Ordering::Relaxed),
            }),
            TIMED_OUT => Some(BodyRefusal::TimedOut),
            BUSY => Some(BodyRefusal::Busy),
            TOO_MANY_PIECES => Some(BodyRefusal::TooManyPieces),
            _ => None,
        }
    }

    fn refuse(&self, why: u8) {
        // The first reason stays, and one task reads the body.
        if self.refusal.load(Ordering::Relaxed) == 0 {
            self.refusal.store(why, Ordering::Relaxed);
        }
    }

    /// Counts `bytes` in all; false where the budget does not have them.
    fn count(&self, bytes: usize) -> bool {
        let counted = self.counted.load(Ordering::Relaxed);
        let more = bytes.saturating_sub(counted);
        let is_trusted = self.is_trusted.load(Ordering::Relaxed);
        if more > 0 && !self.budget.take(more, is_trusted) {
            return false;
        }
        self.counted.fetch_add(more, Ordering::Relaxed);
        true
    }

    fn give_back(&self) {
        self.budget
            .give_back(self.counted.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<S> Layer<S> for BoundBodies {
    type Service = BoundBodiesService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        BoundBodiesService {
            bounds: self.clone(),
            inner,
        }
    }
}

/// The service of [`BoundBodies`].
#[derive(Clone, Debug)]
pub struct BoundBodiesService<S> {
    bounds: BoundBodies,
    inner: S,
}

impl<S> Service<Request> for BoundBodiesService<S>
where
    S: Service<Request, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoundBodiesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let refuse = self.bounds.refuse;
        if request.body().is_end_stream() {
            return BoundBodiesFuture {
                inner: self.inner.call(request),
                receipt: None,
                refuse,
            };
        }
        let limits = &self.bounds.limits;
        let receipt = Arc::new(Receipt {
            max_bytes: AtomicUsize::new(limits.max_bytes),
            is_trusted: AtomicBool::new((self.bounds.is_trusted)(request.extensions())),
            counted: AtomicUsize::new(0),
            refusal: AtomicU8::new(0),
            budget: self.bounds.budget.clone(),
        });
        let (mut parts, inner) = request.into_parts();
        let body = BoundBody {
            inner,
            receipt: receipt.clone(),
            limits: limits.clone(),
            waits_for_continue: parts.headers.contains_key(header::EXPECT),
            first: Bytes::new(),
            collected: Vec::new(),
            received: 0,
            pieces: 0,
            timer: None,
            has_ended: false,
        };
        // Short bodies need no handle: no handler allows them less, and they
        // use no budget.
        let is_short = body
            .inner
            .size_hint()
            .upper()
            .is_some_and(|bytes| bytes <= limits.uncounted_bytes as u64);
        if !is_short {
            parts.extensions.insert(BodyHandle(receipt.clone()));
        }
        BoundBodiesFuture {
            inner: self.inner.call(Request::from_parts(parts, Body::new(body))),
            receipt: Some(receipt),
            refuse,
        }
    }
}

pin_project! {
    /// The response of [`BoundBodiesService`].
    pub struct BoundBodiesFuture<F> {
        #[pin]
        inner: F,
        receipt: Option<Arc<Receipt>>,
        refuse: fn(BodyRefusal) -> Response,
    }
}

impl<F, E> Future for BoundBodiesFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let receipt = this.receipt.take();
        let refusal = receipt.and_then(|receipt| receipt.refusal());
        Poll::Ready(Ok(match refusal {
            Some(refusal) => (this.refuse)(refusal),
            None => response,
        }))
    }
}

/// A body that is handed on as one piece, when all of it is there.
struct BoundBody {
    inner: Body,
    receipt: Arc<Receipt>,
    limits: Arc<BodyLimits>,
    /// The caller sends nothing before it is asked to (RFC 9110, section
    /// 10.1.1).
    waits_for_continue: bool,
    /// A body that arrives in one piece is not copied.
    first: Bytes,
    collected: Vec<u8>,
    received: usize,
    pieces: usize,
    timer: Option<Timer>,
    has_ended: bool,
}

/// Runs while a body is waited for.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    ends_at: tokio::time::Instant,
    /// What had been received when the wait began.
    received: usize,
}

/// What a handler finds in the place of a body that is refused.
#[derive(Debug)]
struct NotRead(BodyRefusal);

impl Display for NotRead {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NotRead {}

impl BoundBody {
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let max_bytes = self.receipt.max_bytes.load(Ordering::Relaxed);
        if self.received == 0 && self.inner.size_hint().lower() > max_bytes as u64 {
            self.refuse(TOO_LONG);
            if self.waits_for_continue {
                return self.end();
            }
        }
        loop {
            let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => {
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return self.end(),
                Poll::Pending => {
                    // The piece is a part of a larger buffer, which would stay.
                    let first = std::mem::take(&mut self.first);
                    self.collected.extend_from_slice(&first);
                    if self.has_timed_out(cx) {
                        self.refuse(TIMED_OUT);
                        return self.end();
                    }
                    return Poll::Pending;
                }
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.received = self.received.saturating_add(data.len());
            self.pieces += 1;
            if self.pieces > MAX_PIECES + max_bytes / MIN_MEAN_PIECE_BYTES {
                self.refuse(TOO_MANY_PIECES);
                return self.end();
            }
            if self.receipt.refusal().is_none() {
                self.keep(data, max_bytes);
            }
            let is_refused = self.receipt.refusal().is_some();
            if self.inner.is_end_stream()
                || is_refused && self.received > self.limits.max_discarded_bytes
            {
                return self.end();
            }
        }
    }

    fn keep(&mut self, data: Bytes, max_bytes: usize) {
        if self.received > max_bytes {
            return self.refuse(TOO_LONG);
        }
        if self.first.is_empty() && self.collected.is_empty() {
            self.first = data;
        } else {
            let first = std::mem::take(&mut self.first);
            self.collected.extend_from_slice(&first);
            self.collected.extend_from_slice(&data);
        }
        let held = self.received.max(self.collected.capacity());
        if !self
            .receipt
            .count(held.saturating_sub(self.limits.uncounted_bytes))
        {
            self.refuse(BUSY);
        }
    }

    fn refuse(&mut self, why: u8) {
        self.receipt.refuse(why);
        self.receipt.give_back();
        self.first = Bytes::new();
        self.collected = Vec::new();
    }

    fn end(&mut self) -> Poll<Option<Result<Bytes, axum::Error>>> {
        self.has_ended = true;
        self.timer = None;
        if let Some(refusal) = self.receipt.refusal() {
            return Poll::Ready(Some(Err(axum::Error::new(NotRead(refusal)))));
        }
        let whole = match self.collected.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.collected).into(),
        };
        Poll::Ready(Some(whole).filter(|whole| !whole.is_empty()).map(Ok))
    }

    fn has_timed_out(&mut self, cx: &mut Context<'_>) -> bool {
        let idle_timeout = self.limits.idle_timeout;
        let received = self.received;
        let timer = self.timer.get_or_insert_with(|| {
            let ends_at = clock::ticks() + self.limits.total_timeout;
            Timer {
                sleep: Box::pin(tokio::time::sleep(idle_timeout)),
                ends_at,
                received,
            }
        });
        if timer.received != received {
            timer.received = received;
            let next = clock::ticks() + idle_timeout;
            timer.sleep.as_mut().reset(next.min(timer.ends_at));
        }
        timer.sleep.as_mut().poll(cx).is_ready()
    }
}

impl HttpBody for BoundBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let whole = ready!(self.poll_whole(cx));
        Poll::Ready(whole.map(|whole| whole.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
