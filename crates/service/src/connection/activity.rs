//! Events of a connection, counted by its socket and its requests.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use axum::body::Bytes;
use futures_util::task::AtomicWaker;

use crate::byte_budget::ByteBudget;
use crate::byte_shares::{ByteShares, TakenBytes};

/// A head of up to this size fits into the buffer that every connection has.
pub(super) const COUNTED_FROM_BYTES: usize = 8 * 1024;

/// This many bytes of a response, or of a part of a streamed response, are not counted: the limit
/// on connections bounds them.
pub(super) const UNCOUNTED_ANSWER_BYTES: usize = 16 * 1024;

/// Events of a connection: counted by its socket and its requests, read by the connection to which
/// it belongs.
#[derive(Debug)]
pub(crate) struct Activity {
    pub(super) requests: AtomicU64,
    pub(super) answers: AtomicU64,
    /// Whether a part of the latest request's body has not been read.
    pub(super) has_unread_body: AtomicBool,
    /// Whether a handler waits for the latest request's body.
    pub(super) is_body_awaited: AtomicBool,
    /// Whether the peer has closed its sending side while a request was being answered.
    is_half_closed: AtomicBool,
    /// Whether a body was abandoned because the connection was told to close.
    pub(super) is_body_cut: AtomicBool,
    /// The number of responses that have been written completely.
    pub(super) flushed: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) is_write_blocked: AtomicBool,
    /// Bytes received while no request was in flight.
    head_bytes: AtomicUsize,
    /// Bytes of `heads` for the head that is arriving.
    counted: Mutex<Option<TakenBytes>>,
    /// For long heads of HTTP/1, or for requests of HTTP/2.
    heads: Arc<ByteShares>,
    large_answers: Arc<ByteBudget>,
    pub(super) max_head_bytes: usize,
    pub(super) peer: IpAddr,
    is_trusted: bool,
    pub(super) has_no_memory: AtomicBool,
    /// Whether the socket is reset when it is closed.
    pub(super) is_reset: AtomicBool,
    pub(super) order: AtomicU8,
    pub(super) waker: AtomicWaker,
}

/// The connection closes after the request in flight.
pub(super) const CLOSE: u8 = 1;
/// The same, and a request that its peer delays is abandoned.
pub(super) const DISMISS: u8 = 2;
/// The connection ends now.
pub(super) const END: u8 = 3;

impl Activity {
    pub(crate) fn new(
        heads: Arc<ByteShares>,
        large_answers: Arc<ByteBudget>,
        max_head_bytes: usize,
        peer: IpAddr,
        is_trusted: bool,
    ) -> Self {
        Self {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            has_unread_body: AtomicBool::new(false),
            is_body_awaited: AtomicBool::new(false),
            is_half_closed: AtomicBool::new(false),
            is_body_cut: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_write_blocked: AtomicBool::new(false),
            head_bytes: AtomicUsize::new(0),
            counted: Mutex::default(),
            heads,
            large_answers,
            max_head_bytes,
            peer,
            is_trusted,
            has_no_memory: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            order: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let heads = Arc::new(ByteShares::new(0, 0));
        let answers = Arc::new(ByteBudget::new(0, 0));
        let peer = std::net::Ipv4Addr::LOCALHOST.into();
        Self::new(heads, answers, 0, peer, false)
    }

    #[cfg(test)]
    pub(crate) fn is_dismissed(&self) -> bool {
        self.order.load(Ordering::Relaxed) >= DISMISS
    }

    /// Closes the connection once no request is in flight.
    pub(crate) fn close(&self) {
        self.give_order(CLOSE);
    }

    /// Closes the connection in favor of another one, even if the peer delays a request.
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

    pub(super) fn is_request_in_flight(&self) -> bool {
        self.requests.load(Ordering::Relaxed) != self.answers.load(Ordering::Relaxed)
    }

    pub(super) fn begin_request(&self, has_body: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.has_unread_body.store(has_body, Ordering::Relaxed);
        self.is_body_awaited.store(false, Ordering::Relaxed);
        self.head_bytes.store(0, Ordering::Relaxed);
    }

    /// The latest request has been answered, and the response is sent.
    pub(super) fn finish_request(&self) {
        let answers = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
        self.flushed.store(answers, Ordering::Relaxed);
    }

    /// Whether all responses have been written.
    pub(super) fn is_flushed(&self) -> bool {
        let answers = self.answers.load(Ordering::Relaxed);
        self.flushed.load(Ordering::Relaxed) == answers
    }

    /// The peer has closed its sending side. Returns whether it waits for a response. Whether it has
    /// sent the whole body of the request is known once a handler has read that.
    pub(super) fn half_close(&self) -> bool {
        let waits = self.is_request_in_flight() || !self.is_flushed();
        self.is_half_closed.store(waits, Ordering::Relaxed);
        waits
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.is_half_closed.load(Ordering::Relaxed)
    }

    pub(super) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }

    /// The head of the request is no longer needed.
    pub(super) fn forget_head(&self) {
        drop(self.counted().take());
    }

    fn counted(&self) -> MutexGuard<'_, Option<TakenBytes>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of `heads` for this peer; `None` if there are none left for it.
    pub(super) fn take(&self, bytes: usize) -> Option<TakenBytes> {
        self.heads.take(bytes, self.peer, self.is_trusted)
    }

    /// Counts bytes of a head; returns false if there is no memory left for such a long head.
    pub(super) fn receive(&self, bytes: usize) -> bool {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.is_request_in_flight() {
            return true;
        }
        let head_bytes = self.head_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if head_bytes <= COUNTED_FROM_BYTES {
            return true;
        }
        let mut counted = self.counted();
        if counted.is_none() {
            *counted = self.take(self.max_head_bytes);
        }
        let is_taken = counted.is_some();
        drop(counted);
        self.has_no_memory.store(!is_taken, Ordering::Relaxed);
        is_taken
    }

    pub(super) fn note_write(&self, written: &Poll<io::Result<usize>>) {
        self.is_write_blocked
            .store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = written {
            self.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }

    /// Part of a response, whose bytes count until they are sent or discarded; `None` if there is
    /// no memory left for it. Bytes that are shared by all callers, or part of the program, do not
    /// count.
    pub(super) fn count_answer(&self, bytes: Bytes) -> Option<Bytes> {
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

/// Bytes of a response that are waiting for the peer to read.
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
