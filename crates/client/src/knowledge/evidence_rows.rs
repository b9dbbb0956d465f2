//! Evidence ↔ rows.
//!
//! The columns of the license cache contain the data of version 1.0.0; additional data is in the
//! memo, one row of `system_config`. The local copy contains the same two parts. What the rows say
//! is verified in [`super::verified_rows`].

use chrono::{DateTime, Utc};
use license_core::document::verify_license;
use license_core::evidence::{Evidence, Failure};
use license_core::last_change::LastChange;
use license_core::lease::Lease;
use license_core::response::Trust;
use license_core::standing::{Policy, grace_end};
use license_core::stored_time;
use license_core::taking_over::is_discredited;
use license_service::database::writes;
use sea_orm::{ConnectionTrait, DbErr};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::store::local_license_cache::CachedLicense;
use crate::store::{StoreError, local_license_cache, system_config};
use crate::trusted_keys::TrustedKeys;

/// The stored form of evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EvidenceRows {
    /// The current license.
    pub cached: Option<CachedLicense>,
    /// The memo that belongs to it.
    pub memo: Option<Memo>,
    /// The row is marked as invalid, although it is the known license.
    #[serde(skip)]
    pub is_marked_invalid: bool,
}

/// The data that does not fit into the columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Memo {
    /// The activation to which the memo belongs. A different one means that the Python service has
    /// activated in the meantime.
    pub license_key: String,
    #[serde(default, deserialize_with = "stored_time::deserialize_option")]
    pub activated_at: Option<DateTime<Utc>>,
    /// The signed denial, unmodified.
    pub denial: Option<String>,
    pub last_failure: Option<Failure>,
    /// Whether the license is signed; a license without a signature is then a different one.
    #[serde(default)]
    pub signed: bool,
    /// When the grace period of an unsigned license began.
    #[serde(default, deserialize_with = "stored_time::deserialize_option")]
    pub grace_started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub last_change: Option<LastChange>,
}

impl EvidenceRows {
    /// Reads them. The license of `known` stays current even if its row is marked as invalid,
    /// because no signed document says so.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn load(
        db: &impl ConnectionTrait,
        known: &Evidence,
    ) -> Result<Self, StoreError> {
        let current = local_license_cache::current(db).await?;
        let (cached, is_marked_invalid) = match current {
            None if is_signed(known) => {
                let marked = local_license_cache::find(db, known.license_key()).await?;
                let is_there = marked.is_some();
                (marked, is_there)
            }
            current => (current, false),
        };
        let text = match &cached {
            Some(_) => system_config::get(db, system_config::EVIDENCE).await?,
            None => None,
        };
        // An unreadable memo counts as missing: the license is adopted again.
        let memo = text.and_then(|text| {
            serde_json::from_str(&text)
                .inspect_err(|error| {
                    tracing::error!(
                        security = true,
                        %error,
                        "ignoring license_client.evidence in system_config because it cannot be \
                         read"
                    );
                })
                .ok()
        });
        Ok(Self {
            cached,
            memo,
            is_marked_invalid,
        })
    }

    /// Writes them.
    ///
    /// # Errors
    /// If the database returns an error.
    pub(super) async fn save(
        &self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if let Some(cached) = &self.cached {
            local_license_cache::save(db, cached).await?;
        }
        if let Some(memo) = &self.memo {
            let memo = serde_json::to_string(memo).map_err(|e| DbErr::Json(e.to_string()))?;
            match system_config::set(db, system_config::EVIDENCE, &memo, now).await {
                // The next reading notices the missing memo. A trigger must not keep this process
                // from reading and correcting the other rows.
                Err(StoreError::Database(error)) if writes::is_skipped(&error) => {}
                saved => saved?,
            }
        }
        Ok(())
    }

    /// The rows that hold `evidence`.
    pub(super) fn of(evidence: &Evidence, policy: &Policy) -> Self {
        let Some(lease) = &evidence.lease else {
            return Self::default();
        };
        let in_grace = evidence.grace_started_at.is_some();
        let failure = evidence.last_failure.as_ref();
        let cached = CachedLicense {
            license_key: lease.license_key().to_owned(),
            license_data: lease.license().data().clone(),
            cached_at: evidence.activated_at,
            valid_until: lease.valid_until(),
            last_validated_at: evidence.confirmed_at,
            validation_error: failure.map(|failure| failure.message().to_owned()),
            in_grace_period: in_grace || evidence.server_in_grace,
            grace_period_started_at: evidence.grace_started_at,
            grace_period_expires_at: grace_end(evidence, policy).filter(|_| in_grace),
            // Beside the signature of a genuine document, the columns would look edited.
            license_signature: match is_discredited(evidence) {
                true => String::new(),
                false => lease.license().signature().to_owned(),
            },
        };
        let memo = Memo {
            license_key: lease.license_key().to_owned(),
            activated_at: evidence.activated_at,
            denial: evidence.denial.as_ref().map(|d| d.jws().to_owned()),
            last_failure: evidence.last_failure.clone(),
            signed: matches!(lease, Lease::Signed(_)),
            grace_started_at: evidence.grace_started_at,
            last_change: evidence.last_change.clone(),
        };
        Self {
            cached: Some(cached),
            memo: Some(memo),
            is_marked_invalid: false,
        }
    }

    /// The recipient of the license, if a trusted key has signed it.
    pub(super) fn addressee(&self, keys: &TrustedKeys) -> Option<Identity> {
        let cached = self.cached.as_ref()?;
        let trust = keys.trust();
        let Trust::Keys(keyring) = &**trust else {
            return None;
        };
        let document = verify_license(&cached.license_signature, keyring).ok()?;
        let claims = document.claims();
        Some(Identity {
            installation_id: claims.installation_id.clone(),
            hardware_id: claims.hardware_id.clone(),
        })
    }
}

pub(super) fn is_signed(evidence: &Evidence) -> bool {
    matches!(evidence.lease, Some(Lease::Signed(_)))
}
