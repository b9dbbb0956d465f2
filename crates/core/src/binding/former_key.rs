//! The key that was removed from a seat.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::BoundKey;
use crate::thumbprint::Thumbprint;

/// A key that an activation without it has removed from its seat. It counts until all licenses that
/// were signed before have ended. Otherwise, anyone who knows the license key and the hardware id could
/// remove the key of a running site and then free its seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKey {
    jkt: Thumbprint,
    until: DateTime<Utc>,
}

impl FormerKey {
    /// The former key of a seat from which `bound` is removed at `at`, and whose licenses were signed
    /// until `signed_until`. An `earlier` one that still counts stays.
    #[must_use]
    pub fn removed(
        bound: &BoundKey,
        earlier: Option<&Self>,
        signed_until: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
    ) -> Self {
        match earlier {
            Some(earlier) if earlier.counts(at) => earlier.clone(),
            _ => Self {
                jkt: bound.jkt(),
                until: signed_until.unwrap_or(at),
            },
        }
    }

    /// The thumbprint of the key.
    #[must_use]
    pub fn jkt(&self) -> Thumbprint {
        self.jkt
    }

    /// Whether it still counts.
    #[must_use]
    pub fn counts(&self, at: DateTime<Utc>) -> bool {
        at <= self.until
    }
}
