//! A body that is handed on as one piece, within its bounds.

use std::error::Error;
use std::fmt::{Display, Formatter};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use super::receipt::{BUSY, ENCODED, Receipt, TIMED_OUT, TOO_LONG, TOO_MANY_PIECES};
use super::{BodyLimits, BodyRefusal};
use crate::clock;

/// A body that is passed on as one piece, when it is complete.
pub(super) struct BoundBody {
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

/// Number of pieces that are accepted in any body …
const MAX_PIECES: usize = 1024;
/// … and the mean size of further pieces, in bytes. A TCP segment is at least twice as long.
const MIN_MEAN_PIECE_BYTES: usize = 256;

/// Runs while a body is waited for.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    ends_at: tokio::time::Instant,
    /// The number of bytes received when the wait began.
    received: usize,
}

/// What a handler receives instead of a refused body.
#[derive(Debug)]
struct NotRead(BodyRefusal);

impl Display for NotRead {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for NotRead {}

impl BoundBody {
    pub(super) fn new(
        inner: Body,
        receipt: Arc<Receipt>,
        limits: Arc<BodyLimits>,
        waits_for_continue: bool,
    ) -> Self {
        Self {
            inner,
            receipt,
            limits,
            waits_for_continue,
            first: Bytes::new(),
            collected: Vec::new(),
            received: 0,
            pieces: 0,
            timer: None,
            has_ended: false,
        }
    }

    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let max_bytes = self.receipt.max_bytes();
        if self.received == 0 {
            if self.receipt.encoding.is_some() {
                self.refuse(ENCODED);
            } else if self.inner.size_hint().lower() > max_bytes as u64 {
                self.refuse(TOO_LONG);
            }
            if self.waits_for_continue && self.receipt.refusal().is_some() {
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
                    // The piece is part of a larger buffer, which would otherwise be kept.
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
