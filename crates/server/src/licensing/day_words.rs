//! Instants as days, for people. All days are in UTC.

use chrono::{DateTime, Timelike as _, Utc};

/// A start: the day alone if it is the day's beginning, and otherwise with the time.
#[must_use]
pub fn first_day(at: DateTime<Utc>) -> String {
    match (at.hour(), at.minute(), at.second()) {
        (0, 0, 0) => day(at),
        _ => exact(at),
    }
}

/// An end, which is included: the day alone if it is the day's last second, and otherwise with the
/// time.
#[must_use]
pub fn last_day(at: DateTime<Utc>) -> String {
    match (at.hour(), at.minute(), at.second()) {
        (23, 59, 59) => day(at),
        _ => exact(at),
    }
}

/// A number of days: "1 day", "365 days".
#[must_use]
pub fn days(number: impl Into<i64>) -> String {
    match number.into() {
        1 => "1 day".to_owned(),
        number => format!("{number} days"),
    }
}

/// A number of hours: "1 hour", "24 hours".
#[must_use]
pub fn hours(number: impl Into<i64>) -> String {
    match number.into() {
        1 => "1 hour".to_owned(),
        number => format!("{number} hours"),
    }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y").to_string()
}

fn exact(at: DateTime<Utc>) -> String {
    let time = match at.second() {
        0 => at.format("%H:%M"),
        _ => at.format("%H:%M:%S"),
    };
    format!("{}, {time} UTC", day(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_a_whole_day_is_shown_as_the_day() {
        let at = |text: &str| text.parse().unwrap();
        assert_eq!(first_day(at("2027-05-01T00:00:00Z")), "1 May 2027");
        assert_eq!(last_day(at("2027-07-29T23:59:59Z")), "29 July 2027");
        assert_eq!(
            last_day(at("2027-05-01T00:00:00Z")),
            "1 May 2027, 00:00 UTC"
        );
        assert_eq!(
            first_day(at("2027-05-01T12:30:07Z")),
            "1 May 2027, 12:30:07 UTC"
        );
    }
}
