//! Answers a site, over the network or by file.
//!
//! There is one use case for each call: `activate`, `validate`, `heartbeat`, `deactivate` and
//! `redeem`, made from the steps of `HeldLicense`.

use chrono::{DateTime, Utc};
use license_core::issued_code::{CodeKind, IssuedCode, KeyKind};
use license_core::license_key::LicenseKey;
use license_core::protocol::{ActivateRequest, Call, HeartbeatRequest};
use license_core::restored::next_number;
use license_service::database::repeated;

use crate::app::App;
use crate::keyed_call::{OK, note_answer};
use crate::licensing::activate::activate;
use crate::licensing::deactivate::deactivate;
use crate::licensing::document::{Addressee, Envelope};
use crate::licensing::heartbeat::heartbeat;
use crate::licensing::held_license::HeldLicense;
use crate::licensing::refusal::{Refused, Stopped};
use crate::licensing::restored;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::site_question::{CallDetails, SiteQuestion};
use crate::licensing::site_redeem::{SiteRedeeming, redeem, redeem_by_file};
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
        Ok(
            SiteAnswer::License(_) | SiteAnswer::Deactivated { .. } | SiteAnswer::Redeemed { .. },
        ) => Some("confirmed"),
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
    if let Some(refused) = refusal_of_add_on(question, &to) {
        return refuse(app, refused, question.call(), &to, details.newest_seq, now).await;
    }
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
            let refused = Refused::unknown_key(&to.license_key, fault);
            return refuse(app, refused, question.call(), &to, details.newest_seq, now).await;
        }
    };
    let (step, license, _turn) = match question {
        SiteQuestion::Activate(request) => (Step::Activate(request), license, None),
        SiteQuestion::Validate => (Step::Validate, license, None),
        SiteQuestion::Heartbeat(request) => (Step::Heartbeat(request), license, None),
        SiteQuestion::Deactivate => (Step::Deactivate, license, None),
        // Nothing is locked while an add-on key is checked.
        SiteQuestion::Redeem(key) | SiteQuestion::RedeemByFile(key) => {
            let preparing = SiteRedeeming::prepare(app, license, key, details, now);
            let (prepared, license, turn) = preparing.await?;
            let step = match question {
                SiteQuestion::RedeemByFile(_) => Step::RedeemByFile(prepared),
                _ => Step::Redeem(prepared),
            };
            (step, license, Some(turn))
        }
    };
    let mut held = HeldLicense::hold(app, license, question.call(), to, details, now).await?;
    let answered = match (held.check_proof(), step) {
        (Err(refused), _) => Err(refused.into()),
        (Ok(()), step) => carry_out(&mut held, step).await,
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(Stopped::Refused(refused)) => held.sign_refusal(refused).await?,
        Err(Stopped::Failed(error)) => return Err(error),
    };
    // A refusal may be another one when the call is repeated. The response to a file is made of the
    // answer later.
    if details.offline.is_none() && !matches!(answer, SiteAnswer::Denied { .. }) {
        let body = || answer.body(question.call());
        note_answer(&held.transaction, OK, body).await?;
    }
    held.commit().await?;
    Ok(answer)
}

async fn carry_out(held: &mut HeldLicense<'_>, step: Step<'_>) -> Result<SiteAnswer, Stopped> {
    match step {
        Step::Activate(request) => activate(held, request).await,
        Step::Validate => validate(held).await,
        Step::Heartbeat(request) => heartbeat(held, request).await,
        Step::Deactivate => deactivate(held).await,
        Step::Redeem(prepared) => redeem(held, prepared).await,
        Step::RedeemByFile(prepared) => redeem_by_file(held, prepared).await,
    }
}

/// What is done for a question while the license is locked.
enum Step<'a> {
    Activate(&'a ActivateRequest),
    Validate,
    Heartbeat(&'a HeartbeatRequest),
    Deactivate,
    Redeem(Box<SiteRedeeming>),
    RedeemByFile(Box<SiteRedeeming>),
}

/// Why an add-on key is refused without asking the database; `None` if it is to be asked, or the
/// question is about no add-on key.
fn refusal_of_add_on(question: &SiteQuestion, to: &Addressee) -> Option<Refused> {
    let add_on_key = question.add_on_key()?;
    let is_add_on = KeyKind::of(&to.license_key) == Some(KeyKind::Code(CodeKind::AddOn));
    if to.license_key.is_empty() || is_add_on {
        return Some(Refused::add_on_without_license());
    }
    let malformed = IssuedCode::parse(CodeKind::AddOn, add_on_key).err()?;
    Some(Refused::malformed_add_on(&malformed))
}

/// Refuses a question about no license that exists.
pub(super) async fn refuse(
    app: &App,
    refused: Refused,
    call: Call,
    to: &Addressee,
    newest_seq: Option<u64>,
    now: DateTime<Utc>,
) -> Result<SiteAnswer, AnswerError> {
    // No license ever had a key of the wrong form.
    let lost = match refused.may_be_mistaken() {
        true => {
            let db = app.store.reader();
            restored::lost_number(db, &app.numbering, newest_seq, 0, now).await?
        }
        false => None,
    };
    let envelope = Envelope {
        to,
        question: match refused.is_about_add_on() && call == Call::Validate {
            true => Call::Redeem,
            false => call,
        },
        seq: next_number(0, lost, now),
        at: now,
    };
    refused.sign(app, None, envelope, lost.is_some())
}
