//! What is known about one body: its bounds, the bytes that it holds, and why it is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use super::BodyRefusal;
use crate::byte_budget::ByteBudget;

/// What is known about one body. It lives as long as the request, so the bytes count until the
/// response is created.
#[derive(Debug)]
pub(super) struct Receipt {
    max_bytes: AtomicUsize,
    is_trusted: AtomicBool,
    counted: AtomicUsize,
    refusal: AtomicU8,
    /// How the body is encoded.
    pub(super) encoding: Option<&'static str>,
    budget: Arc<ByteBudget>,
}

pub(super) const TOO_LONG: u8 = 1;
pub(super) const TIMED_OUT: u8 = 2;
pub(super) const BUSY: u8 = 3;
pub(super) const TOO_MANY_PIECES: u8 = 4;
pub(super) const ENCODED: u8 = 5;

impl Receipt {
    pub(super) fn new(
        max_bytes: usize,
        is_trusted: bool,
        encoding: Option<&'static str>,
        budget: Arc<ByteBudget>,
    ) -> Self {
        Self {
            max_bytes: AtomicUsize::new(max_bytes),
            is_trusted: AtomicBool::new(is_trusted),
            counted: AtomicUsize::new(0),
            refusal: AtomicU8::new(0),
            encoding,
            budget,
        }
    }

    /// Maximum size of the body, in bytes.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn allow_bytes(&self, max_bytes: usize) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    pub(super) fn mark_trusted(&self) {
        self.is_trusted.store(true, Ordering::Relaxed);
    }

    pub(super) fn refusal(&self) -> Option<BodyRefusal> {
        match self.refusal.load(Ordering::Relaxed) {
            TOO_LONG => Some(BodyRefusal::TooLong {
                max_bytes: self.max_bytes(),
            }),
            TIMED_OUT => Some(BodyRefusal::TimedOut),
            BUSY => Some(BodyRefusal::Busy),
            TOO_MANY_PIECES => Some(BodyRefusal::TooManyPieces),
            ENCODED => self
                .encoding
                .map(|encoding| BodyRefusal::Encoded { encoding }),
            _ => None,
        }
    }

    pub(super) fn refuse(&self, why: u8) {
        // The first reason is kept, and one task reads the body.
        if self.refusal.load(Ordering::Relaxed) == 0 {
            self.refusal.store(why, Ordering::Relaxed);
        }
    }

    /// Counts `bytes`; returns false if the budget does not have enough.
    pub(super) fn count(&self, bytes: usize) -> bool {
        let counted = self.counted.load(Ordering::Relaxed);
        let more = bytes.saturating_sub(counted);
        let is_trusted = self.is_trusted.load(Ordering::Relaxed);
        if more > 0 && !self.budget.take(more, is_trusted) {
            return false;
        }
        self.counted.fetch_add(more, Ordering::Relaxed);
        true
    }

    pub(super) fn give_back(&self) {
        self.budget
            .give_back(self.counted.swap(0, Ordering::Relaxed));
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.give_back();
    }
}
