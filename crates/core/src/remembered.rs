//! What an installation remembers about its licenses, including former ones.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::evidence::{EXPIRED_GRACE_START, Evidence};
use crate::lease::Lease;
use crate::license_key::fingerprint;

/// Maximum number of license keys whose documents are remembered.
const MAX_KEYS: usize = 64;

/// What an installation remembers about its licenses. It is stored where users of the database
/// cannot write.
///
/// The number that a document must exceed ([`Remembered::newest_seq`]) never decreases for any key,
/// whatever is added or merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remembered {
    /// The newest sequence number of each license, by the [`fingerprint`] of its key.
    signed: BTreeMap<String, u64>,
    /// Those that were deactivated after that document.
    given_up: BTreeSet<String>,
    /// The highest sequence number of the licenses that are no longer in `signed`, because it was
    /// full.
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten: Option<u64>,
    /// When the first unsigned license was adopted.
    adopted_at: Option<DateTime<Utc>>,
}

impl Remembered {
    /// Whether a signed license was ever seen.
    #[must_use]
    pub fn has_signed(&self) -> bool {
        !self.signed.is_empty()
    }

    /// When the first unsigned license was adopted: its grace period applies to all unsigned
    /// licenses.
    #[must_use]
    pub fn adopted_at(&self) -> Option<DateTime<Utc>> {
        self.adopted_at
    }

    /// The sequence number that a document of this license must exceed, even after the license has been
    /// deactivated, revoked or replaced. An unknown license may be one that was forgotten, so its
    /// documents must be newer than those of all forgotten licenses: sequence numbers are
    /// milliseconds since the epoch ([`crate::restored::number_at`]). `None` if any document is
    /// new.
    #[must_use]
    pub fn newest_seq(&self, license_key: &str) -> Option<u64> {
        self.newest(&fingerprint(license_key))
    }

    fn newest(&self, key: &str) -> Option<u64> {
        self.signed.get(key).copied().or(self.forgotten)
    }

    /// Whether the newest document of this license is remembered.
    #[must_use]
    pub fn knows(&self, license_key: &str) -> bool {
        self.signed.contains_key(&fingerprint(license_key))
    }

    /// Whether the license was deactivated after its newest document.
    #[must_use]
    pub fn is_given_up(&self, license_key: &str) -> bool {
        self.given_up.contains(&fingerprint(license_key))
    }

    /// The memory after `evidence` has been accepted.
    #[must_use]
    pub fn with(mut self, evidence: &Evidence) -> Self {
        match &evidence.lease {
            Some(Lease::Signed(_)) => {
                let license_key = evidence.license_key();
                if let Some(seq) = evidence.newest_seq(license_key) {
                    let key = fingerprint(license_key);
                    self.see(key.clone(), seq, false);
                    self.make_room(Some(&key));
                }
            }
            Some(Lease::Adopted(_)) => {
                let began = evidence
                    .grace_started_at
                    .filter(|began| *began > EXPIRED_GRACE_START);
                self.adopted_at = self.adopted_at.into_iter().chain(began).min();
            }
            Some(Lease::Unsigned { .. }) | None => {}
        }
        self
    }

    /// The memory after the deactivation of a license.
    #[must_use]
    pub fn without(mut self, license_key: &str) -> Self {
        let key = fingerprint(license_key);
        if self.signed.contains_key(&key) {
            self.given_up.insert(key);
        }
        self
    }

    /// Merges the memories of two places: of each license, the newer one counts.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        for (key, seq) in other.signed {
            let is_given_up = other.given_up.contains(&key);
            self.see(key, seq, is_given_up);
        }
        self.forgotten = self.forgotten.max(other.forgotten);
        self.make_room(None);
        let adopted = self.adopted_at.into_iter().chain(other.adopted_at);
        self.adopted_at = adopted.min();
        self
    }

    /// A document with this number was seen, and the license was deactivated after it or not. An
    /// older document changes nothing.
    fn see(&mut self, key: String, seq: u64, is_given_up: bool) {
        let before = self.newest(&key);
        if before < Some(seq) {
            self.given_up.remove(&key);
        }
        if is_given_up && before <= Some(seq) {
            self.given_up.insert(key.clone());
        }
        self.signed.insert(key, seq.max(before.unwrap_or_default()));
    }

    /// Forgets the licenses with the oldest documents, if there are too many; never `newest`.
    fn make_room(&mut self, newest: Option<&str>) {
        while self.signed.len() > MAX_KEYS {
            let others = self
                .signed
                .iter()
                .filter(|(key, _)| Some(&***key) != newest);
            let Some((key, seq)) = others.min_by_key(|(_, seq)| **seq) else {
                return;
            };
            let (key, seq) = (key.clone(), *seq);
            self.signed.remove(&key);
            self.given_up.remove(&key);
            self.forgotten = self.forgotten.max(Some(seq));
        }
    }
}
