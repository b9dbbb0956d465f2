//! When a license ends: how people write it, and what is possible.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime, SubsecRound as _, Timelike as _, Utc};

/// Why a license cannot end at a given instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// The end has already passed.
    #[error("the license would expire at {0}, which has passed")]
    Passed(DateTime<Utc>),
    /// Programs write years with four digits (RFC 3339, section 1).
    #[error(
        "the license would expire after the year 9999; omit the end date for a license that never \
         expires"
    )]
    TooFar,
}

/// Parses an instant or a day; a day means its end.
#[must_use]
pub fn end_of(text: &str) -> Option<DateTime<Utc>> {
    instant_of(text, NaiveTime::from_hms_opt(23, 59, 59)?)
}

/// Parses an instant or a day; a day means its beginning.
#[must_use]
pub fn start_of(text: &str) -> Option<DateTime<Utc>> {
    instant_of(text, NaiveTime::MIN)
}

/// Parses an instant, or a day with this time.
fn instant_of(text: &str, time_of_day: NaiveTime) -> Option<DateTime<Utc>> {
    let day = text.parse::<NaiveDate>().ok();
    day.map(|day| day.and_time(time_of_day).and_utc())
        .or_else(|| text.parse().ok())
        // Databases and documents support years with four digits, and no leap seconds.
        .filter(|end: &DateTime<Utc>| (1..=9999).contains(&end.year()))
        .filter(|end| end.nanosecond() < 1_000_000_000)
        .map(|end| end.trunc_subsecs(0))
}

/// Checks whether a license may end at an instant, or never.
///
/// # Errors
/// One [`ExpiryError`] for each reason that it may not.
pub fn check_expiry(
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), ExpiryError> {
    match expires_at {
        Some(end) if end <= now => Err(ExpiryError::Passed(end)),
        Some(end) if end.year() > 9999 => Err(ExpiryError::TooFar),
        _ => Ok(()),
    }
}
