//! Times in every spelling that Python's `datetime.fromisoformat` accepts.
//!
//! `vectors/make_with_cpython.py` generated `vectors/fromisoformat.txt` with `CPython`: a
//! spelling and its value in microseconds since 1970, with `date` before it for a date
//! alone, or `-`.

use chrono::{DateTime, TimeDelta};
use license_core::license::parse_instant;

#[test]
fn every_spelling_is_parsed_like_cpython() {
    let (mut read, mut refused) = (0, 0);
    for line in include_str!("../vectors/fromisoformat.txt").lines() {
        let (spelling, expected) = line.split_once('\t').unwrap();
        let found = parse_instant(spelling);
        if expected == "-" {
            refused += 1;
            // RFC 3339 has additional spellings.
            if DateTime::parse_from_rfc3339(spelling).is_err() {
                assert_eq!(found, None, "{spelling:?}");
            }
            continue;
        }
        read += 1;
        let (is_date, micros) = match expected.strip_prefix("date ") {
            Some(micros) => (true, micros),
            None => (false, expected),
        };
        let mut instant = DateTime::from_timestamp_micros(micros.parse().unwrap()).unwrap();
        if is_date {
            instant += TimeDelta::days(1) - TimeDelta::microseconds(1);
        }
        // RFC 3339 accepts nine digits.
        let found = found.map(|it| it.timestamp_micros());
        assert_eq!(found, Some(instant.timestamp_micros()), "{spelling:?}");
    }
    assert!(
        read > 500 && refused > 500,
        "{read} read, {refused} refused"
    );
}
