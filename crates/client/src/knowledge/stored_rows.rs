//! What stored rows say: everything signed is verified again.
//!
//! Others can write to the database, and the rows may belong to another installation. Without keys,
//! the rows are accepted unchanged.

use chrono::{DateTime, Utc};
use license_core::document::{
    DocumentError, VerifiedDenial, VerifiedLicense, verify_denial, verify_license,
};
use license_core::evidence::{EXPIRED_GRACE_START, Evidence};
use license_core::keyring::Keyring;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key;
use license_core::remembered::Remembered;
use license_core::response::Trust;
use license_core::taking_over::{discredited, is_discredited};
use license_core::time_guard::ANSWER_TOLERANCE;

use super::evidence_rows::{EvidenceRows, Memo};
use crate::identity::Identity;
use crate::store::local_license_cache::CachedLicense;
use crate::trusted_keys::TrustedKeys;

/// What rows say, as far as it can be verified.
#[derive(Debug)]
pub(super) struct Stored {
    pub evidence: Evidence,
    /// The license was activated by version 1.0.0, and is seen for the first time.
    pub is_adopted: bool,
    /// The rows were changed by hand.
    pub is_tampered: bool,
    /// The memo says why the last validation failed.
    is_failure_from_memo: bool,
}

impl Stored {
    /// The evidence without the reason for the last failure, if it is only known from the memo, which
    /// others can write.
    pub(super) fn without_reason_from_memo(&self) -> Evidence {
        let mut evidence = self.evidence.clone();
        let failure = evidence.last_failure.take_if(|_| self.is_failure_from_memo);
        let Some(failure) = failure else {
            return evidence;
        };
        if is_discredited(&evidence) {
            return discredited(&evidence, REJECTED_BEFORE, failure.at());
        }
        evidence.last_failure = Some(failure.without_reason());
        evidence
    }
}

/// Why evidence is not trusted that was written as such.
const REJECTED_BEFORE: &str = "it was rejected before";

/// Why a cached license is ignored.
#[derive(Debug, thiserror::Error)]
enum NotGenuine {
    /// Its document failed verification.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The license was signed before.
    #[error("the signature was removed from the license")]
    SignatureRemoved,
    /// It belongs to another installation or machine.
    #[error("the license is for another installation or machine")]
    Foreign,
    /// It is unsigned, and the period for adoption is over.
    #[error("the license is unsigned, and unsigned licenses are no longer adopted")]
    AdoptionOver,
}

/// What these rows of `identity` say.
pub(super) fn read(
    rows: EvidenceRows,
    keys: &TrustedKeys,
    identity: &Identity,
    remembered: &Remembered,
    now: DateTime<Utc>,
) -> Stored {
    let Some(cached) = rows.cached else {
        return Stored {
            evidence: Evidence::default(),
            is_adopted: false,
            is_tampered: false,
            is_failure_from_memo: false,
        };
    };
    // A memo of another activation means that the Python service has
    // activated in the meantime.
    let memo = rows.memo.filter(|memo| {
        memo.license_key == cached.license_key && memo.activated_at == cached.cached_at
    });
    let trust = keys.trust();
    let Trust::Keys(keyring) = &**trust else {
        return unsigned(cached, memo, None, now);
    };
    if rows_of_discredited(&cached) {
        return discredited_before(cached, memo, now);
    }
    // A signed document has two dots; the signatures of unsigned
    // servers, which version 1.0.0 stored as they came, do not.
    if cached.license_signature.matches('.').count() == 2 {
        match verify_license(&cached.license_signature, keyring) {
            Ok(document) if !is_for(&document, identity) => {
                not_genuine(cached, Some(&document), &NotGenuine::Foreign, now)
            }
            Ok(document) => {
                let mut stored = signed(&cached, memo, document, keyring, identity, now);
                if rows.is_marked_invalid {
                    log_changed_row(stored.evidence.license_key());
                    stored.is_tampered = true;
                }
                stored
            }
            Err(error) => not_genuine(cached, None, &error.into(), now),
        }
    } else if memo.as_ref().is_some_and(|memo| memo.signed) {
        not_genuine(cached, None, &NotGenuine::SignatureRemoved, now)
    } else if !keys.adopt_unsigned(now) {
        not_genuine(cached, None, &NotGenuine::AdoptionOver, now)
    } else {
        unsigned(cached, memo, Some(remembered), now)
    }
}

