//! Instants as version 1.0.0 writes them: UTC, without a zone, microseconds.

use chrono::{DateTime, SecondsFormat, Utc};

/// `2026-11-23T20:58:11.248575`.
pub(super) fn naive(instant: DateTime<Utc>) -> String {
    let mut text = instant.to_rfc3339_opts(SecondsFormat::Micros, true);
    // The `Z`.
    text.pop();
    text
}
