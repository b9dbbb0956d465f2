//! Times read from a place where others can write.
//!
//! The types of such times reach further than the columns of the databases, and than the formats of
//! other programs. So a time outside the years 1 to 9999 becomes the nearest one within.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// The first second of the year 1, in seconds since the epoch.
const FIRST: i64 = -62_135_596_800;
/// The last second of the year 9999, in seconds since the epoch.
const LAST: i64 = 253_402_300_799;

/// The nearest time in the years 1 to 9999.
#[must_use]
pub fn bounded(at: DateTime<Utc>) -> DateTime<Utc> {
    match at.timestamp() {
        FIRST..=LAST => at,
        seconds => DateTime::from_timestamp(seconds.clamp(FIRST, LAST), 0).unwrap_or_default(),
    }
}

/// Reads a [`bounded`] time.
///
/// # Errors
/// If it is no time.
pub fn deserialize<'de, D: Deserializer<'de>>(stored: D) -> Result<DateTime<Utc>, D::Error> {
    DateTime::deserialize(stored).map(bounded)
}

/// Reads a [`bounded`] time that may be missing.
///
/// # Errors
/// If it is neither a time nor null.
pub fn deserialize_option<'de, D: Deserializer<'de>>(
    stored: D,
) -> Result<Option<DateTime<Utc>>, D::Error> {
    Option::deserialize(stored).map(|at| at.map(bounded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_within_four_digits_of_the_year() {
        for (found, expected) in [
            ("-262143-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0000-12-31T23:59:59.9Z", "0001-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("2026-11-23T20:58:10.71Z", "2026-11-23T20:58:10.71Z"),
            ("9999-12-31T23:59:59.9Z", "9999-12-31T23:59:59.9Z"),
            ("+10000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
            ("+262142-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            let at: DateTime<Utc> = found.parse().unwrap();
            assert_eq!(
                bounded(at),
                expected.parse::<DateTime<Utc>>().unwrap(),
                "{found}"
            );
        }
    }
}
