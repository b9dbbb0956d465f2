//! Evidence ↔ rows.
//!
//! The columns of the license cache hold what version 1.0.0 kept; what they
//! have no room for is the memo, one row of `system_config`. The local copy
//! holds the same two.

use chrono::{DateTime, Utc};
use license_core::calls::Calls;
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
use license_core::taking_over::{
    NotTakenOver, Remembered, TakenOver, discredited, take_over, take_up,
};
use license_core::time_guard::AGREES;
use sea_orm::{ConnectionTrait, DbErr};
use serde::{Deserialize, Serialize};

use crate::app::App;
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
    /// The row is marked as invalid, although it is the license that is known.
    #[serde(skip)]
    pub is_marked_invalid: bool,
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
    /// When the grace period of an unsigned license began.
    #[serde(default)]
    grace_started_at: Option<DateTime<Utc>>,
}

/// What rows say.
#[derive(Debug)]
struct Said {
    evidence: Evidence,
    /// The license was activated by version 1.0.0, and this is the first time
    /// that it is seen.
    adopted: bool,
    /// The rows were changed by hand.
    tampered: bool,
}

/// What counts, now that rows were read.
#[derive(Debug)]
pub struct Recalled {
    /// The evidence that counts.
    pub evidence: Evidence,
    /// What the rows say.
    pub stored: Evidence,
    /// The license was activated by version 1.0.0, and this is the first time that it is seen: it
    /// must be recorded and validated immediately.
    pub adopted: bool,
    /// The rows were changed by hand. They are ignored and must be rewritten.
    pub tampered: bool,
    /// Why something else counts.
    pub not_taken_over: Option<NotTakenOver>,
}

impl Recalled {
    /// `taken` is missing where no keys are trusted: then the rows count.
    fn of(said: Said, taken: Option<TakenOver>) -> Self {
        let (evidence, not_taken_over) = match taken {
            Some(taken) => (taken.evidence, taken.error),
            None => (said.evidence.clone(), None),
        };
        match not_taken_over {
            // Said where the rows were read.
            Some(NotTakenOver::Unsigned) if !said.tampered => tracing::error!(
                security = true,
                "ignoring an unsigned license that replaced the signed one"
            ),
            Some(NotTakenOver::GivenUp) => tracing::error!(
                security = true,
                "ignoring a deactivated license that was put back into the database"
            ),
            Some(NotTakenOver::Older) => {
                tracing::warn!("ignoring a stored license that is older than the known one");
            }
            _ => {}
        }
        Self {
            evidence,
            stored: said.evidence,
            adopted: said.adopted && not_taken_over.is_none(),
            tampered: said.tampered || not_taken_over == Some(NotTakenOver::Unsigned),
            not_taken_over,
        }
    }

    /// Whether the rows must be rewritten.
    #[must_use]
    pub fn is_to_be_written(&self) -> bool {
        let is_older = self.not_taken_over == Some(NotTakenOver::Older);
        // A genuine document stays in its row, valid or not.
        self.adopted || self.tampered || (is_older && is_signed(&self.evidence))
    }

    /// Counts changes made to the rows by hand, and requests a validation if `known` was replaced
    /// by an unsigned license.
    pub fn report(&self, app: &App, known: &Evidence) {
        let is_other = self.evidence.lease != known.lease;
        let lost = self.not_taken_over.is_some() && !is_signed(&self.evidence);
        let again = self.adopted && app.remembered().adopted_at().is_some();
        if again {
            tracing::error!(
                security = true,
                "another unsigned license; it gets the rest of the first one's grace period"
            );
        }
        if self.tampered || again || (lost && is_other) {
            app.metrics.security_event();
        }
        if (self.adopted || lost || self.tampered) && is_other && !is_signed(&self.evidence) {
            app.note_call(Calls::validation_wanted);
        }
    }
}

