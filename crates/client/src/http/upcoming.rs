//! What changes next, as the API shows it.

use chrono::{DateTime, Utc};
use license_core::feature::FeatureKey;
use license_core::upcoming::{Upcoming, Urgency};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::instant::naive;

/// Maximum number of changes in an answer.
pub(super) const MAX_UPCOMING: usize = 20;

/// Something that the license starts or stops granting.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpcomingChange {
    /// The first instant of a start, the last instant before an end; UTC.
    at: String,
    /// `feature_starts`, `feature_ends`, `limit_changes`, `updates_end` or `license_ends`.
    change: &'static str,
    /// The feature, or what is counted; null for the license and its updates.
    key: Option<String>,
    /// A human-readable message, without the time.
    message: String,
    /// `notice`, `warning` or `critical` if the license will grant less within 30, 14 or 3 days.
    urgency: Option<&'static str>,
}

impl UpcomingChange {
    /// As seen at `now`.
    pub(super) fn of(upcoming: &Upcoming, now: DateTime<Utc>) -> Self {
        let Upcoming { at, change } = upcoming;
        Self {
            at: naive(*at),
            change: change.code(),
            key: change.key().map(FeatureKey::to_string),
            message: change.to_string(),
            urgency: upcoming.urgency(now).map(Urgency::code),
        }
    }
}
