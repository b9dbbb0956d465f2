//! Decides which stored evidence may replace the known evidence, if keys are trusted.
//!
//! Processes of one site share what they know through its database, and users of that database
//! can write there, too. What a process knows itself, or finds in `STATE_DIR`, is replaced only
//! by what a vendor's document proves: a newer one of the same license, or one of another license
//! that was not seen before. An unsigned license is worthless after a signed one was seen;
//! otherwise all unsigned licenses share one grace period. Data stored beside an already known
//! document proves nothing new, also if the document disappears and comes back. After a
//! deactivation, only a newer document of that license counts.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::Map;

use crate::evidence::{EXPIRED_GRACE_START, Evidence, Failure};
use crate::lease::Lease;
use crate::license::License;
use crate::license_key;
use crate::remembered::Remembered;

/// Why the stored evidence is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotTakenOver {
    /// It is signed, but older than the known evidence.
    #[error("a newer document was seen before")]
    Older,
    /// The license was deactivated, and the document is not newer.
    #[error("the license was deactivated")]
    GivenUp,
    /// It is unsigned.
    #[error("it is unsigned, and a signed license was seen before")]
    Unsigned,
}

/// The evidence that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenOver {
    /// The evidence.
    pub evidence: Evidence,
    /// Why the stored evidence is not used; `None` also if it is equally new.
    pub error: Option<NotTakenOver>,
}

/// The evidence that counts when `stored` is found in a place where others can write, in a process
/// that knows `known` and whose installation remembers `remembered`. Documents in both have been
/// verified, and are for this installation.
///
/// If no license is stored, the site has none: it was deactivated.
///
/// What is only displayed is never taken from there: the last change is derived from the licenses,
/// and the reason for a failure from `known` or the denial. Otherwise `stored` must not contain one
/// that others can write ([`Failure::without_reason`]).
#[must_use]
pub fn take_over(
    known: &Evidence,
    stored: Evidence,
    remembered: &Remembered,
    now: DateTime<Utc>,
) -> TakenOver {
    let stays = |error| TakenOver {
        evidence: known.clone(),
        error,
    };
    let knows_signed = is_signed(known);
    if stored.lease.is_none() {
        return TakenOver::stored(stored);
    }
    let stored = stored.displayed_by(known, now);
    if !is_signed(&stored) {
        return if knows_signed {
            stays(Some(NotTakenOver::Unsigned))
        } else if remembered.has_signed() && stored.grace_started_at > Some(EXPIRED_GRACE_START) {
            TakenOver::discredited(&stored, NotTakenOver::Unsigned, now)
        } else {
            TakenOver::stored(stored)
        };
    }
    let key = stored.license_key();
    let seq = stored.newest_seq(key);
    if knows_signed && license_key::same(known.license_key(), key) {
        return match seq.cmp(&known.newest_seq(key)) {
            Ordering::Greater if seq > remembered.newest_seq(key) => TakenOver::stored(stored),
            Ordering::Equal => stays(None),
            Ordering::Greater | Ordering::Less => stays(Some(NotTakenOver::Older)),
        };
    }
    match seq.cmp(&remembered.newest_seq(key)) {
        Ordering::Greater => TakenOver::stored(stored),
        _ if remembered.is_given_up(key) && !knows_signed => {
            TakenOver::discredited(&stored, NotTakenOver::GivenUp, now)
        }
        // It was seen before, and disappeared. The data stored beside it now may come from anyone.
        Ordering::Equal if !knows_signed && remembered.knows(key) => {
            TakenOver::stored(stored.proven())
        }
        Ordering::Equal | Ordering::Less if knows_signed => stays(Some(NotTakenOver::Older)),
        Ordering::Equal | Ordering::Less => {
            TakenOver::discredited(&stored, NotTakenOver::Older, now)
        }
    }
}

/// What counts when `stored` is found by a process that has just started, where only this service
/// can write. Decides like [`take_over`], but also accepts the data stored beside a document.
#[must_use]
pub fn take_up(stored: Evidence, remembered: &Remembered, now: DateTime<Utc>) -> TakenOver {
    let taken = take_over(&Evidence::default(), stored.clone(), remembered, now);
    match taken.error {
        None => TakenOver::stored(stored),
        Some(_) => taken,
    }
}

impl TakenOver {
    fn stored(evidence: Evidence) -> Self {
        Self {
            evidence,
            error: None,
        }
    }

    fn discredited(stored: &Evidence, error: NotTakenOver, now: DateTime<Utc>) -> Self {
        Self {
            evidence: discredited(stored, &error.to_string(), now),
            error: Some(error),
        }
    }
}

/// Evidence that is not trusted, because of `why`. It grants nothing, but shows that there was a
/// license: the site has lapsed, its core features stay on, and the License Server is asked. Nothing
/// of the license is kept but its key.
#[must_use]
pub fn discredited(evidence: &Evidence, why: &str, now: DateTime<Utc>) -> Evidence {
    Evidence {
        lease: Some(Lease::adopted(
            evidence.license_key(),
            License::new(Map::new()),
            EXPIRED_GRACE_START,
            EXPIRED_GRACE_START,
        )),
        denial: None,
        activated_at: evidence.activated_at,
        confirmed_at: evidence.confirmed_at,
        grace_started_at: Some(EXPIRED_GRACE_START),
        last_failure: Some(Failure::new(
            now,
            "not_genuine",
            &format!("the cached license is not genuine: {why}"),
            false,
        )),
        server_in_grace: false,
        last_change: None,
    }
}

/// Whether it is the result of [`discredited`].
#[must_use]
pub fn is_discredited(evidence: &Evidence) -> bool {
    let is_adopted = matches!(evidence.lease, Some(Lease::Adopted(_)));
    is_adopted && evidence.grace_started_at == Some(EXPIRED_GRACE_START)
}

fn is_signed(evidence: &Evidence) -> bool {
    matches!(evidence.lease, Some(Lease::Signed(_)))
}
