//! Times from license servers: every spelling that `datetime.fromisoformat` of Python
//! 3.11 accepts, because version 1.0.0 used it.
//!
//! The grammar is that of its C implementation (`Modules/_datetimemodule.c`), with its
//! oddities: any character may separate date and time, fractions are cut after six
//! digits, and an offset may have seconds. A test compares the two.

use chrono::{
    DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc, Weekday,
};

/// Parses an instant. Without an offset it is UTC; a date alone is the end of that day,
/// in whole microseconds.
#[must_use]
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    // Accepted by RFC 3339 but not by CPython: `t`, `z`, leap seconds, nine digits.
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.with_timezone(&Utc));
    }
    let (date, time) = split(text.as_bytes())?;
    let date = parse_date(date)?;
    let Some(time) = time else {
        let day = date
            .and_time(NaiveTime::MIN)
            .checked_add_days(Days::new(1))?;
        return Some((day - TimeDelta::microseconds(1)).and_utc());
    };
    let (time, offset) = parse_time(time)?;
    let local: NaiveDateTime = date.and_time(time);
    local.checked_sub_signed(offset).map(|utc| utc.and_utc())
}

/// Date and time; `None` as the time if there is only a date.
fn split(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.len() < 7 {
        return None;
    }
    let (date, rest) = text
        .split_at_checked(separator(text)?)
        .unwrap_or((text, &[]));
    let Some(separator) = rest.first() else {
        return Some((date, None));
    };
    // A non-ASCII separator has several bytes.
    let width = match separator {
        0x00..=0x7f => 1,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 2,
    };
    Some((date, Some(rest.get(width..)?)))
}

/// Where the date ends.
fn separator(text: &[u8]) -> Option<usize> {
    let len = text.len();
    let is_digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    match (text[4], text[5]) {
        _ if len == 7 => Some(7),
        (b'-', b'W') => match text.get(8) {
            // YYYY-Www-D or YYYY-Www-HH
            Some(b'-') if len == 9 => None,
            Some(b'-') if is_digit(10) => Some(8),
            Some(b'-') => Some(10),
            _ => Some(8),
        },
        (b'-', _) => Some(10),
        (b'W', _) => {
            // YYYYWww or YYYYWwwD, possibly followed by a digit as separator
            let digits_end = (7..len).find(|at| !is_digit(*at)).unwrap_or(len);
            match digits_end {
                ..9 => Some(digits_end),
                end if end % 2 == 0 => Some(7),
                _ => Some(8),
            }
        }
        _ => Some(8),
    }
}

/// `YYYY-MM-DD`, `YYYYMMDD`, `YYYY-Www`, `YYYYWww`, `YYYY-Www-D` or `YYYYWwwD`.
fn parse_date(text: &[u8]) -> Option<NaiveDate> {
    let mut rest = Cursor(text);
    let year = i32::try_from(rest.digits(4)?).ok()?;
    let is_separated = rest.skip(b'-');
    let date = if rest.skip(b'W') {
        let week = rest.digits(2)?;
        let day = if rest.0.is_empty() {
            1
        } else {
            if is_separated && !rest.skip(b'-') {
                return None;
            }
            rest.digits(1)?
        };
        let day = u8::try_from(day).ok()?.checked_sub(1)?;
        let weekday = Weekday::try_from(day).ok()?;
        NaiveDate::from_isoywd_opt(year, week, weekday)?
    } else {
        let month = rest.digits(2)?;
        if is_separated && !rest.skip(b'-') {
            return None;
        }
        NaiveDate::from_ymd_opt(year, month, rest.digits(2)?)?
    };
    let is_in_range = (1..=9999).contains(&year) && (1..=9999).contains(&date.year());
    (rest.0.is_empty() && is_in_range).then_some(date)
}

/// A time, and the offset of its zone from UTC.
fn parse_time(text: &[u8]) -> Option<(NaiveTime, TimeDelta)> {
    let is_zone = |byte: &u8| matches!(byte, b'+' | b'-' | b'Z');
    let zone_at = text.iter().position(is_zone).unwrap_or(text.len());
    let (local, zone) = text.split_at(zone_at);
    let (clock, is_whole) = Clock::parse(local, zone.first().copied())?;
    let offset = match zone {
        [] if is_whole => TimeDelta::zero(),
        [b'Z'] => TimeDelta::zero(),
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let (offset, is_whole) = Clock::parse(offset, None)?;
            let offset = offset.span();
            if !is_whole || offset >= TimeDelta::days(1) {
                return None;
            }
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let Clock {
        hour,
        minute,
        second,
        microsecond,
    } = clock;
    let time = NaiveTime::from_hms_micro_opt(hour, minute, second, microsecond)?;
    // Python has no leap seconds.
    (microsecond < 1_000_000).then_some((time, offset))
}

/// The numbers of a time, without range checks.
#[derive(Default)]
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    microsecond: u32,
}

impl Clock {
    /// `HH[:MM[:SS[.f…]]]`, or the same without colons; and whether nothing follows. As in C, the
    /// character after it is examined.
    fn parse(text: &[u8], behind: Option<u8>) -> Option<(Self, bool)> {
        let mut clock = Self::default();
        let mut rest = Cursor(text);
        let mut is_separated = true;
        for index in 0..3 {
            let number = rest.digits(2)?;
            match index {
                0 => clock.hour = number,
                1 => clock.minute = number,
                _ => clock.second = number,
            }
            let next = rest.0.first().copied();
            if index == 0 {
                is_separated = next.or(behind) == Some(b':');
            }
            if rest.0.len() <= 1 {
                return Some((clock, next.or(behind).is_none()));
            }
            match next {
                Some(b':') if is_separated => rest.0 = &rest.0[1..],
                Some(b'.' | b',') => {
                    rest.0 = &rest.0[1..];
                    break;
                }
                _ if !is_separated => {}
                _ => return None,
            }
        }
        let digits = rest.0.len().min(6);
        clock.microsecond = rest.digits(digits)?;
        for _ in digits..6 {
            clock.microsecond *= 10;
        }
        while rest.0.first().is_some_and(u8::is_ascii_digit) {
            rest.0 = &rest.0[1..];
        }
        Some((clock, rest.0.is_empty() && behind.is_none()))
    }

    fn span(&self) -> TimeDelta {
        let seconds = self.hour * 3600 + self.minute * 60 + self.second;
        TimeDelta::seconds(seconds.into()) + TimeDelta::microseconds(self.microsecond.into())
    }
}

/// The remaining input.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn digits(&mut self, number: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(number)?;
        self.0 = rest;
        digits.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit()
                .then(|| value * 10 + u32::from(byte - b'0'))
        })
    }

    fn skip(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}
