//! Features that were asked about and that neither the product nor the license has. A gate with a
//! misspelled feature is closed on every site, regardless of the license, and the response does not
//! show why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use chrono::{DateTime, Utc};
use license_core::feature::FeatureKey;

/// Maximum number of keys that are remembered: any caller can ask about any text.
pub const MAX_KEYS: usize = 32;

/// The keys that were asked about, and how often.
#[derive(Debug, Default)]
pub struct UnknownFeatures {
    checks: AtomicU64,
    keys: Mutex<Vec<UnknownFeature>>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFeature {
    /// Its first [`FeatureKey::MAX_CHARS`] characters.
    pub key: String,
    /// The number of questions about it.
    pub checks: u64,
    /// The time of the last question.
    pub last_checked_at: DateTime<Utc>,
}

impl UnknownFeatures {
    /// Counts a question about `key`; returns whether the key is new and one of the first
    /// [`MAX_KEYS`], and should be logged.
    ///
    /// If the list is full, a key that was asked about only once is replaced, so that the key of a
    /// gate, which asks repeatedly, stays. No response waits for another one: while the list is
    /// locked, a question is only counted as a check.
    pub fn note(&self, key: &str, now: DateTime<Utc>) -> bool {
        self.checks.fetch_add(1, Ordering::Relaxed);
        let key = shortened(key);
        let mut keys = match self.keys.try_lock() {
            Ok(keys) => keys,
            Err(TryLockError::Poisoned(keys)) => keys.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if let Some(known) = keys.iter_mut().find(|it| it.key == key) {
            known.checks = known.checks.saturating_add(1);
            known.last_checked_at = now;
            return false;
        }
        let is_full = keys.len() == MAX_KEYS;
        if is_full {
            let Some(replaced) = keys.iter().position(|it| it.checks == 1) else {
                return false;
            };
            keys.remove(replaced);
        }
        keys.push(UnknownFeature {
            key: key.to_owned(),
            checks: 1,
            last_checked_at: now,
        });
        !is_full
    }

    /// The total number of questions about such keys.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    /// The remembered keys, most frequent first, without those that have become known.
    #[must_use]
    pub fn list(&self, is_unknown: impl Fn(&str) -> bool) -> Vec<UnknownFeature> {
        let mut keys = self.lock().clone();
        keys.retain(|it| is_unknown(&it.key));
        keys.sort_by(|a, b| b.checks.cmp(&a.checks).then_with(|| a.key.cmp(&b.key)));
        keys
    }

    fn lock(&self) -> MutexGuard<'_, Vec<UnknownFeature>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortened(key: &str) -> &str {
    let end = key.char_indices().nth(FeatureKey::MAX_CHARS);
    end.map_or(key, |(end, _)| &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_one_time_and_a_gates_key_is_not_pushed_out() {
        let unknown = UnknownFeatures::default();
        let now = DateTime::UNIX_EPOCH;
        assert!(unknown.note("module.typo", now));
        assert!(!unknown.note("module.typo", now));
        for number in 0..10_000 {
            unknown.note(&format!("made.up.{number}"), now);
        }
        let long = "é".repeat(70_000);
        assert!(!unknown.note(&long, now));
        assert!(!unknown.note(&long, now));
        let listed = unknown.list(|_| true);
        assert_eq!(listed.len(), MAX_KEYS);
        assert_eq!(listed[0].key, "module.typo");
        assert_eq!(listed[1].key, "é".repeat(FeatureKey::MAX_CHARS));
        assert_eq!(unknown.checks(), 10_004);
        let others = unknown.list(|key| key != "module.typo");
        assert_eq!(others.len(), MAX_KEYS - 1);
        // If every key is asked about repeatedly, the first ones are kept.
        for number in 0..2 * MAX_KEYS {
            let key = format!("gate.{number}");
            unknown.note(&key, now);
            unknown.note(&key, now);
        }
        assert!(!unknown.note("one.more", now));
        let listed = unknown.list(|_| true);
        assert!(
            listed.iter().any(|it| it.key == "module.typo"),
            "{listed:?}"
        );
    }
}
