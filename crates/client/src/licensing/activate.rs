//! Requests a seat with a license key, and caches the license.

use chrono::{DateTime, Utc};
use license_core::evidence::Evidence;
use license_core::lease::Lease;
use license_core::license::License;
use license_core::license_key::{self, LicenseKey};
use license_core::pasted_text::OddCharacters;
use license_core::protocol::ActivateRequest;
use license_core::response::{Contact, Denial, NoContact};
use license_core::schedule::calls::Calls;
use license_core::schedule::unsigned_validity;

use crate::app::App;
use crate::knowledge::turn::Turn;
use crate::licensing::entered_key::{NotALicenseKey, check_is_no_code};
use crate::licensing::exchange::exchange;
use crate::licensing::replace::{Former, FormerSeat};
use crate::random;
use crate::store::StoreError;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// An answer to an activation must have a license.
pub(super) const NO_LICENSE: NoContact = NoContact::Unexpected {
    status: 200,
    what: "no license",
};

/// Why a license was not activated. The previously active license always stays active.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// It is a code of ours that is no license key.
    #[error(transparent)]
    Key(#[from] NotALicenseKey),
    /// The License Server denied the request.
    #[error("{}{}", .message.as_deref().unwrap_or("Activation failed"), contained(.odd, .message.as_deref()))]
    Refused {
        /// Its message, if it sent one.
        message: Option<String>,
        /// Suspicious characters in the entered key.
        odd: OddCharacters,
    },
    /// The License Server did not respond.
    #[error("The license was not activated: {0}")]
    NoContact(NoContact),
    /// The License Server confirmed, but the license could not be stored.
    #[error(
        "{}",
        .0.of_change(
            "The license was not activated, because it could not be stored (retrying does not use \
             an additional seat)"
        )
    )]
    NotStored(#[from] StoreError),
}

/// The part of the message about suspicious characters in the key: they may look like others, or be
/// invisible.
fn contained(odd: &OddCharacters, message: Option<&str>) -> String {
    let odd = odd.to_string();
    if odd.is_empty() || message.is_some_and(|message| message.contains(&odd)) {
        return String::new();
    }
    format!(" (the license key that was entered contains {odd}; type it again)")
}

/// Activates a typed or pasted license key. The license, its features and the line in the
/// attempts log are stored together or not at all. The seat of a license that it replaces stays
/// taken.
///
/// # Errors
/// One [`ActivateError`] for each reason; nothing has changed then.
pub async fn activate(app: &App, entered: &str) -> Result<License, ActivateError> {
    let activated = activate_instead(app, entered, false).await?;
    Ok(activated.license)
}

/// An activated license, and what became of the seat of the one that it replaced.
#[derive(Debug)]
pub struct Activated {
    /// The license.
    pub license: License,
    /// `None` if the seat was not to be given back, or there was none.
    pub former_seat: Option<FormerSeat>,
}

/// The same; with `give_back`, the seat of a license that it replaces is given back.
///
/// # Errors
/// As [`activate`]; the seat is not given back then.
pub async fn activate_instead(
    app: &App,
    entered: &str,
    give_back: bool,
) -> Result<Activated, ActivateError> {
    check_is_no_code(entered)?;
    let license_key = &*license_key::normalize(entered);
    let turn = app.knowledge.turn().await;
    let identity = app.knowledge.require_identity()?;
    let cached_key = app.snapshot().evidence.license_key().to_owned();
    let former = Former::before(app, license_key).filter(|_| give_back);
    let request = ActivateRequest {
        license_key: license_key.to_owned(),
        hardware_id: identity.hardware_id.clone(),
        installation_id: identity.installation_id.clone(),
        installation_name: app.installation_name.clone(),
        installation_version: app.app_version.clone(),
    };
    let begun = app.time.wall_reading();
    let error = match exchange(app, &identity, &request).await {
        Contact::Confirmed(confirmation) => {
            let now = app.time.now_when_tried(begun);
            let lease = confirmation.lease(
                license_key,
                now,
                unsigned_validity(app.intervals.validation),
            );
            let lease = lease.ok_or(ActivateError::NoContact(NO_LICENSE))?;
            let license = store(&turn, license_key, lease, now).await?;
            app.knowledge.note_confirmation_tried(begun);
            app.knowledge.accept_machine(now).await;
            let former_seat = match former {
                Some(former) => Some(former.give_back(app, &identity).await),
                None => None,
            };
            return Ok(Activated {
                license,
                former_seat,
            });
        }
        Contact::Denied(denial) => refused(&denial, entered),
        Contact::None(why) => ActivateError::NoContact(why),
    };
    turn.log(Attempt {
        at: app.clock.now(),
        license_key: license_key.to_owned(),
        result: AttemptResult::Failed,
        error_message: Some(error.to_string()),
    })
    .await;
    // A refused activation is not evidence about the cached license, but a reason to validate it.
    let is_cached = license_key::same(license_key, &cached_key);
    if is_cached && matches!(error, ActivateError::Refused { .. }) {
        app.knowledge.note_call(Calls::validation_wanted);
    }
    Err(error)
}

/// Stores the license with its features, and lets it count.
pub(super) async fn store(
    turn: &Turn<'_>,
    license_key: &str,
    lease: Lease,
    now: DateTime<Utc>,
) -> Result<License, StoreError> {
    let license = lease.license().clone();
    let attempt = Attempt {
        at: now,
        license_key: license_key.to_owned(),
        result: AttemptResult::Success,
        error_message: None,
    };
    let evidence = |current: &Evidence| current.activated(lease.clone(), now);
    let calls = |calls: &mut Calls| calls.activated(now, random::jitter());
    turn.change(attempt, now, evidence, calls).await?;
    tracing::info!(
        license_key = license_key::mask(license_key),
        tier = license.tier(),
        "license activated"
    );
    Ok(license)
}

fn refused(denial: &Denial, entered: &str) -> ActivateError {
    ActivateError::Refused {
        message: denial.message().map(str::to_owned),
        odd: match LicenseKey::parse(entered) {
            Ok(_) => OddCharacters::default(),
            Err(_) => OddCharacters::of(entered),
        },
    }
}
