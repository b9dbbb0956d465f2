//! A license confirmed for one installation for a limited time.

use chrono::{DateTime, Utc};

use crate::document::VerifiedLicense;
use crate::license::License;

/// A license confirmed for this installation for a limited time.
#[derive(Clone, Debug, PartialEq)]
pub enum Lease {
    /// Confirmed by a document with a trusted signature.
    Signed(Box<VerifiedLicense>),
    /// Taken on the License Server's word (unsigned mode), or adopted from
    /// the cache of version 1.0.0.
    Unsigned {
        /// The license as the License Server wrote it.
        license: License,
        /// When the next validation is due at the latest.
        valid_until: DateTime<Utc>,
    },
}

impl Lease {
    /// The lease after an unsigned answer that confirms it without repeating the
    /// license: good until `valid_until`.
    #[must_use]
    pub fn confirmed_until(&self, valid_until: DateTime<Utc>) -> Self {
        Self::Unsigned {
            license: self.license().clone(),
            valid_until,
        }
    }

    /// What was bought.
    #[must_use]
    pub fn license(&self) -> &License {
        match self {
            Self::Signed(document) => document.license(),
            Self::Unsigned { license, .. } => license,
        }
    }

    /// When the next validation is due at the latest; grace starts here when
    /// none was tried.
    #[must_use]
    pub fn valid_until(&self) -> DateTime<Utc> {
        match self {
            Self::Signed(document) => document.claims().valid_until,
            Self::Unsigned { valid_until, .. } => *valid_until,
        }
    }

    /// The signed end of grace. An unsigned lease has none.
    #[must_use]
    pub fn signed_end(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Signed(document) => Some(document.claims().exp),
            Self::Unsigned { .. } => None,
        }
    }

    /// Whether the lease holds until `validUntil` without any contact.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Signed(document) if document.claims().offline)
    }

    /// The document's sequence number.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Signed(document) => Some(document.claims().seq),
            Self::Unsigned { .. } => None,
        }
    }
}
