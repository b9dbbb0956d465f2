//! Create, find and withdraw trial codes. A code is shown only when it is created.

use chrono::{DateTime, SubsecRound as _, Utc};
use license_core::issued_code::{CodeKind, IssuedCode, IssuedCodeError};
use license_core::plan::PlanChoice;
use license_core::trial::{Allowance, MAX_STARTS, NotATrial, check_plan};
use license_service::database::repeated;
use sea_orm::ConnectionTrait;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit::{Action, Change};
use crate::keyed_call::{CREATED, note_answer};
use crate::licensing::amend::MAX_REASON_CHARS;
use crate::licensing::plans::{FindPlanError, find_plan};
use crate::licensing::random_code::{NoRandomness, random_code};
use crate::licensing::text_bounds::fits;
use crate::store::trial_codes::{self, StoredTrialCode, WITHOUT_CODE};
use crate::store::trials::{self, StartedTrial};
use crate::store::{Store, StoreError};

/// The trial code to create.
#[derive(Clone, Debug)]
pub struct TrialCodeRequest {
    /// The plan of its trials.
    pub plan: PlanChoice,
    /// Maximum number of trials.
    pub max: u32,
    /// Maximum number of trials on one day; `None` for all of them.
    pub max_a_day: Option<u32>,
    /// The last instant at which a trial may be started.
    pub ends_at: Option<DateTime<Utc>>,
    /// For people.
    pub note: Option<String>,
}