/// Whether these are the columns that this program writes for evidence that it does not trust
/// ([`EvidenceRows::of`]). They grant nothing, regardless of who wrote them.
fn rows_of_discredited(cached: &CachedLicense) -> bool {
    cached.license_signature.is_empty()
        && cached.valid_until == EXPIRED_GRACE_START
        && cached.grace_period_started_at == Some(EXPIRED_GRACE_START)
}

fn discredited_before(cached: CachedLicense, memo: Option<Memo>, now: DateTime<Utc>) -> Stored {
    let mut evidence = discredited(&said(cached, None), REJECTED_BEFORE, now);
    let last_failure = memo.and_then(|memo| memo.last_failure);
    let is_failure_from_memo = last_failure.is_some();
    evidence.last_failure = last_failure.or(evidence.last_failure);
    Stored {
        evidence,
        is_adopted: false,
        is_tampered: false,
        is_failure_from_memo,
    }
}

fn is_for(document: &VerifiedLicense, identity: &Identity) -> bool {
    let claims = document.claims();
    claims.installation_id == identity.installation_id && claims.hardware_id == identity.hardware_id
}

/// The content of a signed document is taken only from the document.
fn signed(
    cached: &CachedLicense,
    memo: Option<Memo>,
    document: VerifiedLicense,
    keyring: &Keyring,
    identity: &Identity,
    now: DateTime<Utc>,
) -> Stored {
    let claims = document.claims();
    // No validation has failed before the document was created, and none starts a grace period
    // after its end.
    let bounds = claims.iat..=claims.valid_until.max(claims.iat);
    let start = cached.grace_period_started_at;
    let is_possible = start.is_none_or(|start| {
        bounds.contains(&start) || bounds.contains(&(start + ANSWER_TOLERANCE))
    });
    let is_tampered = cached.license_key != document.license_key()
        || cached.license_data != *document.license().data()
        || cached.valid_until != claims.valid_until
        || !is_possible;
    if is_tampered {
        log_changed_row(document.license_key());
    }
    let latest = (*bounds.end()).min(now).max(claims.iat);
    let grace_started_at = start.map(|start| start.clamp(claims.iat, latest));
    let (denial, last_failure, last_change) = memo.map_or((None, None, None), |memo| {
        (memo.denial, memo.last_failure, memo.last_change)
    });
    let denial =
        denial.and_then(|jws| verified_denial(&jws, document.license_key(), keyring, identity));
    Stored {
        is_adopted: false,
        is_tampered,
        is_failure_from_memo: true,
        evidence: Evidence {
            lease: Some(Lease::Signed(Box::new(document))),
            denial,
            activated_at: cached.cached_at,
            confirmed_at: cached.last_validated_at,
            server_in_grace: cached.in_grace_period && cached.grace_period_started_at.is_none(),
            grace_started_at,
            last_failure,
            last_change,
        },
    }
}

fn log_changed_row(license_key: &str) {
    tracing::error!(
        security = true,
        license_key = license_key::mask(license_key),
        "the license row was changed by hand; the signed document is used instead"
    );
}

