//! What is known, and how each contact adds to it.
//!
//! Evidence is what a client stores: the lease, a denial, when contact was lost. Its meaning at a
//! given instant is never stored, but derived by [`crate::standing`].

use std::cmp::Ordering;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::document::VerifiedDenial;
use crate::foreign_text;
use crate::last_change::LastChange;
use crate::lease::Lease;
use crate::license_key;
use crate::response::{Contact, Denial};
use crate::stored_time;
use crate::thumbprint::Thumbprint;

/// A start of the grace period that is so early that the period has ended. Only evidence that is
/// not trusted has it ([`crate::taking_over::discredited`]).
pub const EXPIRED_GRACE_START: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// The data from which the standing is derived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The cached license, with its key; without one there is nothing else.
    pub lease: Option<Lease>,
    /// A verified denial that is newer than the lease.
    pub denial: Option<VerifiedDenial>,
    /// When the key was last activated.
    pub activated_at: Option<DateTime<Utc>>,
    /// When the last validation or activation was confirmed.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The first unconfirmed validation since the last confirmation.
    pub grace_started_at: Option<DateTime<Utc>>,
    /// The newest unconfirmed validation since the last confirmation, for display.
    pub last_failure: Option<Failure>,
    /// The License Server reports its own grace period (`gracePeriodActive`). Only
    /// displayed.
    pub server_in_grace: bool,
    /// The last change that a confirmation brought. Only displayed, by [`Self::last_change`].
    pub last_change: Option<LastChange>,
}

/// A validation that was not confirmed. Its texts are safe to display, also when they were read
/// where others can write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    #[serde(deserialize_with = "stored_time::deserialize")]
    at: DateTime<Utc>,
    #[serde(deserialize_with = "identifier")]
    reason: String,
    #[serde(deserialize_with = "message")]
    message: String,
    denied: bool,
}

impl Failure {
    /// A validation at `at` that failed for `reason`, a short code for programs. `message` says
    /// what happened and what to do, for people. `denied`: the License Server itself said no.
    #[must_use]
    pub fn new(at: DateTime<Utc>, reason: &str, message: &str, denied: bool) -> Self {
        Self {
            at,
            reason: foreign_text::identifier(reason),
            message: foreign_text::message(message),
            denied,
        }
    }

    /// The validation at `at` that was answered with this denial.
    fn of_denial(at: DateTime<Utc>, denial: &VerifiedDenial) -> Self {
        let claims = denial.claims();
        Self::new(at, claims.reason.as_str(), &claims.message, true)
    }

    /// The same failure as far as it may be believed if others could have written it: when it
    /// happened, but not why.
    #[must_use]
    pub fn without_reason(&self) -> Self {
        Self::new(
            self.at,
            "not_confirmed",
            "the validation was not confirmed; the reason is in the log of the process that tried",
            false,
        )
    }

    /// When it was attempted.
    #[must_use]
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// A short code for programs, of at most
    /// [`MAX_IDENTIFIER_CHARS`](foreign_text::MAX_IDENTIFIER_CHARS).
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What happened and what to do, for people, in at most
    /// [`MAX_MESSAGE_CHARS`](foreign_text::MAX_MESSAGE_CHARS).
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the License Server itself denied the license.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        self.denied
    }
}

fn identifier<'de, D: Deserializer<'de>>(stored: D) -> Result<String, D::Error> {
    String::deserialize(stored).map(|text| foreign_text::identifier(&text))
}

fn message<'de, D: Deserializer<'de>>(stored: D) -> Result<String, D::Error> {
    String::deserialize(stored).map(|text| foreign_text::message(&text))
}

impl Evidence {
    /// The key of the cached license, see [`Lease::license_key`]; empty without one.
    #[must_use]
    pub fn license_key(&self) -> &str {
        self.lease.as_ref().map_or("", Lease::license_key)
    }

    /// What its documents prove, without what was only stored beside them; nothing if the lease is
    /// not signed.
    #[must_use]
    pub fn proven(&self) -> Self {
        let Some(Lease::Signed(document)) = &self.lease else {
            return Self::default();
        };
        let signed_at = Some(document.claims().iat);
        Self {
            lease: self.lease.clone(),
            denial: self.denial.clone(),
            activated_at: signed_at,
            confirmed_at: signed_at,
            ..Self::default()
        }
    }

    /// The highest sequence number seen for this license, which the next document must exceed.
    /// Another license starts from zero.
    #[must_use]
    pub fn newest_seq(&self, license_key: &str) -> Option<u64> {
        if !license_key::same(self.license_key(), license_key) {
            return None;
        }
        let denied = self.denial.as_ref().map(|denial| denial.claims().seq);
        self.lease.as_ref().and_then(Lease::seq).max(denied)
    }

    /// The newest signed license of this license key, as it was signed.
    #[must_use]
    pub fn document(&self, license_key: &str) -> Option<String> {
        match &self.lease {
            Some(Lease::Signed(document)) if license_key::same(self.license_key(), license_key) => {
                Some(document.jws().to_owned())
            }
            _ => None,
        }
    }

