//! What is known, and how each contact adds to it.
//!
//! Evidence is what a client stores: the lease, a denial, when contact was
//! lost. What it is worth at some instant is never stored, but derived by
//! [`crate::standing`].

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::contact::{Contact, Denial};
use crate::document::VerifiedDenial;
use crate::lease::Lease;
use crate::license_key;

/// Everything that standing is derived from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The key that was activated, as it was sent.
    pub license_key: String,
    /// The cached license; without one there is nothing else.
    pub lease: Option<Lease>,
    /// A verified denial that came after the lease.
    pub denial: Option<VerifiedDenial>,
    /// When the key was activated last.
    pub activated_at: Option<DateTime<Utc>>,
    /// When the last validation or activation was confirmed.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The first unconfirmed validation since then.
    pub grace_started_at: Option<DateTime<Utc>>,
    /// The newest unconfirmed validation since then, for people to read.
    pub last_failure: Option<Failure>,
    /// The License Server reports its own grace period (`gracePeriodActive`). Only
    /// displayed.
    pub server_in_grace: bool,
}

/// A validation that was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When it was tried.
    pub at: DateTime<Utc>,
    /// A short code for programs.
    pub reason: String,
    /// What happened and what to do, for people.
    pub message: String,
    /// Whether the License Server itself said no.
    pub denied: bool,
}

impl Evidence {
    /// The highest sequence number seen for this license, which the next document must exceed.
    /// Another license starts from zero.
    #[must_use]
    pub fn newest_seq(&self, license_key: &str) -> Option<u64> {
        if !license_key::same(&self.license_key, license_key) {
            return None;
        }
        let denied = self.denial.as_ref().map(|denial| denial.claims().seq);
        self.lease.as_ref().and_then(Lease::seq).max(denied)
    }

    /// When the newest signed document was made.
    #[must_use]
    pub fn newest_signed_at(&self) -> Option<DateTime<Utc>> {
        let leased = match &self.lease {
            Some(Lease::Signed(document)) => Some(document.claims().iat),
            _ => None,
        };
        leased.max(self.denial.as_ref().map(|denial| denial.claims().iat))
    }

    /// The evidence after a confirmed activation.
    #[must_use]
    pub fn activated(&self, license_key: &str, lease: Lease, now: DateTime<Utc>) -> Self {
        Self {
            activated_at: Some(now),
            ..self.confirmed(license_key, lease, false, now)
        }
    }

    /// The evidence after a confirmed activation or validation.
    ///
    /// The lease that is already here stays when it is the newer one of the
    /// same license: two calls that cross each other end with the same
    /// evidence in either order.
    #[must_use]
    pub fn confirmed(
        &self,
        license_key: &str,
        lease: Lease,
        server_in_grace: bool,
        now: DateTime<Utc>,
    ) -> Self {
        if lease.seq() < self.newest_seq(license_key) {
            return self.clone();
        }
        Self {
            license_key: license_key.to_owned(),
            lease: Some(lease),
            denial: None,
            activated_at: self.activated_at,
            confirmed_at: Some(now),
            grace_started_at: None,
            last_failure: None,
            server_in_grace,
        }
    }

    /// The evidence after a validation, with any result.
    ///
    /// Only the first unconfirmed validation starts the grace period, and
    /// never later than the lease's own end of validity: failing again, or
    /// failing late, does not make it longer.
    #[must_use]
    pub fn validated(
        &self,
        contact: &Contact,
        now: DateTime<Utc>,
        unsigned_validity: TimeDelta,
    ) -> Self {
        let Some(lease) = &self.lease else {
            return self.clone();
        };
        let failure = match contact {
            Contact::Confirmed(confirmation) => {
                let repeated = confirmation.lease(now, unsigned_validity);
                return self.confirmed(
                    &self.license_key,
                    repeated.unwrap_or_else(|| lease.confirmed_until(now + unsigned_validity)),
                    confirmation.server_in_grace,
                    now,
                );
            }
            Contact::Denied(Denial::Signed(denial)) => {
                if Some(denial.claims().seq) < self.newest_seq(&self.license_key) {
                    return self.clone();
                }
                return Self {
                    denial: Some((**denial).clone()),
                    last_failure: Some(Failure {
                        at: now,
                        reason: denial.claims().reason.as_str().to_owned(),
                        message: denial.claims().message.clone(),
                        denied: true,
                    }),
                    ..self.clone()
                };
            }
            Contact::Denied(Denial::Unsigned(refusal)) => Failure {
                at: now,
                reason: refusal.reason().to_owned(),
                message: refusal.message().to_owned(),
                denied: true,
            },
            Contact::None(why) => Failure {
                at: now,
                reason: why.code().to_owned(),
                message: why.to_string(),
                denied: false,
            },
        };
        Self {
            grace_started_at: self.grace_started_at.or(Some(now.min(lease.valid_until()))),
            last_failure: Some(failure),
            ..self.clone()
        }
    }

    /// What is known when two processes that share a site, or one process and
    /// its own notes from before, know different things.
    ///
    /// `self` is what all share, and decides which license it is about. Of two
    /// that are about the same one, the newer contact counts as a whole; with
    /// none newer, the grace period that started earlier.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        if self.lease.is_none() || !license_key::same(&self.license_key, &other.license_key) {
            return self.clone();
        }
        let age = |evidence: &Self| {
            let seq = evidence.newest_seq(&self.license_key);
            (seq, evidence.confirmed_at, evidence.activated_at)
        };
        match age(self).cmp(&age(other)) {
            Ordering::Greater => self.clone(),
            Ordering::Less => other.clone(),
            Ordering::Equal => {
                let starts = [self.grace_started_at, other.grace_started_at];
                let failure = |evidence: &Self| evidence.last_failure.as_ref().map(|f| f.at);
                let newer = if failure(self) < failure(other) {
                    other
                } else {
                    self
                };
                Self {
                    grace_started_at: starts.into_iter().flatten().min(),
                    last_failure: newer.last_failure.clone(),
                    ..self.clone()
                }
            }
        }
    }
}
