//! Whether a license file counts at this site.

use chrono::{DateTime, Utc};

use super::armour::FileError;
use super::request::{Pending, Purpose};
use crate::document::{
    DenialReason, DocumentError, VerifiedDenial, VerifiedLicense, verify_denial, verify_license,
};
use crate::keyring::Keyring;
use crate::license_key;
use crate::protocol::Call;
use crate::remembered::Remembered;
use crate::response::{Address, Mismatch, Question};

/// Why a license file is rejected. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is not a license file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It failed verification.
    #[error("the license file is not genuine: {0}")]
    NotGenuine(#[from] DocumentError),
    /// It is for another site.
    #[error("the license file is not for this site: {0}")]
    Foreign(#[source] Mismatch),
    /// It was already imported.
    #[error("the license file was already used; each license file can be imported only once")]
    Reused,
    /// It is no newer than a document of its license that this site has seen, even if that license
    /// has since been deactivated, revoked or replaced. It would undo what happened in between.
    #[error(
        "the license file was already used, or is older than the newest document of its license; \
         write a new request and have it signed"
    )]
    Older,
    /// It does not match any pending request of this site.
    #[error(
        "the license file does not match any pending request of this site; write a new request and \
         have it signed"
    )]
    NotRequested,
    /// It is the license of a trial, and another license is active.
    #[error(
        "a license is active on this site, and the trial in the license file would replace it; \
         deactivate the license first"
    )]
    Licensed,
    /// Its lease ended before the file was imported.
    #[error("the license file expired at {valid_until}; write a new request and have it signed")]
    Expired {
        /// The end of the lease.
        valid_until: DateTime<Utc>,
    },
    /// It is a response for a site with internet.
    #[error("the license file contains no lease for a site without internet")]
    NotOffline,
    /// The license that it renews was deactivated or replaced.
    #[error("the license file renews a license other than the active one")]
    NotCurrent,
    /// It answers a different request type than the pending request.
    #[error("the license file does not match the request")]
    OtherPurpose,
}

/// A license file that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub enum Imported {
    /// A lease, in response to an activation or a renewal.
    License(Box<VerifiedLicense>),
    /// The License Server denied the request.
    Denied(Box<VerifiedDenial>),
    /// The receipt of a deactivation: the seat is free.
    Deactivated,
}

/// The site that reads a license file.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// This installation.
    pub installation_id: &'a str,
    /// This machine.
    pub hardware_id: &'a str,
    /// The pending requests.
    pub pending: &'a [Pending],
    /// The cached license, and the sequence number of its newest document.
    pub current: Option<(&'a str, Option<u64>)>,
    /// What the installation remembers about its licenses.
    pub remembered: &'a Remembered,
}

/// Verifies the document of a license file; returns its content, and the request that it answers.
/// [`Imported::is_still_good`] checks whether it is still valid, once the time that it proves is
/// known.
///
/// # Errors
/// One [`ImportError`] for each reason.
pub fn import(
    jws: &str,
    reader: &Reader<'_>,
    keyring: &Keyring,
) -> Result<(Imported, Pending), ImportError> {
    match verify_license(jws, keyring) {
        Ok(license) => {
            let claims = license.claims();
            let key = license.license().license_key().unwrap_or_default();
            let pending = reader.answered(&Address::from(claims), Some(key))?;
            if reader.has_seen(key, claims.seq) {
                return Err(reader.seen(claims.seq));
            }
            if !claims.offline {
                return Err(ImportError::NotOffline);
            }
            let is_it = |(current, _): (&str, _)| license_key::same(current, key);
            let renews = matches!(pending.purpose, Purpose::Renew | Purpose::Redeem);
            if renews && !reader.current.is_some_and(is_it) {
                return Err(ImportError::NotCurrent);
            }
            if pending.purpose == Purpose::Trial && reader.current.is_some() {
                return Err(ImportError::Licensed);
            }
            Ok((Imported::License(Box::new(license)), pending))
        }
        Err(DocumentError::Type { .. }) => {
            let denial = verify_denial(jws, keyring)?;
            let claims = denial.claims();
            let pending = reader.answered(&Address::from(claims), None)?;
            let asked = license_key::fingerprint(&pending.license_key);
            if claims
                .license_key_hash
                .as_ref()
                .is_some_and(|it| *it != asked)
            {
                return Err(ImportError::Foreign(Mismatch::LicenseKey));
            }
            // A receipt is valid only for a deactivation, which `answered` has checked.
            if claims.reason == DenialReason::Deactivated {
                return Ok((Imported::Deactivated, pending));
            }
            Ok((Imported::Denied(Box::new(denial)), pending))
        }
        Err(error) => Err(error.into()),
    }
}

