//! The calls from a site, by their names in documents, metrics and logs.

use serde::{Deserialize, Serialize};

/// A call to the License Server. Every signed response names the call that it answers, so that a
/// response to one call is never accepted for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Requests a seat.
    Activate,
    /// Checks whether the license is still valid.
    Validate,
    /// Reports usage. The response proves nothing.
    Heartbeat,
    /// Frees the seat.
    Deactivate,
    /// Adds what an add-on key grants to the license.
    Redeem,
    /// Requests the license of a trial, and a seat of it.
    Trial,
    /// A call that this version does not know and does not make.
    #[serde(other)]
    Unknown,
}

impl Call {
    /// The name of the call in documents, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Validate => "validate",
            Self::Heartbeat => "heartbeat",
            Self::Deactivate => "deactivate",
            Self::Redeem => "redeem",
            Self::Trial => "trial",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the call requests a lease, so that the site keeps the signed document that answers
    /// it.
    #[must_use]
    pub fn answer_is_kept(self) -> bool {
        match self {
            Self::Activate | Self::Validate | Self::Trial => true,
            Self::Heartbeat | Self::Deactivate | Self::Redeem | Self::Unknown => false,
        }
    }
}
