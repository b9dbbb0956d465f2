//! The requests of one connection whose answers have not been sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::byte_shares::TakenBytes;
use crate::clock;
use crate::connection::activity::Activity;

/// The memory that a request takes until its response is sent, in bytes: its headers, and the part
/// of its body that `request_body.rs` does not count.
const REQUEST_BYTES: usize = 12 * 1024;

/// The requests of one connection whose responses have not been sent.
pub(super) struct Streams {
    activity: Arc<Activity>,
    book: Mutex<Book>,
}

#[derive(Default)]
pub(super) struct Book {
    begun: u64,
    /// By request number: when the request began.
    unfinished: BTreeMap<u64, Instant>,
}

impl Book {
    pub(super) fn finished(&self) -> u64 {
        self.begun - self.unfinished.len() as u64
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.unfinished.first_key_value().map(|(_, since)| *since)
    }
}

impl Streams {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self {
            activity,
            book: Mutex::default(),
        }
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(super) fn begin(self: &Arc<Self>) -> Arc<InFlight> {
        let mut book = self.book();
        let number = book.begun;
        book.begun += 1;
        book.unfinished.insert(number, clock::ticks());
        drop(book);
        Arc::new(InFlight {
            number,
            bytes: self.activity.take(REQUEST_BYTES),
            streams: self.clone(),
        })
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request until its response is sent or abandoned. Its connection then checks again, because
/// tasks other than the connection's create responses.
pub(super) struct InFlight {
    number: u64,
    /// `None` if there is no memory left for the request.
    pub(super) bytes: Option<TakenBytes>,
    pub(super) streams: Arc<Streams>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.streams.book().unfinished.remove(&self.number);
        self.streams.activity.waker.wake();
    }
}
