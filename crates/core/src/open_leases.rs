//! Which leases by file of one seat may still be in use, each on a different machine.
//!
//! A request may state any number and any time, and a file may be carried for weeks or never be
//! imported. Only the signed leases are certain. Each signed lease counts until it ends, or until
//! the machine that has it requests the next one: only that machine knows its number.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::short_hash::short_hash;

/// More open leases by file than this indicate several machines. A machine that was reinstalled, or
/// that never received a file, has one lease more than it uses.
pub const MAX_OPEN_LEASES: usize = 2;
/// The period in which requests without a number are counted together, while another lease by file
/// is open.
pub const BLIND_REQUESTS_WINDOW: TimeDelta = TimeDelta::days(365);

/// Maximum number of open leases that are remembered; the newest are kept. Each lease beyond
/// [`MAX_OPEN_LEASES`] is reported anyway.
const MAX_REMEMBERED: usize = 8;
/// Maximum number of sequence numbers that are remembered for one lease; the newest are kept.
const MAX_NUMBERS: usize = 4;

/// The open leases of one seat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenLeases(Vec<OpenLease>);

/// A lease by file that no request of its machine has replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenLease {
    /// Hash of the request's nonce. Only the sender of the request can import the response, however
    /// often the request is signed.
    request: String,
    /// The numbers of the responses to it, newest last.
    numbers: Vec<u64>,
    /// The numbers that its machine has reported over the network since then, and the numbers of
    /// the responses.
    online: Option<RangeInclusive<u64>>,
    /// The end of the lease and its grace period.
    exp: DateTime<Utc>,
}

/// A lease that was signed for a request file.
#[derive(Clone, Copy, Debug)]
pub struct SignedLease<'a> {
    /// The nonce of the request.
    pub nonce: &'a str,
    /// The number that the request reported, if it can be true.
    pub said: Option<u64>,
    /// The number of the response.
    pub seq: u64,
    /// The end of the lease and its grace period.
    pub exp: DateTime<Utc>,
    /// When it was signed.
    pub at: DateTime<Utc>,
}

impl OpenLeases {
    /// Adds a lease, which replaces the previous lease of its machine. Returns whether it replaces
    /// none and there are now too many. A response that ends immediately is not a lease.
    pub fn add(&mut self, lease: &SignedLease<'_>) -> bool {
        self.0.retain(|it| it.exp > lease.at);
        if lease.exp <= lease.at {
            return false;
        }
        let request = short_hash(lease.nonce);
        if let Some(known) = self.0.iter_mut().find(|it| it.request == request) {
            known.exp = known.exp.max(lease.exp);
            known.numbers.push(lease.seq);
            let forgotten = known.numbers.len().saturating_sub(MAX_NUMBERS);
            known.numbers.drain(..forgotten);
            return false;
        }
        let replaced = lease.said.and_then(|said| self.place_of(said));
        if let Some(place) = replaced {
            self.0.remove(place);
        }
        self.0.push(OpenLease {
            request,
            numbers: vec![lease.seq],
            online: None,
            exp: lease.exp,
        });
        let are_too_many = self.0.len() > MAX_OPEN_LEASES;
        let forgotten = self.0.len().saturating_sub(MAX_REMEMBERED);
        self.0.drain(..forgotten);
        are_too_many && replaced.is_none()
    }

    /// Records that a machine that reported one number over the network received another one, whose
    /// document it keeps. The lease by file stays open: the machine may be restored to a state
    /// before the call, and use the lease again.
    pub fn note_answer(&mut self, said: u64, seq: u64) {
        let Some(lease) = self.place_of(said).and_then(|it| self.0.get_mut(it)) else {
            return;
        };
        // A request may be carried for weeks while its machine makes calls.
        let first = lease.online.as_ref().map_or(said, |it| *it.start());
        lease.online = Some(first..=seq);
    }

    /// The lease whose machine knows this number.
    fn place_of(&self, said: u64) -> Option<usize> {
        let knows = |it: &OpenLease| {
            let online = it.online.as_ref();
            it.numbers.contains(&said) || online.is_some_and(|online| online.contains(&said))
        };
        self.0.iter().position(knows)
    }

    /// Whether any lease is open, and none of them was signed for this request.
    #[must_use]
    pub fn are_of_others(&self, nonce: &str, at: DateTime<Utc>) -> bool {
        let request = short_hash(nonce);
        self.count(at) > 0 && self.0.iter().all(|it| it.request != request)
    }

    /// The number of open leases.
    #[must_use]
    pub fn count(&self, at: DateTime<Utc>) -> usize {
        self.0.iter().filter(|it| it.exp > at).count()
    }
}
