//! May a license be used at all?

use chrono::{DateTime, Utc};
use license_core::document::DenialReason;

use crate::store::licenses::Status;

/// What whoever asks is told; `None` where it may be used. The end itself is
/// included.
#[must_use]
pub fn judge(
    status: Status,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DenialReason> {
    match status {
        Status::Active if expires_at.is_some_and(|end| now > end) => Some(DenialReason::Expired),
        Status::Active => None,
        Status::Suspended => Some(DenialReason::Suspended),
        Status::Revoked => Some(DenialReason::Revoked),
    }
}
