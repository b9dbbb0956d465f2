//! The key of a feature in a gateway's code.

use std::fmt;
use std::sync::Arc;

/// The key of a feature, such as `module.map_view`. Keys are compared exactly.
///
/// Any text is accepted. A key that no license can list is never available, and the gate
/// logs a warning.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeatureKey(Arc<str>);

impl FeatureKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for FeatureKey {
    fn from(key: &str) -> Self {
        Self(key.into())
    }
}

impl From<String> for FeatureKey {
    fn from(key: String) -> Self {
        Self(key.into())
    }
}

impl From<&Self> for FeatureKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl AsRef<str> for FeatureKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FeatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FeatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
