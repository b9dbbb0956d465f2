//! Licensing by file: write a request, and import the license file.

use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key;
use license_core::offline::{
    ImportError, Imported, MAX_PENDING, OfflineRequest, Pending, Purpose, Reader, from_file,
    import as judge, is_about_license, nonce,
};
use license_core::response::{Contact, Denial, Trust};
use license_core::schedule::calls::Calls;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::knowledge::turn::Turn;
use crate::licensing::entered_key::{NotALicenseKey, check_is_no_code};
use crate::licensing::redeem::{NotAnAddOn, add_on_key};
use crate::licensing::start_trial::{NotATrialCode, trial_code};
use crate::random;
use crate::store::StoreError;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Why no request was written, or a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// Without keys a forged license file cannot be detected.
    #[error(
        "Licensing by file requires the vendor's public keys; set LICENSE_TRUSTED_KEYS to the \
         file from your vendor"
    )]
    Unsigned,
    /// It is a code of ours that is no license key.
    #[error(transparent)]
    Key(#[from] NotALicenseKey),
    /// It is not a trial code.
    #[error(transparent)]
    TrialCode(#[from] NotATrialCode),
    /// A trial would replace the license.
    #[error(
        "A license is active on this site, and a trial would replace it. Deactivate the license first"
    )]
    Licensed,
    /// It is not an add-on key.
    #[error(transparent)]
    AddOn(#[from] NotAnAddOn),
    /// There is no license to renew, add to or deactivate.
    #[error("No license activated")]
    Unlicensed,
    /// The file is rejected; nothing was changed.
    #[error("The file was not imported: {0}")]
    File(#[from] ImportError),
    /// The database returned an error.
    #[error("{}", .0.of_change("Nothing was changed, because the database is unavailable"))]
    NotStored(#[from] StoreError),
}

/// The result of an import.
#[derive(Debug)]
pub enum Outcome {
    /// The license is active; contains its end.
    Licensed(License),
    /// The vendor denied the request.
    Denied {
        /// The vendor's message.
        message: String,
    },
    /// The seat is free.
    Deactivated,
}

/// A request that was written.
#[derive(Debug)]
pub struct Written {
    /// What it asks for.
    pub request: OfflineRequest,
    /// The file, which the installation key proves.
    pub file: String,
}

/// Writes a request. `key` is the license key to activate, the add-on key to redeem or the trial code,
/// as it was entered. A request to deactivate gives up the license immediately, because the vendor
/// frees the seat on receiving it. It can be written again until its receipt is imported.
///
/// # Errors
/// One [`OfflineError`] for each reason; nothing has changed then.
pub async fn request(
    app: &App,
    purpose: Purpose,
    key: Option<String>,
) -> Result<Written, OfflineError> {
    let Keys {
        license_key,
        add_on_key,
    } = Keys::of(purpose, key)?;
    let turn = app.knowledge.turn().await;
    let key_set = app.keys.version().ok_or(OfflineError::Unsigned)?;
    let identity = app.knowledge.require_identity()?;
    let evidence = app.snapshot().evidence.clone();
    let given_up = |pending: &Pending| pending.purpose == Purpose::Deactivate;
    let known = app.knowledge.requests();
    let again = known.into_iter().find(given_up);
    let written_at = app.time.written_at();
    let fresh = nonce(random::bytes(), written_at);
    let (license_key, nonce) = match (purpose, license_key, again) {
        (Purpose::Trial, _, _) if evidence.lease.is_some() => return Err(OfflineError::Licensed),
        (Purpose::Activate | Purpose::Trial, Some(key), _) => (key, fresh),
        _ if evidence.lease.is_some() => (evidence.license_key().to_owned(), fresh),
        (Purpose::Deactivate, _, Some(again)) => match again.check_nonce(written_at) {
            Ok(()) => (again.license_key, again.nonce),
            Err(_) => (again.license_key, fresh),
        },
        _ => return Err(OfflineError::Unlicensed),
    };
    let newest_seq = evidence.newest_seq(&license_key);
    let trial_secret = match purpose {
        Purpose::Trial => app.trial_secret.trial_secret(),
        _ => None,
    };
    let request = OfflineRequest {
        purpose,
        license_key,
        add_on_key,
        trial_secret: trial_secret.map(|it| it.as_str().to_owned()),
        hardware_id: identity.hardware_id.clone(),
        installation_id: identity.installation_id.clone(),
        installation_name: app.installation_name.clone(),
        installation_version: app.app_version.clone(),
        nonce,
        created_at: written_at,
        key_set,
        newest_seq,
        entitlements: true,
    };
    let waiting = request.pending();
    if purpose == Purpose::Deactivate && evidence.lease.is_some() {
        // Other pending requests about the license must not bring it back.
        turn.forget(&request.license_key, Some(waiting)).await?;
    } else {
        let remember = |pending: &mut Vec<Pending>| {
            pending.retain(|it| it.nonce != waiting.nonce);
            pending.insert(0, waiting);
            pending.truncate(MAX_PENDING);
        };
        if !turn.change_requests(remember).await {
            tracing::warn!(
                "the pending request is not stored in STATE_DIR; after a restart, the \
                license file that answers it cannot be imported"
            );
        }
    }
    tracing::info!(
        license_key = license_key::mask(&request.license_key),
        ?purpose,
        "request file written"
    );
    let document = evidence.document(&request.license_key);
    let file = match app.knowledge.installation_key() {
        Some(key) => request.to_proven_file(&key, document.as_deref()),
        None => request.to_file(),
    };
    Ok(Written { request, file })
}

/// The keys of a request.
#[derive(Default)]
struct Keys {
    license_key: Option<String>,
    add_on_key: Option<String>,
}

impl Keys {
    /// Those that were entered. A mistake that is found only after the file came back would take days
    /// to correct.
    fn of(purpose: Purpose, entered: Option<String>) -> Result<Self, OfflineError> {
        let entered = entered.unwrap_or_default();
        match purpose {
            Purpose::Activate => {
                check_is_no_code(&entered)?;
                Ok(Self {
                    license_key: Some(license_key::normalize(&entered)),
                    add_on_key: None,
                })
            }
            Purpose::Redeem => Ok(Self {
                license_key: None,
                add_on_key: Some(add_on_key(&entered)?.as_str().to_owned()),
            }),
            // Without a code, where the vendor allows it.
            Purpose::Trial if entered.trim().is_empty() => Ok(Self {
                license_key: Some(String::new()),
                add_on_key: None,
            }),
            Purpose::Trial => Ok(Self {
                license_key: Some(trial_code(&entered)?.as_str().to_owned()),
                add_on_key: None,
            }),
            Purpose::Renew | Purpose::Deactivate => Ok(Self::default()),
        }
    }
}

/// Imports a license file.
///
/// # Errors
/// One [`OfflineError`] for each reason; nothing has changed then.
pub async fn import(app: &App, text: &str) -> Result<Outcome, OfflineError> {
    let turn = app.knowledge.turn().await;
    let (sets, document) = from_file(text).map_err(ImportError::from)?;
    if app.knowledge.advance_keys(&sets) {
        app.knowledge.store_key_sets().await?;
    }
    let trust = app.keys.trust().clone();
    let Trust::Keys(keyring) = &*trust else {
        return Err(OfflineError::Unsigned);
    };
    let identity = app.knowledge.require_identity()?;
    let evidence = app.snapshot().evidence.clone();
    let pending = app.knowledge.requests();
    let remembered = app.knowledge.remembered();
    let reader = Reader {
        installation_id: &identity.installation_id,
        hardware_id: &identity.hardware_id,
        pending: &pending,
        current: evidence.lease.as_ref().map(|_| {
            (
                evidence.license_key(),
                evidence.newest_seq(evidence.license_key()),
            )
        }),
        remembered: &remembered,
    };
    let judged = judge(&document, &reader, keyring);
    let (imported, answered) = judged.map_err(|error| {
        note_refusal(app, &error);
        match error {
            ImportError::Licensed => OfflineError::Licensed,
            error => error.into(),
        }
    })?;
    if let Some(signed) = imported.signed_at(&answered) {
        app.knowledge.answer_time(signed);
    }
    imported.is_still_good(app.clock.now())?;
    let outcome = match imported {
        Imported::License(document) => take(app, &turn, Lease::Signed(document), &answered).await?,
        Imported::Denied(denial) => {
            let message = denial.claims().message.clone();
            refuse(app, &turn, Denial::Signed(denial), &answered, &message).await?;
            Outcome::Denied { message }
        }
        Imported::Deactivated => Outcome::Deactivated,
    };
    let forget = |pending: &mut Vec<Pending>| pending.retain(|it| it.nonce != answered.nonce);
    // The document is in effect by now, and cannot be used again in any case: its sequence number
    // is remembered.
    turn.change_requests(forget).await;
    Ok(outcome)
}

async fn take(
    app: &App,
    turn: &Turn<'_>,
    lease: Lease,
    answered: &Pending,
) -> Result<Outcome, StoreError> {
    let now = app.clock.now();
    let license = lease.license().clone();
    let mut attempt = attempt(app, answered, AttemptResult::Success, None);
    // The key of a trial's license is new.
    attempt.license_key = lease.license_key().to_owned();
    let evidence = |current: &Evidence| match answered.purpose {
        Purpose::Renew | Purpose::Redeem => current.confirmed(lease.clone(), false, now),
        Purpose::Activate | Purpose::Deactivate | Purpose::Trial => {
            current.activated(lease.clone(), now)
        }
    };
    let calls = |calls: &mut Calls| calls.validated(true, now, random::jitter());
    turn.change(attempt, now, evidence, calls).await?;
    app.knowledge.accept_machine(now).await;
    tracing::info!(
        license_key = license_key::mask(&answered.license_key),
        purpose = ?answered.purpose,
        "license file imported"
    );
    Ok(Outcome::Licensed(license))
}

/// A denied renewal is evidence about the license. A denied activation or a refused add-on key is not,
/// and changes nothing.
async fn refuse(
    app: &App,
    turn: &Turn<'_>,
    denial: Denial,
    answered: &Pending,
    message: &str,
) -> Result<(), StoreError> {
    let now = app.clock.now();
    let validity = unsigned_validity(app.intervals.validation);
    let is_evidence = match &denial {
        Denial::Signed(document) => is_about_license(document, answered),
        Denial::Unsigned(_) => false,
    };
    let contact = Contact::Denied(denial);
    let result = match is_evidence {
        true => AttemptResult::Denied,
        false => AttemptResult::Failed,
    };
    let attempt = attempt(app, answered, result, Some(message.to_owned()));
    let evidence = |current: &Evidence| {
        let is_it = license_key::same(current.license_key(), &answered.license_key);
        match is_evidence && is_it {
            true => current.validated(&contact, now, validity),
            false => current.clone(),
        }
    };
    turn.change(attempt, now, evidence, |_| {}).await?;
    tracing::warn!(
        license_key = license_key::mask(&answered.license_key),
        reason = message,
        "the vendor denied the offline request"
    );
    Ok(())
}

fn attempt(
    app: &App,
    answered: &Pending,
    result: AttemptResult,
    error_message: Option<String>,
) -> Attempt {
    Attempt {
        at: app.clock.now(),
        license_key: match answered.purpose {
            // A code is a secret.
            Purpose::Trial => license_key::mask(&answered.license_key),
            _ => answered.license_key.clone(),
        },
        result,
        error_message,
    }
}

fn note_refusal(app: &App, error: &ImportError) {
    let is_suspicious = matches!(
        error,
        ImportError::NotGenuine(_) | ImportError::Foreign(_) | ImportError::Older
    );
    if is_suspicious {
        app.metrics.security_event();
        tracing::error!(security = true, "a license file was not imported: {error}");
    } else {
        tracing::warn!("a license file was not imported: {error}");
    }
}
