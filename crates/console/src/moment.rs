//! Instants and durations, formatted for display.

use chrono::{DateTime, TimeDelta, Utc};

/// An instant.
#[derive(Clone, Debug)]
pub struct Moment {
    /// For programs (RFC 3339).
    pub iso: String,
    /// For display: to the minute, in UTC.
    pub text: String,
}

impl Moment {
    /// The display form of an instant.
    #[must_use]
    pub fn of(at: DateTime<Utc>) -> Self {
        Self {
            iso: at.to_rfc3339(),
            text: at.format("%-d %B %Y, %H:%M UTC").to_string(),
        }
    }
}

/// A remaining duration, in the format that the script uses for the countdown.
#[must_use]
pub fn left(span: TimeDelta) -> String {
    let seconds = span.num_seconds().max(0);
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    if days > 0 {
        return format!("{days} d {hours:02} h {minutes:02} min {seconds:02} s");
    }
    format!("{hours} h {minutes:02} min {seconds:02} s")
}

/// How long ago something was, rounded.
#[must_use]
pub fn ago(since: TimeDelta) -> String {
    let minutes = since.num_minutes();
    match minutes {
        ..2 => "just now".to_owned(),
        2..120 => format!("{minutes} min ago"),
        120..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}