impl Imported {
    /// When the file was signed, if it proves the time. A receipt need not contain the time. A
    /// denied activation does not count as proof, because it can be requested with any key.
    #[must_use]
    pub fn signed_at(&self, answered: &Pending) -> Option<DateTime<Utc>> {
        match self {
            Self::License(document) => Some(document.claims().iat),
            Self::Denied(document) if is_about_license(document, answered) => {
                Some(document.claims().iat)
            }
            Self::Denied(_) | Self::Deactivated => None,
        }
    }

    /// Checks that its lease is still valid at `now`.
    ///
    /// # Errors
    /// [`ImportError::Expired`] when it does not.
    pub fn is_still_good(&self, now: DateTime<Utc>) -> Result<(), ImportError> {
        match self {
            Self::License(document) if document.claims().valid_until < now => {
                let valid_until = document.claims().valid_until;
                Err(ImportError::Expired { valid_until })
            }
            _ => Ok(()),
        }
    }
}

/// Whether a denial that answers a request is evidence about the cached license. A denied activation
/// is not, and neither is a refused add-on key.
#[must_use]
pub fn is_about_license(denial: &VerifiedDenial, answered: &Pending) -> bool {
    match answered.purpose {
        Purpose::Renew => true,
        Purpose::Redeem => denial.claims().question != Some(Call::Redeem),
        Purpose::Activate | Purpose::Deactivate | Purpose::Trial => false,
    }
}

impl Reader<'_> {
    /// The request that a document answers. A denial does not name a license key.
    fn answered(
        &self,
        to: &Address<'_>,
        license_key: Option<&str>,
    ) -> Result<Pending, ImportError> {
        let found = self.pending.iter().find(|it| to.nonce() == Some(&it.nonce));
        let Some(pending) = found else {
            return Err(self.not_requested(to.seq(), license_key));
        };
        let is_it = |key: &str| license_key::same(key, &pending.license_key);
        let question = Question {
            nonce: &pending.nonce,
            license_key: &pending.license_key,
            code_hash: pending.code_hash.as_deref(),
            installation_id: self.installation_id,
            hardware_id: self.hardware_id,
            newest_seq: self
                .newest_seq(&pending.license_key)
                .max(pending.newest_seq),
        };
        let checked = question.check(pending.purpose.call(), to);
        let checked = checked.or_else(|mismatch| match (&mismatch, pending.purpose) {
            (Mismatch::Question { .. }, Purpose::Redeem) => question.check(Call::Redeem, to),
            _ => Err(mismatch),
        });
        checked.map_err(|mismatch| match mismatch {
            Mismatch::Sequence { .. } => self.seen(to.seq()),
            Mismatch::Question { .. } => ImportError::OtherPurpose,
            other => ImportError::Foreign(other),
        })?;
        // The key of a trial's license is new.
        if pending.purpose != Purpose::Trial && !license_key.is_none_or(is_it) {
            return Err(ImportError::Foreign(Mismatch::LicenseKey));
        }
        Ok(pending.clone())
    }

    /// The number that a document of this license must exceed.
    fn newest_seq(&self, license_key: &str) -> Option<u64> {
        let current = self.current;
        let current = current.filter(|(key, _)| license_key::same(key, license_key));
        let remembered = self.remembered.newest_seq(license_key);
        current.and_then(|(_, seq)| seq).max(remembered)
    }

    fn has_seen(&self, license_key: &str, seq: u64) -> bool {
        Some(seq) <= self.newest_seq(license_key)
    }

    /// Why a document with this number, which is not new, is rejected. Importing the current
    /// license again is a mistake, and anything else an attempt to return to an earlier state.
    fn seen(&self, seq: u64) -> ImportError {
        match self.current {
            Some((_, newest)) if newest == Some(seq) => ImportError::Reused,
            _ => ImportError::Older,
        }
    }

    /// There is no pending request for this document: it was already imported, or never requested.
    /// A denial does not name a license key, and does no harm.
    fn not_requested(&self, seq: u64, license_key: Option<&str>) -> ImportError {
        match (license_key, self.current) {
            (Some(key), _) if self.has_seen(key, seq) => self.seen(seq),
            (None, Some((_, newest))) if Some(seq) <= newest => ImportError::Reused,
            _ => ImportError::NotRequested,
        }
    }
}