    /// Whether the signed license names a bound installation key; `None` without a signed license.
    #[must_use]
    pub fn document_names_key(&self) -> Option<bool> {
        let is_signed = matches!(self.lease, Some(Lease::Signed(_)));
        is_signed.then(|| self.bound_key().is_some())
    }

    /// The installation key that the License Server has bound to the seat, if it has.
    #[must_use]
    pub fn bound_key(&self) -> Option<Thumbprint> {
        match &self.lease {
            Some(Lease::Signed(document)) => document.claims().bound_key(),
            _ => None,
        }
    }

    /// When the newest signed document was created.
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
    pub fn activated(&self, lease: Lease, now: DateTime<Utc>) -> Self {
        Self {
            activated_at: Some(now),
            ..self.confirmed(lease, false, now)
        }
    }

    /// The evidence after a confirmed activation or validation.
    ///
    /// If the current lease is for the same license and newer, it is kept: two calls that cross
    /// each other produce the same evidence in either order.
    #[must_use]
    pub fn confirmed(&self, lease: Lease, server_in_grace: bool, now: DateTime<Utc>) -> Self {
        if lease.seq() < self.newest_seq(lease.license_key()) {
            return self.clone();
        }
        Self {
            last_change: self.change_to(&lease, now),
            lease: Some(lease),
            denial: None,
            activated_at: self.activated_at,
            confirmed_at: Some(now),
            grace_started_at: None,
            last_failure: None,
            server_in_grace,
        }
    }

    /// What changed last, at `now` or earlier; `None` if nothing has changed since the activation.
    #[must_use]
    pub fn last_change(&self, now: DateTime<Utc>) -> Option<LastChange> {
        let lease = self.lease.as_ref()?;
        let on_its_own = LastChange::on_its_own(lease.license(), now);
        let on_its_own = on_its_own.filter(|change| self.activated_at < Some(change.at));
        let both = [self.last_change.clone(), on_its_own];
        both.into_iter().flatten().max_by_key(|change| change.at)
    }

    /// This evidence, found by a process that knows `known` where others can write. What is only
    /// displayed is taken from what that process knows and from signed documents: the last change is
    /// the difference between two licenses, and the reason for a failure is that of the denial.
    #[must_use]
    pub(crate) fn displayed_by(self, known: &Self, now: DateTime<Utc>) -> Self {
        let signed_at = self.newest_signed_at();
        let last_change = match &self.lease {
            lease if *lease == known.lease => known.last_change.clone(),
            Some(lease) => known.change_to(lease, signed_at.unwrap_or(now).min(now)),
            None => None,
        };
        let is_known = license_key::same(known.license_key(), self.license_key());
        let known_failure = known.last_failure.as_ref().filter(|_| is_known);
        let last_failure = self
            .last_failure
            .map(|failure| match (known_failure, &self.denial) {
                (Some(known), _) if known.at == failure.at => known.clone(),
                (_, Some(denial)) => Failure::of_denial(failure.at, denial),
                (_, None) => failure,
            });
        Self {
            last_failure,
            last_change,
            ..self
        }
    }

    /// What changed last, if `lease` replaces the present one at `now`.
    fn change_to(&self, lease: &Lease, now: DateTime<Utc>) -> Option<LastChange> {
        let present = self.lease.as_ref()?.license();
        // A license that could not be read says nothing about what was different.
        let is_known = !present.data().is_empty();
        let change = is_known.then(|| LastChange::between(present, lease.license(), now));
        change.flatten().or_else(|| self.last_change(now))
    }

    /// The evidence after a validation, with any result.
    ///
    /// Only the first unconfirmed validation starts the grace period, and never later than the end
    /// of the lease's validity: repeated or late failures do not extend it.
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
                let repeated = confirmation.lease(self.license_key(), now, unsigned_validity);
                return self.confirmed(
                    repeated.unwrap_or_else(|| lease.confirmed_until(now + unsigned_validity)),
                    confirmation.server_in_grace,
                    now,
                );
            }
            Contact::Denied(Denial::Signed(denial)) => {
                if Some(denial.claims().seq) < self.newest_seq(self.license_key()) {
                    return self.clone();
                }
                return Self {
                    denial: Some((**denial).clone()),
                    last_failure: Some(Failure::of_denial(now, denial)),
                    ..self.clone()
                };
            }
            Contact::Denied(Denial::Unsigned(refusal)) => {
                Failure::new(now, refusal.reason(), refusal.message(), true)
            }
            Contact::None(why) => Failure::new(now, why.code(), &why.to_string(), false),
        };
        Self {
            grace_started_at: self.grace_started_at.or(Some(now.min(lease.valid_until()))),
            last_failure: Some(failure),
            ..self.clone()
        }
    }

    /// Merges the evidence of two processes that share a site, or of a process and its earlier
    /// local copy.
    ///
    /// `self` is the shared evidence, and decides which license applies. If both are about the same
    /// license, the evidence with the newer contact is used as a whole; if neither is newer, the
    /// grace period that started earlier is used.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        if self.lease.is_none() || !license_key::same(self.license_key(), other.license_key()) {
            return self.clone();
        }
        let age = |evidence: &Self| {
            let seq = evidence.newest_seq(self.license_key());
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
