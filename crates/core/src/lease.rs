//! A license confirmed for one installation for a limited time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::document::VerifiedLicense;
use crate::license::License;

/// Maximum time for which an unsigned license is accepted when keys are required.
pub const PROBATION: TimeDelta = TimeDelta::hours(72);

/// A license confirmed for this installation for a limited time.
///
/// If keys are required, only the first two variants are created, so every lease has an end.
#[derive(Clone, Debug, PartialEq)]
pub enum Lease {
    /// Confirmed by a document with a trusted signature.
    Signed(Box<VerifiedLicense>),
    /// It is unsigned, although keys are required: found in the cache of version 1.0.0, or not
    /// genuine. Created by [`Lease::adopted`].
    Adopted(Adopted),
    /// Trusted because the License Server sent it (unsigned mode).
    Unsigned {
        /// The activated key, as it was sent.
        license_key: String,
        /// The license, unmodified from the License Server.
        license: License,
        /// The latest instant at which the next validation is due.
        valid_until: DateTime<Utc>,
    },
}

/// An unsigned license, when keys are required.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    license_key: String,
    license: License,
    valid_until: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Lease {
    /// The lease after an unsigned response that confirms it without repeating the license: valid
    /// until `valid_until`.
    #[must_use]
    pub fn confirmed_until(&self, valid_until: DateTime<Utc>) -> Self {
        Self::Unsigned {
            license_key: self.license_key().to_owned(),
            license: self.license().clone(),
            valid_until,
        }
    }

    /// An unsigned license, first seen at `first_seen` while keys were required. It is never
    /// active, and is accepted for [`PROBATION`] from then, or for less if a setting requires it.
    /// `valid_until` has no effect: it is stored for version 1.0.0.
    #[must_use]
    pub fn adopted(
        license_key: &str,
        license: License,
        valid_until: DateTime<Utc>,
        first_seen: DateTime<Utc>,
    ) -> Self {
        Self::Adopted(Adopted {
            license_key: license_key.to_owned(),
            license,
            valid_until,
            end: first_seen
                .checked_add_signed(PROBATION)
                .unwrap_or(first_seen),
        })
    }

    /// The license key: that of the document where there is one, and otherwise the one that was
    /// activated, as it was sent. What is stored beside a document cannot name another one.
    #[must_use]
    pub fn license_key(&self) -> &str {
        match self {
            Self::Signed(document) => document.license_key(),
            Self::Adopted(adopted) => &adopted.license_key,
            Self::Unsigned { license_key, .. } => license_key,
        }
    }

    /// The license that was bought.
    #[must_use]
    pub fn license(&self) -> &License {
        match self {
            Self::Signed(document) => document.license(),
            Self::Adopted(adopted) => &adopted.license,
            Self::Unsigned { license, .. } => license,
        }
    }

    /// The latest instant at which the next validation is due; the grace period starts here if no
    /// validation was attempted.
    #[must_use]
    pub fn valid_until(&self) -> DateTime<Utc> {
        match self {
            Self::Signed(document) => document.claims().valid_until,
            Self::Adopted(adopted) => adopted.valid_until,
            Self::Unsigned { valid_until, .. } => *valid_until,
        }
    }

    /// The lease is invalid after this instant, regardless of settings: the signed end of the grace
    /// period, or the end of probation. `None` only without keys.
    #[must_use]
    pub fn end(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Signed(document) => Some(document.claims().exp),
            Self::Adopted(adopted) => Some(adopted.end),
            Self::Unsigned { .. } => None,
        }
    }

    /// Whether the lease is valid until `validUntil` without any contact.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Signed(document) if document.claims().offline)
    }

    /// Whether it is unconfirmed: it has one grace period, and is never active.
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        matches!(self, Self::Adopted(_))
    }

    /// The document's sequence number.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Signed(document) => Some(document.claims().seq),
            Self::Adopted(_) | Self::Unsigned { .. } => None,
        }
    }
}
