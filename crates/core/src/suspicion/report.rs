//! What a call says of its sender.

use chrono::{DateTime, TimeDelta, Utc};

/// What a call says of its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// The highest sequence number that the site knows; `None` when it does not
    /// say, or says something that is no number.
    pub newest_seq: Option<u64>,
    /// When it was written, where it is a request file; by what the file says.
    pub written_at: Option<DateTime<Utc>>,
    /// The nonce of the request, where it is a file: a request that is signed again has the same.
    pub nonce: &'a str,
    /// It asks for a lease.
    pub asks_for_lease: bool,
    /// It asks for a lease, and the last one of the seat that it holds has not ended.
    pub has_running_lease: bool,
    /// It is an activation. A site that activates another license than before
    /// sends the number of that one.
    pub is_activation: bool,
    /// The installation; empty when the site does not say.
    pub installation_id: &'a str,
    /// The site says that its hardware has changed.
    pub drifted: bool,
    /// The number was issued by a server whose answers this database does not have: see
    /// [`crate::restored`].
    pub knows_lost_number: bool,
    /// Maximum time that a lease and its grace period count after an answer over the network.
    pub longest_lease: TimeDelta,
    /// When the call is made.
    pub at: DateTime<Utc>,
}

impl Report<'_> {
    /// When a request file was written. A file may say any time.
    pub(super) fn written_at(&self) -> Option<DateTime<Utc>> {
        self.written_at.map(|it| it.max(DateTime::UNIX_EPOCH))
    }
}
