//! The standing of installations as seen by a License Server, based on the documents
//! that it has signed for them.
//!
//! The License Server cannot tell a site that is in grace because of its connection from a site
//! that is switched off.

use chrono::{DateTime, Utc};

use crate::document::DenialReason;
use crate::lapse::LapseReason;
use crate::standing::Standing;
use crate::usage::{Resource, Usage};

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

/// Whether usage exceeds the license's limit. Licenses use negative limits for
/// "unlimited".
#[must_use]
pub fn is_over(usage: &Usage, limit: impl Fn(Resource) -> i64) -> bool {
    Resource::ALL.into_iter().any(|resource| {
        let limit = u64::try_from(limit(resource)).ok();
        usage
            .of(resource)
            .zip(limit)
            .is_some_and(|(used, limit)| used > limit)
    })
}
