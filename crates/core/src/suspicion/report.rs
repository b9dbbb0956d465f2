//! What a call says about its sender.

use chrono::{DateTime, TimeDelta, Utc};

/// What a call reveals about its sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// The highest sequence number that the site knows; `None` if it reports none, or a value that
    /// is not a number.
    pub newest_seq: Option<u64>,
    /// When it was written, for a request file, according to the file.
    pub written_at: Option<DateTime<Utc>>,
    /// The nonce of the request, for a request file. It is the same if the request is signed again.
    pub nonce: &'a str,
    /// Whether it requests a lease.
    pub asks_for_lease: bool,
    /// Whether it requests a lease although the last lease that was signed for the seat has not
    /// ended, also if the seat was given back since.
    pub has_running_lease: bool,
    /// When the last lease that was signed for the seat ends, with its grace period; `None` if none
    /// was signed.
    pub lease_end: Option<DateTime<Utc>>,
    /// Whether it is an activation. A site that activates a different license than before sends the
    /// number of the former one.
    pub is_activation: bool,
    /// The installation; empty if the site does not send it.
    pub installation_id: &'a str,
    /// Whether the site reports that its hardware has changed.
    pub drifted: bool,
    /// Whether the number was issued by a server whose responses this database does not contain:
    /// see [`crate::restored`].
    pub knows_lost_number: bool,
    /// Maximum duration of a lease and its grace period after a response over the network.
    pub longest_lease: TimeDelta,
    /// When the call is made.
    pub at: DateTime<Utc>,
}

impl Report<'_> {
    /// The period in which irregularities are counted together: `least`, or three maximum leases if
    /// that is longer, because each of several machines has to call once per lease.
    pub(super) fn window(&self, least: TimeDelta) -> TimeDelta {
        let leases = self.longest_lease.checked_mul(3);
        leases.unwrap_or(TimeDelta::MAX).max(least)
    }

    /// When a request file was written. A file may state any time.
    pub(super) fn written_at(&self) -> Option<DateTime<Utc>> {
        self.written_at.map(|it| it.max(DateTime::UNIX_EPOCH))
    }
}
