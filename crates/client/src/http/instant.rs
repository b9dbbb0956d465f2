//! Instants as version 1.0.0 writes them: UTC, without a zone, microseconds.

use chrono::{DateTime, Utc};

/// `2026-11-23T20:58:11.248575`.
pub(super) fn naive(instant: DateTime<Utc>) -> String {
    instant.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}
