//! Durations in calendar months and days, as plans state them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike as _, Days, Months, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration of whole calendar months and days: `P1Y`, `P6M`, `P90D` (ISO 8601, durations without
/// a time). It is longer than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarDuration {
    months: u32,
    days: u32,
}

/// Maximum number of months.
const MAX_MONTHS: u32 = 1_200;
/// Maximum number of days.
const MAX_DAYS: u32 = 36_525;

/// A text is not a duration that plans can state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an ISO 8601 duration of years, months, weeks and days, up to 100 years, such as \
     P1Y, P6M or P90D"
)]
pub struct InvalidDuration;

/// A period would end after the year 9999, which documents cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{duration} from {start} ends after the year 9999")]
pub struct EndsTooLate {
    /// The duration.
    pub duration: CalendarDuration,
    /// When the period starts.
    pub start: DateTime<Utc>,
}

impl CalendarDuration {
    /// The last instant, in whole seconds, of a period of this duration that starts at `start`, in
    /// whole seconds: the second before the next period starts. Months are added first; a day that
    /// the month does not have becomes its last one.
    ///
    /// # Errors
    /// [`EndsTooLate`].
    pub fn last_second_from(self, start: DateTime<Utc>) -> Result<DateTime<Utc>, EndsTooLate> {
        let next = start
            .checked_add_months(Months::new(self.months))
            .and_then(|it| it.checked_add_days(Days::new(self.days.into())));
        let last = next.and_then(|it| it.checked_sub_signed(TimeDelta::seconds(1)));
        let last = last.filter(|it| it.year() <= 9999);
        last.ok_or(EndsTooLate {
            duration: self,
            start,
        })
    }

    /// For people: `1 year, 6 months and 2 days`.
    #[must_use]
    pub fn in_words(self) -> String {
        let parts = [
            (self.months / 12, "year"),
            (self.months % 12, "month"),
            (self.days, "day"),
        ];
        let parts = parts.into_iter().filter(|(number, _)| *number > 0);
        let mut parts: Vec<String> = parts
            .map(|(number, unit)| match number {
                1 => format!("1 {unit}"),
                _ => format!("{number} {unit}s"),
            })
            .collect();
        let last = parts.pop().unwrap_or_default();
        match parts.is_empty() {
            true => last,
            false => format!("{} and {last}", parts.join(", ")),
        }
    }
}

impl FromStr for CalendarDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let mut rest = text.strip_prefix('P').ok_or(InvalidDuration)?;
        let (mut months, mut days) = (0_u32, 0_u32);
        // Each unit at most once, in this order.
        for (unit, of_months, of_days) in [('Y', 12, 0), ('M', 1, 0), ('W', 0, 7), ('D', 0, 1)] {
            let Some((number, after)) = rest.split_once(unit) else {
                continue;
            };
            if number.is_empty() || !number.bytes().all(|it| it.is_ascii_digit()) {
                return Err(InvalidDuration);
            }
            let number: u32 = number.parse().map_err(|_| InvalidDuration)?;
            months = months.saturating_add(number.saturating_mul(of_months));
            days = days.saturating_add(number.saturating_mul(of_days));
            rest = after;
        }
        let is_fine =
            rest.is_empty() && (months, days) != (0, 0) && months <= MAX_MONTHS && days <= MAX_DAYS;
        is_fine
            .then_some(Self { months, days })
            .ok_or(InvalidDuration)
    }
}

/// In years, months and days.
impl fmt::Display for CalendarDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        for (number, unit) in [
            (self.months / 12, 'Y'),
            (self.months % 12, 'M'),
            (self.days, 'D'),
        ] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for CalendarDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CalendarDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.parse();
        parsed.map_err(|error| de::Error::custom(format!("invalid duration '{text}': {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(duration: &str, start: &str) -> String {
        let duration: CalendarDuration = duration.parse().unwrap();
        let last = duration.last_second_from(start.parse().unwrap()).unwrap();
        last.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn a_duration_is_written_for_people() {
        for (text, words) in [
            ("P1Y", "1 year"),
            ("P2W", "14 days"),
            ("P18M", "1 year and 6 months"),
            ("P2Y1M1D", "2 years, 1 month and 1 day"),
        ] {
            let duration: CalendarDuration = text.parse().unwrap();
            assert_eq!(duration.in_words(), words, "{text}");
        }
    }

    #[test]
    fn a_duration_has_its_shortest_spelling() {
        for (text, spelled) in [
            ("P1Y", "P1Y"),
            ("P18M", "P1Y6M"),
            ("P2W", "P14D"),
            ("P1Y2M3W4D", "P1Y2M25D"),
            ("P090D", "P90D"),
            ("P100Y", "P100Y"),
        ] {
            let duration: CalendarDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), spelled, "{text}");
            assert_eq!(spelled.parse(), Ok(duration), "{text}");
        }
        for text in [
            "",
            "P",
            "1Y",
            "P0D",
            "P-1D",
            "P+1D",
            "P1.5D",
            "P1D1M",
            "P1D1D",
            "PT1H",
            "P1DT1H",
            "P101Y",
            "P36526D",
            "P99999999999D",
            "p1d",
            " P1D",
            "P1D ",
            "PY",
        ] {
            assert_eq!(
                text.parse::<CalendarDuration>(),
                Err(InvalidDuration),
                "{text}"
            );
        }
    }

    #[test]
    fn a_period_ends_in_the_second_before_the_next_one() {
        let may = "2027-05-01T00:00:00Z";
        assert_eq!(last("P90D", may), "2027-07-29T23:59:59Z");
        assert_eq!(last("P1Y", may), "2028-04-30T23:59:59Z");
        // Leap years and short months.
        assert_eq!(last("P1Y", "2028-02-29T12:00:00Z"), "2029-02-28T11:59:59Z");
        assert_eq!(last("P1M", "2027-01-31T12:00:00Z"), "2027-02-28T11:59:59Z");
        assert_eq!(
            last("P1M1D", "2027-01-31T12:00:00Z"),
            "2027-03-01T11:59:59Z"
        );
    }

    #[test]
    fn a_period_that_documents_cannot_carry_is_refused() {
        let duration: CalendarDuration = "P100Y".parse().unwrap();
        let start = "9950-01-01T00:00:00Z".parse().unwrap();
        let error = EndsTooLate { duration, start };
        assert_eq!(duration.last_second_from(start), Err(error));
        assert_eq!(
            last("P100Y", "9900-01-01T00:00:00Z"),
            "9999-12-31T23:59:59Z"
        );
    }
}
