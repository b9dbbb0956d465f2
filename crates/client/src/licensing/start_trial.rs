//! Starts a trial with a trial code, and caches its license.

use license_core::issued_code::{CodeKind, IssuedCode, IssuedCodeError, KeyKind};
use license_core::license::License;
use license_core::protocol::TrialRequest;
use license_core::response::{Contact, NoContact};
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::licensing::activate::{NO_LICENSE, store};
use crate::licensing::exchange::exchange;
use crate::store::StoreError;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Why no trial was started. A license that was active stays active.
#[derive(Debug, thiserror::Error)]
pub enum StartTrialError {
    /// It is not a trial code.
    #[error(transparent)]
    Code(#[from] NotATrialCode),
    /// A license is active.
    #[error(
        "A license is active on this site, and a trial would replace it. Deactivate the license first"
    )]
    Licensed,
    /// The License Server denied the request.
    #[error("{0}")]
    Refused(String),
    /// The License Server does not support trials.
    #[error(
        "The trial was not started, because the License Server does not support trial codes; ask your \
         vendor for a license key"
    )]
    NotOffered,
    /// The License Server did not respond.
    #[error(
        "The trial was not started: {0}. Try again: each installation can start one trial, and a \
         retry returns the same trial"
    )]
    NoContact(NoContact),
    /// The License Server confirmed, but the license could not be stored.
    #[error(
        "{}",
        .0.of_change(
            "The trial was not started, because its license could not be stored (retrying does not \
             start a second trial)"
        )
    )]
    NotStored(#[from] StoreError),
}

/// The text is not a trial code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATrialCode {
    /// It is a license key.
    #[error("This is a license key, not a trial code; activate it instead")]
    LicenseKey,
    /// It is an add-on key.
    #[error(
        "This is an add-on key, not a trial code; redeem it after a license has been activated"
    )]
    AddOn,
    /// It is not a valid code.
    #[error("This is not a trial code: {0}")]
    Other(IssuedCodeError),
}

/// The trial code in a text that was typed or pasted.
///
/// # Errors
/// [`NotATrialCode`].
pub fn trial_code(entered: &str) -> Result<IssuedCode, NotATrialCode> {
    let parsed = IssuedCode::parse(CodeKind::Trial, entered);
    parsed.map_err(|error| match KeyKind::of(entered) {
        Some(KeyKind::License) => NotATrialCode::LicenseKey,
        Some(KeyKind::Code(CodeKind::AddOn)) => NotATrialCode::AddOn,
        _ => NotATrialCode::Other(error),
    })
}

/// Starts a trial with a code that was typed or pasted, or without one where the vendor allows it.
///
/// # Errors
/// One [`StartTrialError`] for each reason.
pub async fn start_trial(app: &App, entered: Option<&str>) -> Result<License, StartTrialError> {
    let code = entered.map(trial_code).transpose()?;
    let turn = app.knowledge.turn().await;
    if app.snapshot().evidence.lease.is_some() {
        return Err(StartTrialError::Licensed);
    }
    let identity = app.knowledge.require_identity()?;
    let request = TrialRequest {
        code: code.as_ref().map(|code| code.as_str().to_owned()),
        secret: app
            .trial_secret
            .trial_secret()
            .map(|it| it.as_str().to_owned()),
        hardware_id: identity.hardware_id.clone(),
        installation_id: identity.installation_id.clone(),
        installation_name: app.installation_name.clone(),
        installation_version: app.app_version.clone(),
    };
    let begun = app.time.wall_reading();
    let error = match exchange(app, &identity, &request).await {
        Contact::Confirmed(confirmation) => {
            let now = app.time.now_when_tried(begun);
            let key = confirmation.license_key().map(str::to_owned);
            let validity = unsigned_validity(app.intervals.validation);
            let lease = key.and_then(|key| Some((confirmation.lease(&key, now, validity)?, key)));
            let (lease, key) = lease.ok_or(StartTrialError::NoContact(NO_LICENSE))?;
            let license = store(&turn, &key, lease, now).await?;
            app.knowledge.note_confirmation_tried(begun);
            app.knowledge.accept_machine(now).await;
            return Ok(license);
        }
        Contact::Denied(denial) => {
            let message = denial
                .message()
                .unwrap_or("The License Server refused the trial");
            StartTrialError::Refused(message.to_owned())
        }
        Contact::None(NoContact::Unexpected {
            status: 404 | 405, ..
        }) => StartTrialError::NotOffered,
        Contact::None(why) => StartTrialError::NoContact(why),
    };
    turn.log(Attempt {
        at: app.clock.now(),
        license_key: code.map(|code| code.masked()).unwrap_or_default(),
        result: AttemptResult::Failed,
        error_message: Some(error.to_string()),
    })
    .await;
    Err(error)
}
