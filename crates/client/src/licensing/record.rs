//! Evidence ↔ rows.
//!
//! The columns of the license cache hold what version 1.0.0 kept; what they
//! have no room for is one row of `system_config`, the memo. Both are written
//! in one transaction.

use std::collections::BTreeSet;

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

use crate::app::App;
use crate::snapshot::Snapshot;
use crate::store::local_license_cache::CachedLicense;
use crate::store::local_license_validation_attempts::Attempt;
use crate::store::{
    StoreError, local_feature_flags, local_license_cache, local_license_validation_attempts,
    system_config,
};

/// What the columns have no room for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memo {
    /// Which activation the memo belongs to. Another one means that the
    /// Python service has activated in the meantime.
    license_key: String,
    activated_at: Option<DateTime<Utc>>,
    /// The signed denial, as it came.
    denial: Option<String>,
    last_failure: Option<Failure>,
}

/// What was found in the database.
#[derive(Debug)]
pub struct Recalled {
    /// The evidence.
    pub evidence: Evidence,
    /// The license was activated by version 1.0.0, and this is the first time
    /// that it is seen: it has to be recorded, and validated at once.
    pub adopted: bool,
}

/// Reads the evidence. Whatever bears a signature is verified again.
///
/// # Errors
/// When the database refuses.
pub async fn recall(
    db: &impl ConnectionTrait,
    trust: &Trust,
    now: DateTime<Utc>,
) -> Result<Recalled, StoreError> {
    let Some(cached) = local_license_cache::current(db).await? else {
        return Ok(Recalled {
            evidence: Evidence::default(),
            adopted: false,
        });
    };
    let lease = match lease(&cached, trust) {
        Ok(lease) => lease,
        Err(error) => {
            return Ok(Recalled {
                evidence: not_genuine(cached, &error, now),
                adopted: false,
            });
        }
    };
    let memo = memo(db).await?.filter(|memo| {
        memo.license_key == cached.license_key && memo.activated_at == cached.cached_at
    });
    let adopted = memo.is_none();
    let grace_started_at = match &memo {
        Some(_) => cached.grace_period_started_at,
        // Nothing proves when version 1.0.0 had contact last: one grace from
        // now, or what is left of one that is already running.
        None => Some(
            cached
                .grace_period_started_at
                .filter(|start| cached.in_grace_period && *start <= now)
                .unwrap_or(now),
        ),
    };
    let (denial, last_failure) = memo.map_or((None, None), |memo| (memo.denial, memo.last_failure));
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
    Ok(Recalled { evidence, adopted })
}

/// Joins the evidence with the site's switches.
///
/// # Errors
/// As [`recall`].
pub async fn snapshot(
    db: &impl ConnectionTrait,
    evidence: Evidence,
    policy: Policy,
) -> Result<Snapshot, StoreError> {
    let switched_off = local_feature_flags::switched_off(db).await?;
    Ok(Snapshot::new(evidence, switched_off, policy))
}

/// Changes the evidence in one transaction, together with a line in the log
/// of attempts, and answers what is known then.
///
/// `change` gets the evidence as it is in the database at that moment, which
/// another process may have changed since the License Server was asked.
///
/// # Errors
/// When the database refuses; then nothing is changed.
pub async fn change(
    app: &App,
    attempt: Option<Attempt>,
    now: DateTime<Utc>,
    change: impl FnOnce(&Evidence) -> Evidence,
) -> Result<Snapshot, StoreError> {
    let transaction = app.store.begin(now).await?;
    let before = recall(&transaction, &app.trust, now).await?;
    let after = change(&before.evidence);
    if before.adopted || after != before.evidence {
        save(&transaction, &before.evidence, &after, &app.policy, now).await?;
    }
    if let Some(attempt) = attempt {
        let hardware_id = &app.identity.hardware_id;
        local_license_validation_attempts::append(&transaction, attempt, hardware_id, now).await?;
    }
    let snapshot = snapshot(&transaction, after, app.policy).await?;
    transaction.commit().await?;
    Ok(snapshot)
}

async fn save(
    db: &impl ConnectionTrait,
    before: &Evidence,
    evidence: &Evidence,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(lease) = &evidence.lease else {
        return Ok(());
    };
    let in_grace = evidence.grace_started_at.is_some();
    let cached = CachedLicense {
        license_key: evidence.license_key.clone(),
        license_data: lease.license().data().clone(),
        cached_at: evidence.activated_at,
        valid_until: lease.valid_until(),
        last_validated_at: evidence.confirmed_at,
        validation_error: evidence
            .last_failure
            .as_ref()
            .map(|failure| failure.message.clone()),
        in_grace_period: in_grace || evidence.server_in_grace,
        grace_period_started_at: evidence.grace_started_at,
        grace_period_expires_at: grace_end(evidence, policy).filter(|_| in_grace),
        license_signature: lease.license().signature().to_owned(),
    };
    local_license_cache::save(db, &cached).await?;

    if evidence.lease != before.lease {
        let listed = lease.license().features();
        for (entry, why) in &listed.skipped {
            tracing::warn!(entry, %why, "an entry of enabledFeatures is skipped");
        }
        local_feature_flags::license(db, &listed.keys, now).await?;
    }

    let memo = Memo {
        license_key: evidence.license_key.clone(),
        activated_at: evidence.activated_at,
        denial: evidence.denial.as_ref().map(|d| d.jws().to_owned()),
        last_failure: evidence.last_failure.clone(),
    };
    let memo = serde_json::to_string(&memo).map_err(|e| DbErr::Json(e.to_string()))?;
    system_config::set(db, system_config::EVIDENCE, &memo, now).await
}

/// Removes the license and what is known about it, and answers what is known
/// then. The site's switches stay.
///
/// # Errors
/// When the database refuses; then nothing is changed.
pub async fn forget(app: &App, license_key: &str) -> Result<Snapshot, StoreError> {
    let now = app.clock.now();
    let transaction = app.store.begin(now).await?;
    local_license_cache::remove(&transaction, license_key).await?;
    local_feature_flags::license(&transaction, &BTreeSet::new(), now).await?;
    system_config::remove(&transaction, system_config::EVIDENCE).await?;
    let snapshot = snapshot(&transaction, Evidence::default(), app.policy).await?;
    transaction.commit().await?;
    Ok(snapshot)
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

/// A memo that cannot be read is none: the license is then adopted anew.
async fn memo(db: &impl ConnectionTrait) -> Result<Option<Memo>, StoreError> {
    let text = system_config::get(db, system_config::EVIDENCE).await?;
    Ok(text.and_then(|text| {
        serde_json::from_str(&text)
            .inspect_err(|error| {
                tracing::error!(security = true, %error, "the memo in system_config cannot be read and does not count");
            })
            .ok()
    }))
}
