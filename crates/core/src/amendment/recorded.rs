//! Amendments and clocks that were wrong.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound as _, Utc};

use super::Amendment;
use crate::signing_clock::MAX_START_LEAD;

/// The amendments of a license, in the order of their numbers, as they count at `now`.
///
/// A clock that was far ahead recorded those that lie more than [`MAX_START_LEAD`] in the future, or
/// after a later amendment. They count as recorded with the next one, or now, and those that were to
/// apply immediately apply from then on. So they stay in force, without moving the license into the
/// future, and staff can amend it.
#[must_use]
pub fn corrected(amendments: &[Amendment], now: DateTime<Utc>) -> Cow<'_, [Amendment]> {
    let mut latest = now.checked_add_signed(MAX_START_LEAD).unwrap_or(now);
    let mut recorded_at = now.trunc_subsecs(0);
    let mut corrected = Cow::Borrowed(amendments);
    for place in (0..amendments.len()).rev() {
        if amendments[place].recorded_at <= latest {
            recorded_at = amendments[place].recorded_at;
        } else {
            let amendment = &mut corrected.to_mut()[place];
            if amendment.effective_at <= amendment.recorded_at {
                amendment.effective_at = recorded_at;
            }
            amendment.recorded_at = recorded_at;
        }
        latest = recorded_at;
    }
    corrected
}

/// The instant at which a license is judged: a clock that went back does not take back what was
/// recorded before.
#[must_use]
pub fn judged_at(amendments: &[Amendment], now: DateTime<Utc>) -> DateTime<Utc> {
    let recorded = amendments.iter().map(|it| it.recorded_at);
    recorded.fold(now, DateTime::max)
}
