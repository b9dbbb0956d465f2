//! Derives the standing from the evidence and the time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::entitlement::next_instant;
use crate::evidence::Evidence;
use crate::lapse::LapseReason;
use crate::license::Expiry;

/// The settings of a site that affect its standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a site may work without a confirmed validation
    /// (`OFFLINE_GRACE_PERIOD_HOURS`). It can only shorten what is signed.
    pub grace: TimeDelta,
    /// Whether core features work before any license is activated
    /// (`ALLOW_UNLICENSED_CORE_FEATURES`).
    pub allow_unlicensed_core: bool,
}

/// The standing of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No license is stored.
    Unlicensed,
    /// The license was confirmed and the next validation is not overdue.
    Active,
    /// Validations fail or are overdue; everything works until the given instant,
    /// inclusive.
    Grace {
        /// End of grace.
        until: DateTime<Utc>,
    },
    /// Licensed features are off.
    Lapsed(LapseReason),
}

impl Standing {
    /// A code for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unlicensed => "unlicensed",
            Self::Active => "active",
            Self::Grace { .. } => "grace",
            Self::Lapsed(_) => "lapsed",
        }
    }
}

/// Derives the standing. The first matching rule applies; all bounds are
/// inclusive.
#[must_use]
pub fn standing(evidence: &Evidence, now: DateTime<Utc>, policy: &Policy) -> Standing {
    let Some(lease) = &evidence.lease else {
        return Standing::Unlicensed;
    };
    if let Some(denial) = &evidence.denial
        && lease.seq().is_none_or(|seq| denial.claims().seq > seq)
    {
        return Standing::Lapsed(LapseReason::Denied(denial.claims().reason.clone()));
    }
    if let Expiry::At(end) = lease.license().expiry()
        && now > end
    {
        return Standing::Lapsed(LapseReason::LicenseExpired);
    }
    let within_validity = now <= lease.valid_until() && !lease.is_on_probation();
    if within_validity && (lease.is_offline() || evidence.grace_started_at.is_none()) {
        return Standing::Active;
    }
    let until = grace_end(evidence, policy).unwrap_or(DateTime::<Utc>::MIN_UTC);
    if now <= until {
        return Standing::Grace { until };
    }
    Standing::Lapsed(LapseReason::GracePeriodExpired)
}

/// When grace ends, or would end if no further validation succeeds; `None` without a
/// license.
#[must_use]
pub fn grace_end(evidence: &Evidence, policy: &Policy) -> Option<DateTime<Utc>> {
    let lease = evidence.lease.as_ref()?;
    let start = evidence
        .grace_started_at
        .unwrap_or_else(|| lease.valid_until());
    let end = start
        .checked_add_signed(policy.grace)
        .unwrap_or(DateTime::<Utc>::MAX_UTC);
    Some(lease.end().map_or(end, |latest| latest.min(end)))
}

/// The last instant at which the standing at `now` is valid without new evidence; `None` if it
/// never changes.
#[must_use]
pub fn holds_until(
    evidence: &Evidence,
    now: DateTime<Utc>,
    policy: &Policy,
) -> Option<DateTime<Utc>> {
    let lease = evidence.lease.as_ref()?;
    let expiry = match lease.license().expiry() {
        Expiry::At(end) => Some(end),
        Expiry::Never | Expiry::Unreadable => None,
    };
    let bounds = [
        expiry,
        Some(lease.valid_until()),
        grace_end(evidence, policy),
    ];
    let mut bounds: Vec<DateTime<Utc>> = bounds.into_iter().flatten().collect();
    bounds.retain(|bound| *bound >= now);
    bounds.sort_unstable();
    let current = standing(evidence, now, policy);
    bounds.into_iter().find(|bound| {
        next_instant(*bound).is_some_and(|after| standing(evidence, after, policy) != current)
    })
}
