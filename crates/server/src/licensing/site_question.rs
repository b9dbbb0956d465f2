//! What a site asks of the License Server, and how it asks.

use chrono::{DateTime, Utc};
use license_core::protocol::{ActivateRequest, Call, HeartbeatRequest};

use crate::audit::Actor;
use crate::licensing::lease_terms::OfflineLease;
use crate::licensing::sent_proof::CheckedProof;

/// The kind of a site's call.
#[derive(Clone, Debug)]
pub enum SiteQuestion {
    /// A seat.
    Activate(ActivateRequest),
    /// Whether the license is still valid.
    Validate,
    /// Whether the license is still valid; the site also reports what is in use.
    Heartbeat(Box<HeartbeatRequest>),
    /// To free its seat.
    Deactivate,
    /// To redeem this add-on key, as it was typed.
    Redeem(String),
    /// The same by file: the answer has a lease with what the key grants.
    RedeemByFile(String),
}

impl SiteQuestion {
    /// The name of the call in documents and statistics.
    #[must_use]
    pub fn call(&self) -> Call {
        match self {
            Self::Activate(_) => Call::Activate,
            Self::Validate | Self::RedeemByFile(_) => Call::Validate,
            Self::Heartbeat(_) => Call::Heartbeat,
            Self::Deactivate => Call::Deactivate,
            Self::Redeem(_) => Call::Redeem,
        }
    }

    /// The add-on key to redeem, as it was typed.
    #[must_use]
    pub fn add_on_key(&self) -> Option<&str> {
        match self {
            Self::Redeem(key) | Self::RedeemByFile(key) => Some(key),
            Self::Activate(_) | Self::Validate | Self::Heartbeat(_) | Self::Deactivate => None,
        }
    }
}

/// How a site asks.
#[derive(Clone, Debug, Default)]
pub struct CallDetails {
    /// Set if the request came by file.
    pub offline: Option<ByFile>,
    /// The highest sequence number that the site reports.
    pub newest_seq: Option<u64>,
    /// Whether the site reports changed hardware.
    pub drifted: bool,
    /// Whether the site knows entitlements, with their starts and ends.
    pub knows_entitlements: bool,
    /// The proof of the installation key.
    pub proof: CheckedProof,
}

/// A request that came by file.
#[derive(Clone, Debug)]
pub struct ByFile {
    /// Length of the lease that it may get.
    pub lease: OfflineLease,
    /// Who requested the answer.
    pub by: Actor,
    /// When the site wrote the request.
    pub written_at: DateTime<Utc>,
}
