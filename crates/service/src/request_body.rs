//! Limits request bodies before a handler sees them: in length, in time, and in the bytes that all
//! requests hold together.
//!
//! A handler receives a body completely or not at all. If it does not arrive, the caller gets the
//! reason, regardless of how the handler treats the error.

mod bound_body;
mod receipt;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, header};
use axum::response::Response;
use hyper::body::Body as _;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use self::bound_body::BoundBody;
use self::receipt::Receipt;
use crate::byte_budget::ByteBudget;

/// Maximum size of a body on routes with long bodies, in bytes ([`allow_bytes`]).
pub const MAX_LONG_BODY_BYTES: usize = 64 * 1024;

/// The limits of request bodies.
#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Maximum size of a body, in bytes, unless a handler allows more ([`allow_bytes`]).
    pub max_bytes: usize,
    /// The first bytes of a body, which are not counted: the limit on connections bounds them.
    pub uncounted_bytes: usize,
    /// Bytes of bodies that all callers together can make the service hold …
    pub open_bytes: usize,
    /// … and how many more are reserved for trusted callers.
    pub reserved_bytes: usize,
    /// Timeout for the next bytes of a body.
    pub idle_timeout: Duration,
    /// Timeout for a whole body.
    pub total_timeout: Duration,
    /// How much of a refused body is read and discarded, in bytes, so that its sender can read why
    /// it is refused instead of finding the connection closed.
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

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyRefusal {
    /// It is too large.
    #[error("the body is too large; the limit is {max_bytes} bytes")]
    TooLong {
        /// Maximum size of a body, in bytes.
        max_bytes: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TimedOut,
    /// It arrives in too many pieces, each of which is as expensive as a large one.
    #[error("the body arrived in too many pieces; send larger chunks")]
    TooManyPieces,
    /// It is compressed.
    #[error("the body is compressed ({encoding}); send it without Content-Encoding")]
    Encoded {
        /// The encoding, or what is known of it.
        encoding: &'static str,
    },
    /// Other requests use all the bytes that are available for bodies.
    #[error("too many requests are being received; try again later")]
    Busy,
}

/// Limits the bodies of the requests that pass through it.
#[derive(Clone, Debug)]
pub struct BoundBodies {
    limits: Arc<BodyLimits>,
    budget: Arc<ByteBudget>,
    is_trusted: fn(&Extensions) -> bool,
    refuse: fn(BodyRefusal) -> Response,
}

impl BoundBodies {
    /// `is_trusted` says from a request's extensions whether its caller may use the reserved bytes,
    /// `refuse` creates the response to a body that is not read.
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

/// Allows the body of this request to be up to `max_bytes` long. Has no effect after the body has
/// been read.
pub fn allow_bytes(extensions: &Extensions, max_bytes: usize) {
    if let Some(BodyHandle(receipt)) = extensions.get() {
        receipt.allow_bytes(max_bytes);
    }
}

/// Allows the body of this request to use the reserved bytes, because its caller is trusted.
pub fn mark_trusted(extensions: &Extensions) {
    if let Some(BodyHandle(receipt)) = extensions.get() {
        receipt.mark_trusted();
    }
}

#[derive(Clone)]
struct BodyHandle(Arc<Receipt>);

/// How the body is encoded (RFC 9110, section 8.4); `None` if it is not.
fn encoding(headers: &HeaderMap) -> Option<&'static str> {
    const KNOWN: [&str; 6] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress"];
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut codings = codings.map(<[u8]>::trim_ascii);
    let coding = codings.find(|it| !it.is_empty() && !it.eq_ignore_ascii_case(b"identity"))?;
    let is_same = |name: &&&str| coding.eq_ignore_ascii_case(name.as_bytes());
    let known = KNOWN.iter().find(is_same).copied();
    Some(known.unwrap_or("with an unknown Content-Encoding"))
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
        let is_trusted = (self.bounds.is_trusted)(request.extensions());
        let budget = self.bounds.budget.clone();
        let encoding = encoding(request.headers());
        let receipt = Receipt::new(limits.max_bytes, is_trusted, encoding, budget);
        let receipt = Arc::new(receipt);
        let (mut parts, inner) = request.into_parts();
        // Short bodies need no handle: no handler allows less, and they use no budget.
        let is_short = inner
            .size_hint()
            .upper()
            .is_some_and(|bytes| bytes <= limits.uncounted_bytes as u64);
        if !is_short {
            parts.extensions.insert(BodyHandle(receipt.clone()));
        }
        let waits_for_continue = parts.headers.contains_key(header::EXPECT);
        let body = BoundBody::new(inner, receipt.clone(), limits.clone(), waits_for_continue);
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
