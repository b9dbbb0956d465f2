//! Redeems an add-on key for the active license, and gets what it grants.

use license_core::issued_code::{CodeKind, IssuedCode, IssuedCodeError, KeyKind};
use license_core::license::License;
use license_core::protocol::RedeemRequest;
use license_core::response::{Contact, NoContact};

use crate::app::App;
use crate::licensing::exchange::exchange;
use crate::licensing::validate::validate;
use crate::store::StoreError;
use crate::store::local_license_validation_attempts::{Attempt, AttemptResult};

/// Why an add-on key was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// It is not an add-on key.
    #[error(transparent)]
    Key(#[from] NotAnAddOn),
    /// There is no license that it could add to.
    #[error(
        "No license is activated, and an add-on key only adds to a license. Activate the license \
         key first, then redeem the add-on key"
    )]
    Unlicensed,
    /// The License Server denied the request.
    #[error("{0}")]
    Refused(String),
    /// The License Server does not support add-on keys.
    #[error(
        "The add-on key was not redeemed, because the License Server does not support add-on keys; \
         ask your vendor to update the License Server, or to add the entitlements of the key to \
         the license"
    )]
    NotOffered,
    /// The License Server did not respond.
    #[error(
        "The add-on key may or may not have been redeemed: {0}. Try again: redeeming a key for the \
         same license more than once has no further effect"
    )]
    NoContact(NoContact),
    /// The database returned an error.
    #[error("{}", .0.of_change("The add-on key was not redeemed, because the database is unavailable"))]
    NotStored(#[from] StoreError),
}

/// The text is not an add-on key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddOn {
    /// It is a license key.
    #[error("This is a license key, not an add-on key; activate it instead")]
    LicenseKey,
    /// It is a trial code.
    #[error("This is a trial code, not an add-on key; use it to start the trial instead")]
    TrialCode,
    /// It is not a valid code.
    #[error("This is not an add-on key: {0}")]
    Other(IssuedCodeError),
}

/// A redeemed add-on key.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The license, if the site has what the key grants.
    pub license: Option<License>,
    /// The number of the amendment of the license that the key is.
    pub amendment: u32,
}

/// The add-on key in a text that was typed or pasted.
///
/// # Errors
/// [`NotAnAddOn`].
pub fn add_on_key(entered: &str) -> Result<IssuedCode, NotAnAddOn> {
    let parsed = IssuedCode::parse(CodeKind::AddOn, entered);
    parsed.map_err(|error| match KeyKind::of(entered) {
        Some(KeyKind::License) => NotAnAddOn::LicenseKey,
        Some(KeyKind::Code(CodeKind::Trial)) => NotAnAddOn::TrialCode,
        _ => NotAnAddOn::Other(error),
    })
}

/// Redeems an add-on key, and validates the license, which then has what the key grants.
///
/// # Errors
/// One [`RedeemError`] for each reason.
pub async fn redeem(app: &App, entered: &str) -> Result<Redeemed, RedeemError> {
    let key = add_on_key(entered)?;
    let amendment = ask(app, &key).await?;
    validate(app).await;
    let snapshot = app.snapshot();
    let license = snapshot.license().filter(|it| has(it, amendment)).cloned();
    Ok(Redeemed { license, amendment })
}

/// Whether a license was signed with an amendment.
fn has(license: &License, amendment: u32) -> bool {
    let newest = license.data().get("amendment");
    let newest = newest.and_then(serde_json::Value::as_u64);
    newest.is_some_and(|newest| newest >= u64::from(amendment))
}

/// Asks the License Server; returns the number of the amendment.
async fn ask(app: &App, key: &IssuedCode) -> Result<u32, RedeemError> {
    let turn = app.knowledge.turn().await;
    let evidence = app.snapshot().evidence.clone();
    if evidence.lease.is_none() {
        return Err(RedeemError::Unlicensed);
    }
    let identity = app.knowledge.require_identity()?;
    let request = RedeemRequest {
        license_key: evidence.license_key().to_owned(),
        add_on_key: key.as_str().to_owned(),
        hardware_id: identity.hardware_id.clone(),
    };
    let error = match exchange(app, &identity, &request).await {
        Contact::Confirmed(redeemed) => {
            let (add_on, amendment) = (key.masked(), redeemed.amendment);
            tracing::info!(add_on, amendment, "add-on key redeemed");
            return Ok(redeemed.amendment);
        }
        Contact::Denied(denial) => {
            let message = denial
                .message()
                .unwrap_or("The License Server refused the add-on key");
            RedeemError::Refused(message.to_owned())
        }
        Contact::None(NoContact::Unexpected {
            status: 404 | 405, ..
        }) => RedeemError::NotOffered,
        Contact::None(why) => RedeemError::NoContact(why),
    };
    turn.log(Attempt {
        at: app.clock.now(),
        license_key: request.license_key,
        result: AttemptResult::Failed,
        error_message: Some(format!("{}: {error}", key.masked())),
    })
    .await;
    Err(error)
}
