//! The calls of a site, by the names that documents, metrics and logs use.

use serde::{Deserialize, Serialize};

/// What a site asks the License Server. Every signed answer names it, so that
/// an answer to one question never passes for an answer to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// For a seat.
    Activate,
    /// Whether the license is still valid.
    Validate,
    /// The same, and reports usage.
    Heartbeat,
    /// To give the seat back.
    Deactivate,
    /// A call that this version does not know; it is none that it makes.
    #[serde(other)]
    Unknown,
}

impl Call {
    /// The call as documents, metrics and logs name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Validate => "validate",
            Self::Heartbeat => "heartbeat",
            Self::Deactivate => "deactivate",
            Self::Unknown => "unknown",
        }
    }
}
