//! Evidence ↔ rows.
//!
//! The columns of the license cache hold what version 1.0.0 kept; what they
//! have no room for is the memo, one row of `system_config`. The local copy
//! holds the same two.

use chrono::{DateTime, Utc};
use license_core::contact::Trust;
use license_core::document::{
    DocumentError, VerifiedDenial, VerifiedLicense, verify_denial, verify_license,
};
use license_core::evidence::{Evidence, Failure};
use license_core::keyring::Keyring;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key;
use license_core::standing::{Policy, grace_end};
use sea_orm::{ConnectionTrait, DbErr};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::store::local_license_cache::CachedLicense;
use crate::store::{StoreError, local_license_cache, system_config};
use crate::trusted_keys::TrustedKeys;

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
    /// Whether the license is signed: then one without a signature is not it.
    #[serde(default)]
    signed: bool,
    /// When the grace period of a license began that nobody has signed.
    #[serde(default)]
    grace_started_at: Option<DateTime<Utc>>,
}

/// What rows say.
#[derive(Debug)]
pub struct Recalled {
    /// The evidence.
    pub evidence: Evidence,
    /// The license was activated by version 1.0.0, and this is the first time
    /// that it is seen: it has to be recorded, and validated at once.
    pub adopted: bool,
    /// Somebody has changed the rows by hand. What they say counts for
    /// nothing, and they have to be written anew.
    pub tampered: bool,
}

/// Why a cached license counts for nothing.
#[derive(Debug, thiserror::Error)]
enum NotGenuine {
    /// Its document cannot be believed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It was signed once.
    #[error("its signature was removed")]
    SignatureRemoved,
    /// It is another's.
    #[error("it is for another installation, machine or license key")]
    Foreign,
    /// Nobody has signed it, and the time for that is over.
    #[error("nobody has signed it, and such licenses are not adopted any more")]
    AdoptionOver,
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
            signed: matches!(lease, Lease::Signed(_)),
            grace_started_at: evidence.grace_started_at,
        };
        Self {
            cached: Some(cached),
            memo: Some(memo),
        }
    }

    /// Whom the license is for, where a trusted key has signed it.
    #[must_use]
    pub fn addressee(&self, keys: &TrustedKeys) -> Option<Identity> {
        let cached = self.cached.as_ref()?;
        let trust = keys.trust();
        let Trust::Keys(keyring) = &**trust else {
            return None;
        };
        let document = verify_license(&cached.license_signature, keyring).ok()?;
        let key = document.license().license_key().unwrap_or_default();
        let claims = document.claims();
        license_key::same(key, &cached.license_key).then(|| Identity {
            installation_id: claims.installation_id.clone(),
            hardware_id: claims.hardware_id.clone(),
        })
    }

    /// The evidence that the rows hold, for this installation. Whatever bears a
    /// signature is verified again.
    #[must_use]
    pub fn recall(self, keys: &TrustedKeys, identity: &Identity, now: DateTime<Utc>) -> Recalled {
        let Some(cached) = self.cached else {
            return Recalled {
                evidence: Evidence::default(),
                adopted: false,
                tampered: false,
            };
        };
        // A memo of another activation means that the Python service has
        // activated in the meantime.
        let memo = self.memo.filter(|memo| {
            memo.license_key == cached.license_key && memo.activated_at == cached.cached_at
        });
        let trust = keys.trust();
        match &**trust {
            Trust::Unsigned => unsigned(cached, memo, false, now),
            Trust::Keys(keyring) => {
                // A signed document has two dots; the signatures of unsigned
                // servers, which version 1.0.0 stored as they came, do not.
                if cached.license_signature.matches('.').count() == 2 {
                    let verified = verify_license(&cached.license_signature, keyring);
                    match verified.map_err(NotGenuine::from).and_then(|document| {
                        is_for(&document, &cached, identity)?;
                        Ok(document)
                    }) {
                        Ok(document) => signed(cached, memo, document, keyring, identity),
                        Err(error) => not_genuine(cached, &error, now),
                    }
                } else if memo.as_ref().is_some_and(|memo| memo.signed) {
                    not_genuine(cached, &NotGenuine::SignatureRemoved, now)
                } else if !keys.adopt_unsigned(now) {
                    not_genuine(cached, &NotGenuine::AdoptionOver, now)
                } else {
                    unsigned(cached, memo, true, now)
                }
            }
        }
    }
}

