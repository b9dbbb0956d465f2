//! Evidence ↔ rows.
//!
//! The columns of the license cache hold what version 1.0.0 kept; what they
//! have no room for is the memo, one row of `system_config`. The local copy
//! holds the same two.

use chrono::{DateTime, Utc};
use license_core::contact::Trust;
use license_core::document::{DocumentError, VerifiedDenial, verify_denial, verify_license};
use license_core::evidence::{Evidence, Failure};
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key;
use license_core::standing::{Policy, grace_end};
use sea_orm::{ConnectionTrait, DbErr};
use serde::{Deserialize, Serialize};

use crate::store::local_license_cache::CachedLicense;
use crate::store::{StoreError, local_license_cache, system_config};

/// What evidence is stored as.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// The current license.
    pub cached: Option<CachedLicense>,
    /// What belongs to it.
    pub memo: Option<Memo>,
}

/// What the columns have no room for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Memo {
    /// Which activation the memo belongs to. Another one means that the
    /// Python service has activated in the meantime.
    license_key: String,
    activated_at: Option<DateTime<Utc>>,
    /// The signed denial, as it came.
    denial: Option<String>,
    last_failure: Option<Failure>,
}

/// What rows say.
#[derive(Debug)]
pub struct Recalled {
    /// The evidence.
    pub evidence: Evidence,
    /// The license was activated by version 1.0.0, and this is the first time
    /// that it is seen: it has to be recorded, and validated at once.
    pub adopted: bool,
}

impl Rows {
    /// Reads them.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn load(db: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let cached = local_license_cache::current(db).await?;
        let text = match &cached {
            Some(_) => system_config::get(db, system_config::EVIDENCE).await?,
            None => None,
        };
        // A memo that cannot be read is none: the license is adopted anew.
        let memo = text.and_then(|text| {
            serde_json::from_str(&text)
                .inspect_err(|error| {
                    tracing::error!(security = true, %error, "the memo in system_config cannot be read and does not count");
                })
                .ok()
        });
        Ok(Self { cached, memo })
    }

    /// Writes them.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save(
        &self,
        db: &impl ConnectionTrait,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if let Some(cached) = &self.cached {
            local_license_cache::save(db, cached).await?;
        }
        if let Some(memo) = &self.memo {
            let memo = serde_json::to_string(memo).map_err(|e| DbErr::Json(e.to_string()))?;
            system_config::set(db, system_config::EVIDENCE, &memo, now).await?;
        }
        Ok(())
    }

    /// The rows that hold `evidence`.
    #[must_use]
    pub fn of(evidence: &Evidence, policy: &Policy) -> Self {
        let Some(lease) = &evidence.lease else {
            return Self::default();
        };
        let in_grace = evidence.grace_started_at.is_some();
        let failure = evidence.last_failure.as_ref();
        let cached = CachedLicense {
            license_key: evidence.license_key.clone(),
            license_data: lease.license().data().clone(),
            cached_at: evidence.activated_at,
            valid_until: lease.valid_until(),
            last_validated_at: evidence.confirmed_at,
            validation_error: failure.map(|failure| failure.message.clone()),
            in_grace_period: in_grace || evidence.server_in_grace,
            grace_period_started_at: evidence.grace_started_at,
            grace_period_expires_at: grace_end(evidence, policy).filter(|_| in_grace),
            license_signature: lease.license().signature().to_owned(),
        };
        let memo = Memo {
            license_key: evidence.license_key.clone(),
            activated_at: evidence.activated_at,
            denial: evidence.denial.as_ref().map(|d| d.jws().to_owned()),
            last_failure: evidence.last_failure.clone(),
        };
        Self {
            cached: Some(cached),
            memo: Some(memo),
        }
    }

    /// The evidence that the rows hold. Whatever bears a signature is verified
    /// again.
    #[must_use]
    pub fn recall(self, trust: &Trust, now: DateTime<Utc>) -> Recalled {
        let Some(cached) = self.cached else {
            return Recalled {
                evidence: Evidence::default(),
                adopted: false,
            };
        };
        let lease = match lease(&cached, trust) {
            Ok(lease) => lease,
            Err(error) => {
                return Recalled {
                    evidence: not_genuine(cached, &error, now),
                    adopted: false,
                };
            }
        };
        let memo = self.memo.filter(|memo| {
            memo.license_key == cached.license_key && memo.activated_at == cached.cached_at
        });
        let adopted = memo.is_none();
        let grace_started_at = match &memo {
            Some(_) => cached.grace_period_started_at,
            // Nothing proves when version 1.0.0 had contact last: one grace
            // from now, or what is left of one that is already running.
            None => Some(
                cached
                    .grace_period_started_at
                    .filter(|start| cached.in_grace_period && *start <= now)
                    .unwrap_or(now),
            ),
        };
        let (denial, last_failure) =
            memo.map_or((None, None), |memo| (memo.denial, memo.last_failure));
        let evidence = Evidence {
            license_key: cached.license_key,
            lease: Some(lease),
            denial: denial.and_then(|jws| verified_denial(&jws, trust)),
            activated_at: cached.cached_at,
            confirmed_at: cached.last_validated_at,
            server_in_grace: cached.in_grace_period && cached.grace_period_started_at.is_none(),
            grace_started_at,
            last_failure,
        };
        Recalled { evidence, adopted }
    }
}

/// The lease in a row; where keys are trusted, a signature has to be right.
fn lease(cached: &CachedLicense, trust: &Trust) -> Result<Lease, DocumentError> {
    match trust {
        // A signed document has two dots; the signatures of unsigned servers,
        // which version 1.0.0 stored as they came, do not.
        Trust::Keys(keyring) if cached.license_signature.matches('.').count() == 2 => {
            let document = verify_license(&cached.license_signature, keyring)?;
            Ok(Lease::Signed(Box::new(document)))
        }
        Trust::Keys(_) | Trust::Unsigned => Ok(unsigned_lease(cached, cached.valid_until)),
    }
}

fn unsigned_lease(cached: &CachedLicense, valid_until: DateTime<Utc>) -> Lease {
    Lease::Unsigned {
        license: License::new(cached.license_data.clone()),
        valid_until,
    }
}

/// A license whose signature cannot be believed is worth nothing, but there
/// was one: the site has lapsed, its core features stay on, and the License
/// Server is asked.
fn not_genuine(cached: CachedLicense, error: &DocumentError, now: DateTime<Utc>) -> Evidence {
    tracing::error!(
        security = true,
        license_key = license_key::mask(&cached.license_key),
        %error,
        "the cached license is not genuine and does not count until the License Server confirms it"
    );
    let long_ago = DateTime::UNIX_EPOCH;
    Evidence {
        lease: Some(unsigned_lease(&cached, long_ago)),
        license_key: cached.license_key,
        denial: None,
        activated_at: cached.cached_at,
        confirmed_at: cached.last_validated_at,
        grace_started_at: Some(long_ago),
        last_failure: Some(Failure {
            at: now,
            reason: "not_genuine".to_owned(),
            message: format!("the cached license is not genuine: {error}"),
            denied: false,
        }),
        server_in_grace: false,
    }
}

fn verified_denial(jws: &str, trust: &Trust) -> Option<VerifiedDenial> {
    let Trust::Keys(keyring) = trust else {
        return None;
    };
    verify_denial(jws, keyring)
        .inspect_err(|error| {
            tracing::error!(security = true, %error, "the cached denial is not genuine and does not count");
        })
        .ok()
}
