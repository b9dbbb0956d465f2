//! Answers a site, over the network or by file.
//!
//! There is one use case for each call: `activate`, `validate`, `heartbeat` and `deactivate`, made
//! from the steps of `HeldLicense`.

use chrono::{DateTime, Utc};
use license_core::license_key::{LicenseKey, LicenseKeyError};
use license_core::protocol::Call;
use license_core::restored::next_number;
use license_service::database::repeated;

use crate::app::App;
use crate::licensing::activate::activate;
use crate::licensing::deactivate::deactivate;
use crate::licensing::document::{Addressee, Envelope};
use crate::licensing::heartbeat::heartbeat;
use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::{Refused, Stopped};
use crate::licensing::restored;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::site_question::{CallDetails, SiteQuestion};
use crate::licensing::validate::validate;
use crate::store::licenses;

/// Answers a site, and counts the call.
///
/// # Errors
/// One [`AnswerError`] for each reason; nothing has changed then.
pub async fn answer(
    app: &App,
    question: &SiteQuestion,
    to: Addressee,
    details: &CallDetails,
) -> Result<SiteAnswer, AnswerError> {
    let now = app.clock.now();
    let answered = repeated(|| decide(app, question, to.clone(), details, now)).await;
    let outcome = match &answered {
        Ok(SiteAnswer::License(_) | SiteAnswer::Deactivated { .. }) => Some("confirmed"),
        Ok(SiteAnswer::Denied { .. }) => Some("denied"),
        Err(AnswerError::OlderThanSite) => Some("withheld"),
        Err(AnswerError::TooManyCalls(_)) => Some("throttled"),
        Err(_) => None,
    };
    if let Some(outcome) = outcome {
        app.traffic.note(question.call().as_str(), outcome, now);
    }
    if let Err(AnswerError::OlderThanSite) = &answered {
        restored::alert(app, &to.license_key, &to.hardware_id).await;
    }
    answered
}

async fn decide(
    app: &App,
    question: &SiteQuestion,
    to: Addressee,
    details: &CallDetails,
    now: DateTime<Utc>,
) -> Result<SiteAnswer, AnswerError> {
    // Callers without a valid key must not make others wait; licenses are never removed.
    let known = match LicenseKey::parse(&to.license_key) {
        Ok(key) => {
            let found = licenses::find(app.store.reader(), key.as_str()).await?;
            found.ok_or(None)
        }
        Err(fault) => Err(Some(fault)),
    };
    let license = match known {
        Ok(license) => license,
        Err(fault) => {
            return refuse_key(app, fault, question.call(), &to, details.newest_seq, now).await;
        }
    };
    let mut held = HeldLicense::hold(app, license, question.call(), to, details, now).await?;
    let answered = match question {
        SiteQuestion::Activate(request) => activate(&mut held, request).await,
        SiteQuestion::Validate => validate(&mut held).await,
        SiteQuestion::Heartbeat(request) => heartbeat(&mut held, request).await,
        SiteQuestion::Deactivate => deactivate(&mut held).await,
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(Stopped::Refused(refused)) => held.sign_refusal(refused).await?,
        Err(Stopped::Failed(error)) => return Err(error),
    };
    held.commit().await?;
    Ok(answer)
}

/// Refuses a key that no license has; `fault` says what is wrong with its form.
async fn refuse_key(
    app: &App,
    fault: Option<LicenseKeyError>,
    call: Call,
    to: &Addressee,
    newest_seq: Option<u64>,
    now: DateTime<Utc>,
) -> Result<SiteAnswer, AnswerError> {
    // No license ever had a key of the wrong form.
    let lost = match fault {
        None => {
            let db = app.store.reader();
            restored::lost_number(db, &app.numbering, newest_seq, 0, now).await?
        }
        Some(_) => None,
    };
    let envelope = Envelope {
        to,
        question: call,
        seq: next_number(0, lost, now),
        at: now,
    };
    Refused::unknown_key(fault).sign(app, None, envelope, lost.is_some())
}