/// An unsigned license. With trusted keys it is on probation: all unsigned licenses of an
/// installation share one grace period.
fn unsigned(
    cached: CachedLicense,
    memo: Option<Memo>,
    probation: Option<&Remembered>,
    now: DateTime<Utc>,
) -> Stored {
    let on_probation = probation.is_some();
    let known = memo.as_ref().map(|memo| {
        let starts = [
            cached.grace_period_started_at,
            memo.grace_started_at.filter(|_| on_probation),
        ];
        // A grace period never begins in the future.
        starts
            .into_iter()
            .flatten()
            .min()
            .map(|start| start.min(now))
    });
    let (is_adopted, grace_started_at) = match known {
        Some(start) if start.is_some() || !on_probation => (false, start),
        // Keys were configured for the first time.
        Some(_) => (true, Some(now)),
        // Nothing proves when version 1.0.0 last had contact, so the license gets one grace period
        // from now, or the rest of one that is already running.
        None => {
            let start = cached
                .grace_period_started_at
                .filter(|start| cached.in_grace_period && *start <= now);
            (true, Some(start.unwrap_or(now)))
        }
    };
    let first_seen = probation.and_then(Remembered::adopted_at);
    let grace_started_at =
        grace_started_at.map(|start| first_seen.map_or(start, |it| it.min(start)));
    let license_key = license_key::bounded(&cached.license_key);
    let is_tampered = license_key != cached.license_key;
    if is_tampered {
        tracing::error!(
            security = true,
            license_key = license_key::mask(&license_key),
            "the stored license key is longer than any valid key; truncating and normalizing it"
        );
    }
    let license = License::new(cached.license_data);
    let lease = if on_probation {
        let start = grace_started_at.unwrap_or(now);
        Lease::adopted(&license_key, license, cached.valid_until, start)
    } else {
        Lease::Unsigned {
            license_key,
            license,
            valid_until: cached.valid_until,
        }
    };
    let (last_failure, last_change) =
        memo.map_or((None, None), |memo| (memo.last_failure, memo.last_change));
    Stored {
        is_adopted,
        is_tampered,
        is_failure_from_memo: true,
        evidence: Evidence {
            lease: Some(lease),
            denial: None,
            activated_at: cached.cached_at,
            confirmed_at: cached.last_validated_at,
            server_in_grace: cached.in_grace_period && cached.grace_period_started_at.is_none(),
            grace_started_at,
            last_failure,
            last_change,
        },
    }
}

/// A license that is not accepted. The License Server is asked about the key of its document, if a
/// trusted key has signed that, and otherwise about the one in the row.
fn not_genuine(
    cached: CachedLicense,
    document: Option<&VerifiedLicense>,
    error: &NotGenuine,
    now: DateTime<Utc>,
) -> Stored {
    let said = said(cached, document);
    tracing::error!(
        security = true,
        license_key = license_key::mask(said.license_key()),
        %error,
        "the cached license failed verification and is ignored until the License Server confirms it"
    );
    Stored {
        evidence: discredited(&said, &error.to_string(), now),
        is_adopted: false,
        is_tampered: true,
        is_failure_from_memo: false,
    }
}

/// What such a row says.
fn said(cached: CachedLicense, document: Option<&VerifiedLicense>) -> Evidence {
    let in_row = || license_key::bounded(&cached.license_key);
    let license_key = document.map_or_else(in_row, |it| it.license_key().to_owned());
    Evidence {
        lease: Some(Lease::Unsigned {
            license_key,
            license: License::new(cached.license_data),
            valid_until: cached.valid_until,
        }),
        activated_at: cached.cached_at,
        confirmed_at: cached.last_validated_at,
        ..Evidence::default()
    }
}

fn verified_denial(
    jws: &str,
    license_key: &str,
    keyring: &Keyring,
    identity: &Identity,
) -> Option<VerifiedDenial> {
    let denial = verify_denial(jws, keyring)
        .inspect_err(|error| {
            tracing::error!(security = true, %error, "ignoring a cached denial that failed \
                verification");
        })
        .ok()?;
    let claims = denial.claims();
    let hash = claims.license_key_hash.as_ref();
    let is_ours = claims.installation_id == identity.installation_id
        && claims.hardware_id == identity.hardware_id
        && hash.is_none_or(|hash| *hash == license_key::fingerprint(license_key));
    if !is_ours {
        tracing::error!(
            security = true,
            "ignoring a cached denial for another installation or license"
        );
    }
    is_ours.then_some(denial)
}
