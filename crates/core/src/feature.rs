//! Feature keys and core features.

use std::borrow::Borrow;
use std::fmt;

/// Features that stay available in every standing: recording and live view
/// never stop because of licensing.
pub const CORE_FEATURES: [&str; 5] = [
    "module.camera_management",
    "module.live_view",
    "module.recording_basic",
    "module.playback",
    "module.user_management",
];

/// Features that are sold. A license may list other keys too, which are treated in the
/// same way.
pub const LICENSED_FEATURES: [&str; 5] = [
    "module.map_view",
    "module.analytics_advanced",
    "module.health_monitoring",
    "module.alarm_advanced",
    "module.storage_optimization",
];

/// Maximum number of features that a license lists, or that a site switches off.
pub const MAX_FEATURES: usize = 10_000;

/// Whether `key` names a core feature. Keys are compared exactly, including case and
/// surrounding spaces.
#[must_use]
pub fn is_core(key: &str) -> bool {
    CORE_FEATURES.contains(&key)
}

/// Whether `key` is one of [`LICENSED_FEATURES`].
#[must_use]
pub fn is_sold(key: &str) -> bool {
    LICENSED_FEATURES.contains(&key)
}

/// A feature key that can be stored: 1 to 100 characters, no NUL.
///
/// The limit is the width of `local_feature_flags.feature_key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureKey(Box<str>);

impl FeatureKey {
    /// Maximum length of a key in characters.
    pub const MAX_CHARS: usize = 100;

    /// Accepts `key` unchanged: nothing is trimmed or folded.
    ///
    /// # Errors
    /// [`FeatureKeyError`] if the text is not a valid key.
    pub fn parse(key: &str) -> Result<Self, FeatureKeyError> {
        if key.is_empty() {
            return Err(FeatureKeyError::Empty);
        }
        if key.contains('\0') {
            return Err(FeatureKeyError::Nul);
        }
        let chars = key.chars().count();
        if chars > Self::MAX_CHARS {
            return Err(FeatureKeyError::TooLong { chars });
        }
        Ok(Self(key.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FeatureKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FeatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a valid feature key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureKeyError {
    /// The text has no characters.
    #[error("a feature key must have at least one character")]
    Empty,
    /// The text contains U+0000, which PostgreSQL cannot store.
    #[error("a feature key must not contain a NUL character")]
    Nul,
    /// The text does not fit the column.
    #[error("a feature key can have at most {max} characters; this one has {chars}", max = FeatureKey::MAX_CHARS)]
    TooLong {
        /// The number of characters.
        chars: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_keys_are_compared_exactly() {
        assert!(is_core("module.live_view"));
        assert!(!is_core("MODULE.LIVE_VIEW"));
        assert!(!is_core(" module.live_view "));
    }

    #[test]
    fn a_key_has_at_most_one_hundred_characters() {
        assert!(FeatureKey::parse(&"é".repeat(100)).is_ok());
        assert_eq!(
            FeatureKey::parse(&"é".repeat(101)),
            Err(FeatureKeyError::TooLong { chars: 101 })
        );
        assert_eq!(FeatureKey::parse(""), Err(FeatureKeyError::Empty));
        assert_eq!(FeatureKey::parse("a\0b"), Err(FeatureKeyError::Nul));
    }
}
