//! The standing of installations as seen by a License Server, based on the documents
//! that it has signed for them.
//!
//! The License Server cannot tell a site that is in grace because of its connection from a site
//! that is switched off.

use chrono::{DateTime, Utc};

use crate::document::DenialReason;
use crate::entitlement::Quantity;
use crate::lapse::LapseReason;
use crate::standing::Standing;
use crate::usage::Usage;

/// The newest lease signed for an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The last instant at which it needs no confirmation.
    pub valid_until: DateTime<Utc>,
    /// End of its grace.
    pub exp: DateTime<Utc>,
}

/// The standing of an installation with a seat. `denial` is the denial that it would get now.
/// Bounds are inclusive, as in [`standing`](crate::standing::standing).
#[must_use]
pub fn standing_seen(
    denial: Option<&DenialReason>,
    signed: Option<Signed>,
    now: DateTime<Utc>,
) -> Standing {
    match denial {
        Some(DenialReason::Expired) => return Standing::Lapsed(LapseReason::LicenseExpired),
        Some(reason) => return Standing::Lapsed(LapseReason::Denied(reason.clone())),
        None => {}
    }
    match signed {
        Some(signed) if now <= signed.valid_until => Standing::Active,
        Some(signed) if now <= signed.exp => Standing::Grace { until: signed.exp },
        _ => Standing::Lapsed(LapseReason::GracePeriodExpired),
    }
}

/// Whether a site uses more of anything than its license grants. What is not known is not more.
#[must_use]
pub fn is_over(usage: &Usage, granted: impl Fn(&str) -> Quantity) -> bool {
    let mut used = usage.known();
    used.any(|(key, amount)| granted(key).number().is_some_and(|limit| limit < amount))
}