/// Why a trial code was not created, found or withdrawn. Names of fields are those of the API.
#[derive(Debug, thiserror::Error)]
pub enum TrialCodeError {
    /// The plan does not exist.
    #[error("invalid plan: {0}")]
    Plan(FindPlanError),
    /// The plan is not for trials.
    #[error("invalid plan: {0}")]
    NotATrial(#[from] NotATrial),
    /// A number is out of bounds.
    #[error("invalid {field}: expected 1 to {max}")]
    Number {
        /// The field.
        field: &'static str,
        /// The highest number.
        max: u32,
    },
    /// The end has passed.
    #[error("invalid endsAt: {0} has passed")]
    Passed(DateTime<Utc>),
    /// The note is too long.
    #[error("invalid note: limited to {MAX_REASON_CHARS} characters")]
    Note,
    /// The text is not a trial code.
    #[error(transparent)]
    Code(#[from] IssuedCodeError),
    /// No trial code is like this.
    #[error("there is no trial code {0}; see 'license-server trial-codes list'")]
    Unknown(String),
    /// There already is a trial code like this.
    #[error("the trial code {0} has already been created, and is not shown again")]
    Exists(String),
    /// The installation has started no trial.
    #[error("the installation '{0}' has not started a trial")]
    NoTrial(String),
    /// The operating system returned no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FindPlanError> for TrialCodeError {
    fn from(error: FindPlanError) -> Self {
        match error {
            FindPlanError::Store(error) => Self::Store(error),
            error => Self::Plan(error),
        }
    }
}

/// Creates a trial code; returns it, which is stored nowhere, and what is known about it.
///
/// # Errors
/// One [`TrialCodeError`] for each reason; nothing is created then.
pub async fn add_trial_code(
    store: &Store,
    request: &TrialCodeRequest,
    change: &Change,
) -> Result<(IssuedCode, StoredTrialCode), TrialCodeError> {
    let code = new_trial_code()?;
    let stored = add_trial_code_with(store, &code, request, change).await?;
    Ok((code, stored))
}

/// A new code, which is created later.
///
/// # Errors
/// If the operating system returns no random bytes.
pub fn new_trial_code() -> Result<IssuedCode, NoRandomness> {
    random_code(CodeKind::Trial)
}

/// Creates this trial code, once: a request that is sent again creates no second one.
///
/// # Errors
/// One [`TrialCodeError`] for each reason; nothing is created then.
pub async fn add_trial_code_with(
    store: &Store,
    code: &IssuedCode,
    request: &TrialCodeRequest,
    change: &Change,
) -> Result<StoredTrialCode, TrialCodeError> {
    let stored = StoredTrialCode {
        masked: code.masked(),
        ..prepare_trial_code(store, request, change).await?
    };
    repeated(|| add(store, code, &stored, change)).await?;
    tracing::info!(code = stored.masked, "trial code created");
    Ok(stored)
}

/// What is known about the trial code that a request would create, without the code.
///
/// # Errors
/// As [`add_trial_code`].
pub async fn prepare_trial_code(
    store: &Store,
    request: &TrialCodeRequest,
    change: &Change,
) -> Result<StoredTrialCode, TrialCodeError> {
    let now = change.at.trunc_subsecs(0);
    let max_a_day = request.max_a_day.unwrap_or(request.max);
    for (field, number, max) in [
        ("max", request.max, MAX_STARTS),
        ("maxADay", max_a_day, request.max),
    ] {
        if !(1..=max).contains(&number) {
            return Err(TrialCodeError::Number { field, max });
        }
    }
    if let Some(passed) = request.ends_at.filter(|end| *end < now) {
        return Err(TrialCodeError::Passed(passed));
    }
    if !fits(
        request.note.as_deref().unwrap_or_default(),
        MAX_REASON_CHARS,
    ) {
        return Err(TrialCodeError::Note);
    }
    let plan = find_plan(store.reader(), &request.plan).await?;
    check_plan(&plan.contents)?;
    Ok(StoredTrialCode {
        id: Uuid::new_v4().to_string(),
        masked: String::new(),
        plan: plan.version.to_string(),
        allowance: Allowance {
            max: Some(request.max),
            max_a_day,
            ends_at: request.ends_at,
            is_withdrawn: false,
            started: 0,
            day: None,
            started_on_day: 0,
        },
        note: request.note.clone(),
        created_at: now,
        created_by: change.by.to_string(),
        withdrawn_at: None,
        withdrawn_by: None,
    })
}

async fn add(
    store: &Store,
    code: &IssuedCode,
    stored: &StoredTrialCode,
    change: &Change,
) -> Result<(), TrialCodeError> {
    let transaction = store.begin().await?;
    match trial_codes::insert(&transaction, code, stored).await {
        Err(error) if error.is_taken() => return Err(TrialCodeError::Exists(code.masked())),
        inserted => inserted?,
    }
    let details = json!({
        "id": stored.id,
        "plan": stored.plan,
        "max": stored.allowance.max,
        "maxADay": stored.allowance.max_a_day,
        "endsAt": stored.allowance.ends_at,
        "note": stored.note,
    });
    change
        .note_other(
            &transaction,
            Action::TrialCodeAdded,
            &stored.masked,
            details,
        )
        .await?;
    let shown = || ShownNewTrialCode::of(code, stored.clone(), change.at);
    note_answer(&transaction, CREATED, shown).await?;
    Ok(transaction.commit().await.map_err(StoreError::from)?)
}

/// The trial code, in any spelling, or the one with this id.
///
/// # Errors
/// [`TrialCodeError::Code`], [`TrialCodeError::Unknown`], or if the database returns an error.
pub async fn look_up_trial_code(
    db: &impl ConnectionTrait,
    text: &str,
) -> Result<StoredTrialCode, TrialCodeError> {
    if let Ok(id) = Uuid::try_parse(text.trim()) {
        let id = id.to_string();
        let found = trial_codes::find_by_id(db, &id).await?;
        let found = found.filter(|it| it.id != WITHOUT_CODE);
        return found.ok_or(TrialCodeError::Unknown(id));
    }
    let code = IssuedCode::parse(CodeKind::Trial, text)?;
    let found = trial_codes::find(db, &code).await?;
    found.ok_or_else(|| TrialCodeError::Unknown(code.masked()))
}

/// Withdraws a trial code: it starts no more trials. Trials that it has started continue. Withdrawing it
/// again changes nothing.
///
/// # Errors
/// As [`look_up_trial_code`].
pub async fn withdraw_trial_code(
    store: &Store,
    text: &str,
    change: &Change,
) -> Result<StoredTrialCode, TrialCodeError> {
    repeated(|| try_withdraw(store, text, change)).await
}

async fn try_withdraw(
    store: &Store,
    text: &str,
    change: &Change,
) -> Result<StoredTrialCode, TrialCodeError> {
    let known = look_up_trial_code(store.reader(), text).await?;
    let transaction = store.begin().await?;
    let held = trial_codes::hold(&transaction, &known.id).await?;
    let mut code = held.ok_or(TrialCodeError::Unknown(known.masked))?;
    if code.allowance.is_withdrawn {
        return Ok(code);
    }
    code.allowance.is_withdrawn = true;
    code.withdrawn_at = Some(change.at.trunc_subsecs(0));
    code.withdrawn_by = Some(change.by.to_string());
    trial_codes::save(&transaction, &code).await?;
    let details = json!({"id": code.id, "started": code.allowance.started});
    change
        .note_other(
            &transaction,
            Action::TrialCodeWithdrawn,
            &code.masked,
            details,
        )
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(code)
}

/// Removes the record that an installation has started a trial: it may start another one. The license
/// of the trial stays unchanged.
///
/// # Errors
/// [`TrialCodeError::NoTrial`], or if the database returns an error.
pub async fn forget_trial(
    store: &Store,
    installation_id: &str,
    change: &Change,
) -> Result<StartedTrial, TrialCodeError> {
    let trial = repeated(|| try_forget(store, installation_id, change)).await?;
    tracing::info!(installation_id = trial.installation_id, "trial forgotten");
    Ok(trial)
}

async fn try_forget(
    store: &Store,
    installation_id: &str,
    change: &Change,
) -> Result<StartedTrial, TrialCodeError> {
    let unknown = || TrialCodeError::NoTrial(installation_id.to_owned());
    // No id contains a NUL, which PostgreSQL does not accept.
    let id = installation_id.replace('\0', "");
    let transaction = store.begin().await?;
    let trial = trials::find(&transaction, &id).await?;
    let trial = trial.ok_or_else(unknown)?;
    if !trials::remove(&transaction, &id).await? {
        return Err(unknown());
    }
    let details = json!({
        "license": trial.license_id,
        "hardwareId": trial.hardware_id,
        "startedAt": trial.started_at,
    });
    change
        .note_other(&transaction, Action::TrialForgotten, &id, details)
        .await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(trial)
}

/// A trial code as programs see it: without the code itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TrialCode)]
pub struct ShownTrialCode {
    /// UUID.
    pub id: String,
    /// The first and last characters of the code.
    pub masked_code: String,
    /// Whether it starts trials now, as far as its own limits are concerned.
    pub usable: bool,
    /// The plan of its trials, with the version.
    pub plan: String,
    /// Maximum number of trials.
    pub max: Option<u32>,
    /// Maximum number of trials on one day.
    pub max_a_day: u32,
    /// The last instant at which a trial may be started; `null` if there is no end.
    pub ends_at: Option<DateTime<Utc>>,
    /// The number of trials so far.
    pub started: u32,
    /// A free-text note.
    pub note: Option<String>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Who created it.
    pub created_by: String,
    /// When it was withdrawn.
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// Who withdrew it.
    pub withdrawn_by: Option<String>,
}

impl ShownTrialCode {
    /// A code in its current state.
    #[must_use]
    pub fn of(stored: StoredTrialCode, now: DateTime<Utc>) -> Self {
        let allowance = stored.allowance;
        Self {
            id: stored.id,
            masked_code: stored.masked,
            usable: allowance.start(now).is_ok(),
            plan: stored.plan,
            max: allowance.max,
            max_a_day: allowance.max_a_day,
            ends_at: allowance.ends_at,
            started: allowance.started,
            note: stored.note,
            created_at: stored.created_at,
            created_by: stored.created_by,
            withdrawn_at: stored.withdrawn_at,
            withdrawn_by: stored.withdrawn_by,
        }
    }
}

/// A new trial code. Only this response contains it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewTrialCode)]
pub struct ShownNewTrialCode {
    /// The code itself. It cannot be shown again.
    code: String,
    /// What is known about it.
    #[serde(flatten)]
    known: ShownTrialCode,
}

impl ShownNewTrialCode {
    /// A code that was just created.
    #[must_use]
    pub fn of(code: &IssuedCode, stored: StoredTrialCode, now: DateTime<Utc>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            known: ShownTrialCode::of(stored, now),
        }
    }
}
