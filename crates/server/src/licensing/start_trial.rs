//! Starts a trial for an installation: issues a license, once, and gives the machine its seat.

use std::net::IpAddr;

use chrono::SubsecRound as _;
use license_core::issued_code::{CodeKind, IssuedCode};
use license_core::plan::PlanChoice;
use license_core::protocol::{ActivateRequest, Call};
use license_core::trial::{Allowance, Repeated, Started, again, check_plan};
use license_core::trial_secret::TrialSecret;
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::App;
use crate::audit::{Actor, PermittedChange};
use crate::keyed_call::{check_new, may_be_repeated};
use crate::licensing::answer::{answer, refuse};
use crate::licensing::current::current;
use crate::licensing::document::Addressee;
use crate::licensing::issue::{Draft, IssueError, IssueRequest, add_in, draft};
use crate::licensing::plans::{FindPlanError, find_plan};
use crate::licensing::refusal::Refused;
use crate::licensing::site_answer::{AnswerError, SiteAnswer};
use crate::licensing::site_question::{CallDetails, SiteQuestion};
use crate::licensing::start_trial_error::StartTrialError;
use crate::signing::SignError;
use crate::store::licenses::{self, License};
use crate::store::trial_codes::{self, StoredTrialCode, WITHOUT_CODE};
use crate::store::trials::{self, StartedTrial};
use crate::store::{StoreError, catalogue, seats};

/// A trial that a site asks for.
#[derive(Clone, Debug)]
pub struct TrialStart {
    /// The code, as it was typed; `None` for a trial without one.
    pub code: Option<String>,
    /// The secret of the site; `None` from sites that keep none.
    pub secret: Option<TrialSecret>,
    /// The installation.
    pub installation_id: String,
    /// Its display name.
    pub installation_name: String,
    /// The VMS's version.
    pub installation_version: String,
    /// The machine.
    pub hardware_id: String,
    /// The address that sends the request; `None` if staff do.
    pub address: Option<IpAddr>,
}

/// Answers a site that asks for a trial as if it had activated the trial's license. An installation
/// that has started a trial gets the same one if it proves that it did.
///
/// # Errors
/// As [`answer`].
pub async fn answer_trial(
    app: &App,
    start: &TrialStart,
    to: Addressee,
    details: &CallDetails,
) -> Result<SiteAnswer, AnswerError> {
    check_new(app.store.reader()).await?;
    let by = match &details.offline {
        Some(file) => file.by.clone(),
        None => Actor::Site,
    };
    let license = match repeated(|| started(app, start, &by)).await {
        Ok(license) => license,
        Err(error) => {
            let refused = Refused::trial(error)?;
            let now = app.clock.now();
            app.traffic.note(Call::Activate.as_str(), "denied", now);
            return refuse(app, refused, Call::Activate, &to, details.newest_seq, now).await;
        }
    };
    let question = SiteQuestion::Activate(ActivateRequest {
        license_key: license.license_key.clone(),
        hardware_id: start.hardware_id.clone(),
        installation_id: start.installation_id.clone(),
        installation_name: start.installation_name.clone(),
        installation_version: start.installation_version.clone(),
    });
    let to = Addressee {
        sent_key: Some(to.license_key),
        license_key: license.license_key,
        ..to
    };
    let answered = answer(app, &question, to, details).await;
    if answered.is_err() {
        // The trial may have been started, and is the same one when the call is repeated.
        may_be_repeated(app.store.reader()).await;
    }
    answered
}

/// The license of the installation's trial, which is started if there is none yet.
async fn started(app: &App, start: &TrialStart, by: &Actor) -> Result<License, StartTrialError> {
    let sent = start.code.as_deref();
    let sent = sent.map(|text| IssuedCode::parse(CodeKind::Trial, text));
    let sent = sent.transpose()?;
    let asked = Asked {
        app,
        start,
        code: sent.as_ref(),
    };
    let db = app.store.reader();
    if let Some(license) = asked.known(db).await? {
        return Ok(license);
    }
    let code = code(app, sent.as_ref()).await?;
    if sent.is_none() && start.secret.is_none() {
        return Err(StartTrialError::NoSecret);
    }
    if let Some(address) = start.address {
        let counted = app.rates.trial(&code.id, address, app.clock.running());
        counted.map_err(StartTrialError::TooMany)?;
    }
    let choice = plan(app, &code)?;
    let plan = find_plan(db, &choice).await.map_err(|error| match error {
        FindPlanError::Store(error) => StartTrialError::Store(error),
        error => IssueError::Plan(error).into(),
    })?;
    // The plan of the setting may be any.
    check_plan(&plan.contents).map_err(|error| {
        let plan = &plan.version;
        if code.id == WITHOUT_CODE {
            tracing::error!(%error, %plan, "OPEN_TRIAL_PLAN cannot be used");
            return StartTrialError::NoneWithoutCode;
        }
        let code = &code.masked;
        tracing::error!(%error, %plan, code, "the plan of a trial code cannot be used");
        StartTrialError::UnusablePlan
    })?;
    let time = app.signing_clock.permit(app.clock.now());
    let change = PermittedChange::new(by.clone(), time.map_err(SignError::from)?);
    let request = IssueRequest::of(choice);
    let draft = draft(&request, &plan, &catalogue::kinds(db).await?, &change)?;
    match asked.store(&code, draft, &change).await {
        // Another call of the same installation has started one at the same time, with another code.
        Err(StartTrialError::Store(error)) if error.is_taken() => {
            asked.known(db).await?.ok_or(error.into())
        }
        stored => stored,
    }
}

