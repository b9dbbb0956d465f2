//! How a License Server sees its installations: by what it has signed for them,
//! and when.
//!
//! It cannot know more. A site that is in grace because its own connection is
//! broken looks the same from here as one that is switched off.

use chrono::{DateTime, Utc};

use crate::document::DenialReason;
use crate::standing::{LapseReason, Standing};
use crate::usage::{Resource, Usage};

/// The newest lease that was signed for an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Until when it need not be confirmed.
    pub valid_until: DateTime<Utc>,
    /// End of its grace.
    pub exp: DateTime<Utc>,
}

/// Where an installation stands that holds a seat. `denial` is what it would be
/// told if it asked now. Bounds are inclusive, as in
/// [`standing`](crate::standing::standing).
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

/// Whether more is in use than a license allows. Negative limits are how
/// licenses say that there is none.
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
