//! Ask for a seat with a license key, and cache the license.

use chrono::{DateTime, Utc};
use license_core::calls::Calls;
use license_core::contact::{Contact, NoContact};
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key::{self, LicenseKey};
use license_core::pasted_text::OddCharacters;
use license_core::protocol::ActivateRequest;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::licensing::exchange::exchange;
use crate::licensing::keep::keep;
use crate::licensing::{hardware, record};
use crate::random;
use crate::snapshot::Snapshot;
use crate::store::StoreError;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Why a license was not activated. The previously active license always stays active.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// The License Server denied the request.
    #[error("{}{}", .message.as_deref().unwrap_or("Activation failed"), contained(.odd, .message.as_deref()))]
    Refused {
        /// Its message, if it sent one.
        message: Option<String>,
        /// Characters that hardly belong in the key that was entered.
        odd: OddCharacters,
    },
    /// The License Server has not answered.
    #[error("The license was not activated: {0}")]
    NoContact(NoContact),
    /// The License Server agreed, but the license could not be stored.
    #[error(
        "{}",
        .0.of_change(
            "The license was not activated, because it could not be stored (another try uses no \
             additional seat)"
        )
    )]
    NotStored(#[from] StoreError),
}

/// What the message says of odd characters in the key: they may look like others, or like
/// nothing.
fn contained(odd: &OddCharacters, message: Option<&str>) -> String {
    let odd = odd.to_string();
    if odd.is_empty() || message.is_some_and(|message| message.contains(&odd)) {
        return String::new();
    }
    format!(" (the license key that was entered contains {odd}; type it again)")
}

/// Activates a typed or pasted license key. The license, its features and the line in the
/// attempts log are stored together or not at all.
///
/// # Errors
/// One [`ActivateError`] for each reason; nothing has changed then.
pub async fn activate(app: &App, entered: &str) -> Result<License, ActivateError> {
    let license_key = &*license_key::normalize(entered);
    let _turn = app.turn.lock().await;
    let identity = app.identity().ok_or(StoreError::NotReached)?;
    let evidence = app.snapshot().evidence.clone();
    let request = ActivateRequest {
        license_key: license_key.to_owned(),
        hardware_id: identity.hardware_id.clone(),
        installation_id: identity.installation_id.clone(),
        installation_name: app.installation_name.clone(),
        installation_version: app.app_version.clone(),
    };
    let begun = app.wall_reading();
    let contact = exchange(app, &identity, &request).await;
    match contact {
        Contact::Confirmed(confirmation) => {
            let now = app.now_when_tried(begun);
            let validity = unsigned_validity(app.intervals.validation);
            let Some(lease) = confirmation.lease(license_key, now, validity) else {
                // An answer to an activation must have a license.
                let (status, what) = (200, "no license");
                return Err(ActivateError::NoContact(NoContact::Unexpected {
                    status,
                    what,
                }));
            };
            let license = lease.license().clone();
            let snapshot = store(app, license_key, lease, now).await?;
            // Before the license is there to be called about.
            app.note_call(|calls| calls.activated(now, random::jitter()));
            record::publish(app, snapshot).await;
            app.note_confirmation_tried(begun);
            // The license is bound to the machine's current hardware.
            if let Err(error) = hardware::accept(app, now).await {
                tracing::warn!(%error, "failed to store the machine's fingerprint");
            }
            tracing::info!(
                license_key = license_key::mask(license_key),
                tier = license.tier(),
                "license activated"
            );
            Ok(license)
        }
        Contact::Denied(denial) => {
            let error = ActivateError::Refused {
                message: denial.message().map(str::to_owned),
                odd: match LicenseKey::parse(entered) {
                    Ok(_) => OddCharacters::default(),
                    Err(_) => OddCharacters::of(entered),
                },
            };
            record_failure(app, license_key, &error).await;
            // A refused activation is no evidence about the cached license,
            // but a reason to ask about it.
            if license_key::same(license_key, evidence.license_key()) {
                app.note_call(Calls::validation_wanted);
            }
            Err(error)
        }
        Contact::None(why) => {
            let error = ActivateError::NoContact(why);
            record_failure(app, license_key, &error).await;
            Err(error)
        }
    }
}

async fn store(
    app: &App,
    license_key: &str,
    lease: Lease,
    now: DateTime<Utc>,
) -> Result<Snapshot, StoreError> {
    let attempt = Attempt {
        at: now,
        license_key: license_key.to_owned(),
        result: AttemptResult::Success,
        error_message: None,
    };
    record::change(app, Some(attempt), now, |current| {
        current.activated(lease.clone(), now)
    })
    .await
}

/// The log of attempts is for people; an activation does not fail twice
/// because its line could not be written.
async fn record_failure(app: &App, license_key: &str, error: &ActivateError) {
    let now = app.clock.now();
    let attempt = Attempt {
        at: now,
        license_key: license_key.to_owned(),
        result: AttemptResult::Failed,
        error_message: Some(error.to_string()),
    };
    match record::change(app, Some(attempt.clone()), now, Evidence::clone).await {
        Ok(snapshot) => record::publish(app, snapshot).await,
        Err(error) => {
            tracing::error!(%error, "failed to record the failed activation in the database");
            app.note_unwritten(|unwritten| unwritten.attempts.push(attempt));
            keep(app).await;
        }
    }
}