/// A request for a trial, with its code.
struct Asked<'a> {
    app: &'a App,
    start: &'a TrialStart,
    code: Option<&'a IssuedCode>,
}

impl Asked<'_> {
    /// Issues the license, and counts the trial.
    async fn store(
        &self,
        code: &StoredTrialCode,
        draft: Draft,
        change: &PermittedChange,
    ) -> Result<License, StartTrialError> {
        let (app, start) = (self.app, self.start);
        let transaction = app.store.begin().await?;
        let held = trial_codes::hold(&transaction, &code.id).await?;
        let mut held = held.ok_or(StartTrialError::Unknown)?;
        if let Some(license) = self.known(&transaction).await? {
            return Ok(license);
        }
        let allowance = allowance(app, &held).start(change.at)?;
        held.allowance = Allowance {
            max_a_day: held.allowance.max_a_day,
            ..allowance
        };
        trial_codes::save(&transaction, &held).await?;
        let details = json!({
            "trial": true,
            "trialCode": Some(&held.masked).filter(|code| !code.is_empty()),
            "installationId": start.installation_id,
        });
        let license = add_in(&transaction, draft, change, details).await?;
        let trial = StartedTrial {
            installation_id: start.installation_id.clone(),
            hardware_id: start.hardware_id.clone(),
            code_id: held.id,
            license_id: license.id.clone(),
            started_at: change.at.trunc_subsecs(6),
            secret_hash: start.secret.as_ref().map(TrialSecret::hash),
        };
        trials::insert(&transaction, &trial).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        let license_key = license_core::license_key::mask(&license.license_key);
        tracing::info!(license_key, plan = license.plan, "trial started");
        Ok(license)
    }

    /// The license of the trial that the installation has started, if the request proves that it is
    /// from the site that started it: both ids are public.
    async fn known(&self, db: &impl ConnectionTrait) -> Result<Option<License>, StartTrialError> {
        let start = self.start;
        let Some(trial) = trials::find(db, &start.installation_id).await? else {
            return Ok(None);
        };
        let code = match self.code {
            Some(code) => trial_codes::find(db, code).await?,
            None => None,
        };
        let Some(license) = licenses::find_by_id(db, &trial.license_id).await? else {
            return Ok(None);
        };
        let license = current(db, license, self.app.clock.now()).await?;
        // There is none yet if the first answer was not completed.
        let seat = seats::find(db, &license.id, &trial.hardware_id).await?;
        let started = Started {
            hardware_id: &trial.hardware_id,
            secret_hash: trial.secret_hash.as_deref(),
            is_trial: license.trial,
            is_given_up: seat.is_some_and(|seat| !seat.is_held()),
        };
        let repeated = Repeated {
            hardware_id: &start.hardware_id,
            secret: start.secret.as_ref(),
            has_code: code.is_some_and(|code| code.id == trial.code_id),
        };
        again(&started, &repeated)?;
        Ok(Some(license))
    }
}

/// The code that was sent, or the row of the trials without one.
async fn code(app: &App, sent: Option<&IssuedCode>) -> Result<StoredTrialCode, StartTrialError> {
    let db = app.store.reader();
    match sent {
        Some(code) => {
            let found = trial_codes::find(db, code).await?;
            found.ok_or(StartTrialError::Unknown)
        }
        None if app.terms.trials.open_trial_plan.is_none() => Err(StartTrialError::NoneWithoutCode),
        None => {
            let found = trial_codes::find_by_id(db, WITHOUT_CODE).await?;
            found.ok_or(StartTrialError::NoneWithoutCode)
        }
    }
}

/// The plan of the trials of a code.
fn plan(app: &App, code: &StoredTrialCode) -> Result<PlanChoice, StartTrialError> {
    let choice = match code.id == WITHOUT_CODE {
        true => app.terms.trials.open_trial_plan.clone(),
        false => code.plan.parse().ok(),
    };
    choice.ok_or(StartTrialError::NoneWithoutCode)
}

/// How many trials a code starts; without one, as many as the settings say.
fn allowance(app: &App, code: &StoredTrialCode) -> Allowance {
    match code.id == WITHOUT_CODE {
        true => Allowance {
            max_a_day: app.terms.trials.open_trials_per_day,
            ..code.allowance
        },
        false => code.allowance,
    }
}
