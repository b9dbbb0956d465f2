//! What a listener counts: open connections, and those that it refused or ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::admission::Refusal;
use crate::connection::End;

/// The counters of a listener.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: AtomicU64,
    refused: [AtomicU64; REASONS.len()],
}

/// The reasons for refused or ended connections in the metrics: all are in use, all of an address
/// are in use, no memory for a long head, too slow.
const REASONS: [&str; 4] = ["total", "address", "memory", "timeout"];

impl ConnectionCounts {
    /// The number of open connections.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were refused or ended since the start, by reason:
    /// `total`, `address`, `memory`, `timeout`.
    #[must_use]
    pub fn refused(&self) -> [(&'static str, u64); REASONS.len()] {
        std::array::from_fn(|reason| {
            let count = self.refused[reason].load(Ordering::Relaxed);
            (REASONS[reason], count)
        })
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::Total => 0,
            Refusal::Address => 1,
        };
        self.refused[reason].fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, end: End) {
        let reason = match end {
            End::Closed => return,
            End::NoMemory => 2,
            End::TimedOut => 3,
        };
        self.refused[reason].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a connection while it is open.
pub(super) struct Open(Arc<ConnectionCounts>);

impl Open {
    pub(super) fn new(counts: Arc<ConnectionCounts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }

    /// The connection is no longer open, because of `end`.
    pub(super) fn close(self, end: End) {
        self.0.ended(end);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