/// Why a cached license counts for nothing.
#[derive(Debug, thiserror::Error)]
enum NotGenuine {
    /// Its document failed verification.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It was signed once.
    #[error("its signature was removed")]
    SignatureRemoved,
    /// It is another's.
    #[error("it is for another installation or machine")]
    Foreign,
    /// It is unsigned, and the time for adoption is over.
    #[error("it is unsigned, and unsigned licenses are no longer adopted")]
    AdoptionOver,
}

impl Rows {
    /// Reads them. The license of `known` is current although its row is marked as invalid,
    /// because no signed document says so.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn load(db: &impl ConnectionTrait, known: &Evidence) -> Result<Self, StoreError> {
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
                    tracing::error!(security = true, %error, "ignoring the memo in \
                        system_config, it cannot be read");
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
            license_key: lease.license_key().to_owned(),
            license_data: lease.license().data().clone(),
            cached_at: evidence.activated_at,
            valid_until: lease.valid_until(),
            last_validated_at: evidence.confirmed_at,
            validation_error: failure.map(|failure| failure.message().to_owned()),
            in_grace_period: in_grace || evidence.server_in_grace,
            grace_period_started_at: evidence.grace_started_at,
            grace_period_expires_at: grace_end(evidence, policy).filter(|_| in_grace),
            license_signature: lease.license().signature().to_owned(),
        };
        let memo = Memo {
            license_key: lease.license_key().to_owned(),
            activated_at: evidence.activated_at,
            denial: evidence.denial.as_ref().map(|d| d.jws().to_owned()),
            last_failure: evidence.last_failure.clone(),
            signed: matches!(lease, Lease::Signed(_)),
            grace_started_at: evidence.grace_started_at,
        };
        Self {
            cached: Some(cached),
            memo: Some(memo),
            is_marked_invalid: false,
        }
    }

    /// For whom the license is, if a trusted key has signed it.
    #[must_use]
    pub fn addressee(&self, keys: &TrustedKeys) -> Option<Identity> {
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

    /// What applies to this installation with these rows. Everything signed is verified again;
    /// without keys, the rows count.
    #[must_use]
    pub fn recall(
        self,
        keys: &TrustedKeys,
        identity: &Identity,
        known: &Evidence,
        remembered: &Remembered,
        now: DateTime<Utc>,
    ) -> Recalled {
        let said = self.read(keys, identity, remembered, now);
        let take_over = || take_over(known, said.evidence.clone(), remembered, now);
        let taken = keys.are_required().then(take_over);
        Recalled::of(said, taken)
    }

    /// The same for rows in the local copy, where only this service can write: without a known
    /// state, and with everything that belongs to a signed license.
    #[must_use]
    pub fn take_up(
        self,
        keys: &TrustedKeys,
        identity: &Identity,
        remembered: &Remembered,
        now: DateTime<Utc>,
    ) -> Recalled {
        let said = self.read(keys, identity, remembered, now);
        let take_up = || take_up(said.evidence.clone(), remembered, now);
        let taken = keys.are_required().then(take_up);
        Recalled::of(said, taken)
    }

    fn read(
        self,
        keys: &TrustedKeys,
        identity: &Identity,
        remembered: &Remembered,
        now: DateTime<Utc>,
    ) -> Said {
        let Some(cached) = self.cached else {
            return Said {
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
            Trust::Unsigned => unsigned(cached, memo, None, now),
            Trust::Keys(keyring) => {
                // A signed document has two dots; the signatures of unsigned
                // servers, which version 1.0.0 stored as they came, do not.
                if cached.license_signature.matches('.').count() == 2 {
                    match verify_license(&cached.license_signature, keyring) {
                        Ok(document) if !is_for(&document, identity) => {
                            not_genuine(cached, Some(&document), &NotGenuine::Foreign, now)
                        }
                        Ok(document) => {
                            let mut said = signed(&cached, memo, document, keyring, identity, now);
                            if self.is_marked_invalid {
                                log_changed_row(said.evidence.license_key());
                                said.tampered = true;
                            }
                            said
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
        }
    }
}

fn is_signed(evidence: &Evidence) -> bool {
    matches!(evidence.lease, Some(Lease::Signed(_)))
}

fn is_for(document: &VerifiedLicense, identity: &Identity) -> bool {
    let claims = document.claims();
    claims.installation_id == identity.installation_id && claims.hardware_id == identity.hardware_id
}

/// What a signed document says is taken from it alone.
fn signed(
    cached: &CachedLicense,
    memo: Option<Memo>,
    document: VerifiedLicense,
    keyring: &Keyring,
    identity: &Identity,
    now: DateTime<Utc>,
) -> Said {
    let claims = document.claims();
    // No validation has failed before the document was made, and none begins a grace
    // period after its end.
    let bounds = claims.iat..=claims.valid_until.max(claims.iat);
    let start = cached.grace_period_started_at;
    let is_possible =
        start.is_none_or(|start| bounds.contains(&start) || bounds.contains(&(start + AGREES)));
    let tampered = cached.license_key != document.license_key()
        || cached.license_data != *document.license().data()
        || cached.valid_until != claims.valid_until
        || !is_possible;
    if tampered {
        log_changed_row(document.license_key());
    }
    let latest = (*bounds.end()).min(now).max(claims.iat);
    let grace_started_at = start.map(|start| start.clamp(claims.iat, latest));
    let (denial, last_failure) = memo.map_or((None, None), |memo| (memo.denial, memo.last_failure));
    let denial =
        denial.and_then(|jws| verified_denial(&jws, document.license_key(), keyring, identity));
    Said {
        adopted: false,
        tampered,
        evidence: Evidence {
            lease: Some(Lease::Signed(Box::new(document))),
            denial,
            activated_at: cached.cached_at,
            confirmed_at: cached.last_validated_at,
            server_in_grace: cached.in_grace_period && cached.grace_period_started_at.is_none(),
            grace_started_at,
            last_failure,
        },
    }
}

fn log_changed_row(license_key: &str) {
    tracing::error!(
        security = true,
        license_key = license_key::mask(license_key),
        "the row of the license was changed by hand, using the signed document"
    );
}

/// An unsigned license. With trusted keys it is on probation: all unsigned licenses of an
/// installation share one grace period.
fn unsigned(
    cached: CachedLicense,
    memo: Option<Memo>,
    probation: Option<&Remembered>,
    now: DateTime<Utc>,
) -> Said {
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
    let first_seen = probation.and_then(Remembered::adopted_at);
    let grace_started_at =
        grace_started_at.map(|start| first_seen.map_or(start, |it| it.min(start)));
    let license_key = license_key::bounded(&cached.license_key);
    let tampered = license_key != cached.license_key;
    if tampered {
        tracing::error!(
            security = true,
            license_key = license_key::mask(&license_key),
            "the stored license key is longer than any valid key, using its normalised beginning"
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
    Said {
        adopted,
        tampered,
        evidence: Evidence {
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

/// A license that counts for nothing. The License Server is asked about the key of its document,
/// if a trusted key has signed that, and otherwise about the one in the row.
fn not_genuine(
    cached: CachedLicense,
    document: Option<&VerifiedLicense>,
    error: &NotGenuine,
    now: DateTime<Utc>,
) -> Said {
    let in_row = || license_key::bounded(&cached.license_key);
    let license_key = document.map_or_else(in_row, |it| it.license_key().to_owned());
    tracing::error!(
        security = true,
        license_key = license_key::mask(&license_key),
        %error,
        "the cached license failed verification and is ignored until the License Server confirms it"
    );
    let said = Evidence {
        lease: Some(Lease::Unsigned {
            license_key,
            license: License::new(cached.license_data),
            valid_until: cached.valid_until,
        }),
        activated_at: cached.cached_at,
        confirmed_at: cached.last_validated_at,
        ..Evidence::default()
    };
    Said {
        evidence: discredited(&said, &error.to_string(), now),
        adopted: false,
        tampered: true,
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
