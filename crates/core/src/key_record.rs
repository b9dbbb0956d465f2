//! Checks whether a key directory is the most recently used one, rather than an older copy, in
//! which revoked keys still sign, or another vendor's directory.
//!
//! A key set is signed by a key of the set before it, so a fingerprint of one set stands
//! for all before it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What is recorded about the newest key set, outside the key directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Version of the set, from 1 on.
    pub version: u64,
    /// [`fingerprint`] of the set.
    pub fingerprint: String,
    /// Ids of all keys that were ever revoked, including those in directories that are lost.
    pub revoked: Vec<String>,
}

/// Why a key directory is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordDoubt {
    /// It ends before the recorded set: it is an older copy, or files are missing.
    #[error("the directory ends with key set {found}, but key set {recorded} was already in use")]
    Behind {
        /// Version of its newest set.
        found: u64,
        /// The recorded version.
        recorded: u64,
    },
    /// It contains a different set than the recorded one: it is a different directory, or two
    /// copies of one directory were changed separately.
    #[error("key set {version} in the directory differs from the one that was in use")]
    Foreign {
        /// Version of the set that differs.
        version: u64,
    },
}

impl KeyRecord {
    /// Compares a directory, whose newest set has this version, with the record. Returns whether
    /// the directory has newer sets than the record.
    ///
    /// # Errors
    /// [`RecordDoubt`], if the recorded set is not in the directory.
    pub fn compare(
        &self,
        newest: u64,
        fingerprint_of: impl FnOnce(u64) -> Option<String>,
    ) -> Result<bool, RecordDoubt> {
        if newest < self.version {
            return Err(RecordDoubt::Behind {
                found: newest,
                recorded: self.version,
            });
        }
        if fingerprint_of(self.version).as_ref() != Some(&self.fingerprint) {
            return Err(RecordDoubt::Foreign {
                version: self.version,
            });
        }
        Ok(newest > self.version)
    }

    /// The same record with these revoked keys added.
    #[must_use]
    pub fn with_revoked<'a>(mut self, revoked: impl IntoIterator<Item = &'a String>) -> Self {
        self.revoked.extend(revoked.into_iter().cloned());
        self.revoked.sort();
        self.revoked.dedup();
        self
    }
}

/// The fingerprint of a key set: SHA-256 of its text, as base64url.
#[must_use]
pub fn fingerprint(set: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_on_from_the_recorded_set_or_is_refused() {
        let sets = ["one", "two", "three", "four"];
        let other = ["one", "two'", "three'"];
        let record = |version: usize| KeyRecord {
            version: version as u64,
            fingerprint: fingerprint(sets[version - 1]),
            revoked: Vec::new(),
        };
        let compare = |recorded: usize, sets: &[&str]| {
            let at = |version: u64| sets.get(usize::try_from(version).unwrap() - 1);
            let fingerprint_of = |version| at(version).map(|set| fingerprint(set));
            record(recorded).compare(sets.len() as u64, fingerprint_of)
        };
        let behind = |found, recorded| Err(RecordDoubt::Behind { found, recorded });
        let foreign = |version| Err(RecordDoubt::Foreign { version });
        for (recorded, directory, expected) in [
            (1, &sets[..1], Ok(false)),
            (1, &sets[..2], Ok(true)),
            (1, &sets[..4], Ok(true)),
            (3, &sets[..3], Ok(false)),
            (3, &sets[..2], behind(2, 3)),
            (3, &sets[..1], behind(1, 3)),
            (2, &other[..2], foreign(2)),
            (2, &other[..3], foreign(2)),
            (3, &other[..3], foreign(3)),
            (4, &other[..3], behind(3, 4)),
            (1, &other[..3], Ok(true)),
            (1, &["another"], foreign(1)),
            (1, &["another", "two"], foreign(1)),
        ] {
            assert_eq!(compare(recorded, directory), expected, "{directory:?}");
        }
    }

    #[test]
    fn revoked_keys_are_never_forgotten() {
        let record = KeyRecord {
            version: 1,
            fingerprint: String::new(),
            revoked: vec!["b".to_owned()],
        };
        let more = ["c".to_owned(), "b".to_owned(), "a".to_owned()];
        assert_eq!(record.with_revoked(&more).revoked, ["a", "b", "c"]);
    }
}
