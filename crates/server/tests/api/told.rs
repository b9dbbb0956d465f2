//! What a site is told, with the signature verified.

use chrono::{DateTime, Utc};
use license_core::document::{VerifiedDenial, VerifiedLicense};
use license_core::protocol::Call;
use serde_json::Value;

/// The answer to a site.
#[derive(Debug)]
pub enum Told {
    License(Box<VerifiedLicense>, Value),
    /// The answer to a heartbeat, without a signature.
    Unsigned(Value),
    Denied(Box<VerifiedDenial>),
    Other(Value),
}

impl Told {
    /// `yes`, or the reason of the denial.
    pub fn word(&self) -> &str {
        match self {
            Self::License(..) | Self::Unsigned(_) => "yes",
            Self::Denied(denial) => denial.claims().reason.as_str(),
            Self::Other(answer) => panic!("{answer}"),
        }
    }

    /// When the signed lease ends.
    pub fn exp(&self) -> DateTime<Utc> {
        match self {
            Self::License(license, _) => license.claims().exp,
            other => panic!("no lease: {}", other.word()),
        }
    }

    /// The message of a denial.
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(denial) => &denial.claims().message,
            other => panic!("no denial: {}", other.word()),
        }
    }

    /// The moves left, as signed.
    pub fn moves_left(&self) -> u64 {
        match self {
            Self::License(license, _) => license.claims().license["movesLeft"].as_u64().unwrap(),
            other => panic!("no lease: {}", other.word()),
        }
    }

    /// The call that the document answers.
    pub fn question(&self) -> Option<Call> {
        match self {
            Self::License(license, _) => license.claims().question,
            Self::Denied(denial) => denial.claims().question,
            Self::Unsigned(answer) | Self::Other(answer) => panic!("{answer}"),
        }
    }

    /// The installation for which the document was signed.
    pub fn installation_id(&self) -> &str {
        match self {
            Self::License(license, _) => &license.claims().installation_id,
            Self::Denied(denial) => &denial.claims().installation_id,
            Self::Unsigned(answer) | Self::Other(answer) => panic!("{answer}"),
        }
    }

    pub fn seq(&self) -> u64 {
        match self {
            Self::License(license, _) => license.claims().seq,
            Self::Denied(denial) => denial.claims().seq,
            Self::Unsigned(answer) | Self::Other(answer) => panic!("{answer}"),
        }
    }
}