fn is_for(
    document: &VerifiedLicense,
    cached: &CachedLicense,
    identity: &Identity,
) -> Result<(), NotGenuine> {
    let claims = document.claims();
    let key = document.license().license_key().unwrap_or_default();
    if claims.installation_id != identity.installation_id
        || claims.hardware_id != identity.hardware_id
        || !license_key::same(key, &cached.license_key)
    {
        return Err(NotGenuine::Foreign);
    }
    Ok(())
}

/// What a signed document says is taken from it alone.
fn signed(
    cached: CachedLicense,
    memo: Option<Memo>,
    document: VerifiedLicense,
    keyring: &Keyring,
    identity: &Identity,
) -> Recalled {
    let tampered = cached.license_data != *document.license().data()
        || cached.valid_until != document.claims().valid_until;
    if tampered {
        tracing::error!(
            security = true,
            license_key = license_key::mask(&cached.license_key),
            "the row of the license was changed by hand; the signed document counts"
        );
    }
    let (denial, last_failure) = memo.map_or((None, None), |memo| (memo.denial, memo.last_failure));
    let denial = denial.and_then(|jws| verified_denial(&jws, keyring, identity));
    Recalled {
        adopted: false,
        tampered,
        evidence: Evidence {
            license_key: cached.license_key,
            lease: Some(Lease::Signed(Box::new(document))),
            denial,
            activated_at: cached.cached_at,
            confirmed_at: cached.last_validated_at,
            server_in_grace: cached.in_grace_period && cached.grace_period_started_at.is_none(),
            grace_started_at: cached.grace_period_started_at,
            last_failure,
        },
    }
}

/// A license that nobody has signed. Where keys are trusted (`on_probation`)
/// it has one grace period, and no more.
fn unsigned(
    cached: CachedLicense,
    memo: Option<Memo>,
    on_probation: bool,
    now: DateTime<Utc>,
) -> Recalled {
    let known = memo.as_ref().map(|memo| {
        let starts = [
            cached.grace_period_started_at,
            memo.grace_started_at.filter(|_| on_probation),
        ];
        // Nobody has a grace period that has not begun.
        starts
            .into_iter()
            .flatten()
            .min()
            .map(|start| start.min(now))
    });
    let (adopted, grace_started_at) = match known {
        Some(start) if start.is_some() || !on_probation => (false, start),
        // The keys are new here.
        Some(_) => (true, Some(now)),
        // Nothing proves when version 1.0.0 had contact last: one grace from
        // now, or what is left of one that is already running.
        None => {
            let start = cached
                .grace_period_started_at
                .filter(|start| cached.in_grace_period && *start <= now);
            (true, Some(start.unwrap_or(now)))
        }
    };
    let license = License::new(cached.license_data.clone());
    let lease = if on_probation {
        Lease::adopted(license, cached.valid_until, grace_started_at.unwrap_or(now))
    } else {
        Lease::Unsigned {
            license,
            valid_until: cached.valid_until,
        }
    };
    Recalled {
        adopted,
        tampered: false,
        evidence: Evidence {
            license_key: cached.license_key,
            lease: Some(lease),
            denial: None,
            activated_at: cached.cached_at,
            confirmed_at: cached.last_validated_at,
            server_in_grace: cached.in_grace_period && cached.grace_period_started_at.is_none(),
            grace_started_at,
            last_failure: memo.and_then(|memo| memo.last_failure),
        },
    }
}

/// A license whose signature cannot be believed is worth nothing, but there
/// was one: the site has lapsed, its core features stay on, and the License
/// Server is asked.
fn not_genuine(cached: CachedLicense, error: &NotGenuine, now: DateTime<Utc>) -> Recalled {
    tracing::error!(
        security = true,
        license_key = license_key::mask(&cached.license_key),
        %error,
        "the cached license is not genuine and does not count until the License Server confirms it"
    );
    let long_ago = DateTime::UNIX_EPOCH;
    let evidence = Evidence {
        lease: Some(Lease::adopted(
            License::new(cached.license_data.clone()),
            long_ago,
            long_ago,
        )),
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
    };
    Recalled {
        evidence,
        adopted: false,
        tampered: true,
    }
}

fn verified_denial(jws: &str, keyring: &Keyring, identity: &Identity) -> Option<VerifiedDenial> {
    let denial = verify_denial(jws, keyring)
        .inspect_err(|error| {
            tracing::error!(security = true, %error, "the cached denial is not genuine and does not count");
        })
        .ok()?;
    let claims = denial.claims();
    let is_ours = claims.installation_id == identity.installation_id
        && claims.hardware_id == identity.hardware_id;
    if !is_ours {
        tracing::error!(
            security = true,
            "the cached denial is another installation's and does not count"
        );
    }
    is_ours.then_some(denial)
}
