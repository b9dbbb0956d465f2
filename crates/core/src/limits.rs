//! May this much more be put to use?
//!
//! A limit is about what is added. Being over it, after a downgrade or a
//! change behind our back, never switches off what already runs.

use crate::license::License;
use crate::standing::Policy;
use crate::usage::Resource;

/// The answer to "may this much more be put to use?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitDecision {
    /// Whether it may.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: LimitReason,
    /// The most that the license allows; `None` without a limit.
    pub limit: Option<u64>,
    /// What is in use now; `None` when nobody knows.
    pub in_use: Option<u64>,
    /// What may still be added; `None` without a limit. 0 when over it.
    pub remaining: Option<u64>,
}

/// Why something may be added or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReason {
    /// It fits.
    WithinLimit,
    /// It does not fit.
    LimitReached,
    /// More than the limit is in use, and nothing was asked for: what runs goes on.
    OverLimit,
    /// The license has no such limit.
    Unlimited,
    /// There is no license, hence no limit: it may be added where core
    /// features work unlicensed.
    NoLicense,
}

impl LimitReason {
    /// A short word that programs can compare.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::WithinLimit => "within_limit",
            Self::LimitReached => "limit_reached",
            Self::OverLimit => "over_limit",
            Self::Unlimited => "unlimited",
            Self::NoLicense => "no_license",
        }
    }
}

/// What the license allows at most; `None` where it has no such limit. A
/// negative number is how licenses say that there is none.
#[must_use]
pub fn limit(license: &License, resource: Resource) -> Option<u64> {
    let limit = match resource {
        Resource::Cameras => license.max_cameras(),
        Resource::Users => license.max_users(),
        Resource::StorageGb => license.max_storage_gb(),
    };
    limit.and_then(|limit| u64::try_from(limit).ok())
}

/// Decides whether `requested` more may be added to what is in use. Limits
/// stay what they are in grace and after a lapse: cameras are a core feature.
#[must_use]
pub fn check(
    license: Option<&License>,
    resource: Resource,
    requested: u64,
    in_use: Option<u64>,
    policy: &Policy,
) -> LimitDecision {
    let unlimited = |allowed, reason| LimitDecision {
        allowed,
        reason,
        limit: None,
        in_use,
        remaining: None,
    };
    let Some(license) = license else {
        return unlimited(policy.allow_unlicensed_core, LimitReason::NoLicense);
    };
    let Some(limit) = limit(license, resource) else {
        return unlimited(true, LimitReason::Unlimited);
    };
    let remaining = limit.saturating_sub(in_use.unwrap_or(0));
    let allowed = requested <= remaining;
    LimitDecision {
        allowed,
        reason: match allowed {
            true if in_use.is_some_and(|used| used > limit) => LimitReason::OverLimit,
            true => LimitReason::WithinLimit,
            false => LimitReason::LimitReached,
        },
        limit: Some(limit),
        in_use,
        remaining: Some(remaining),
    }
}
