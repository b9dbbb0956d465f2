//! Changes to many licenses, one for each line of a CSV file.
//!
//! A line is processed exactly once, however often the file is: its change and the note that it was
//! made are in one transaction.

mod cells;
mod columns;
mod file;
mod requests;

use chrono::{DateTime, Utc};
use license_core::amendment::AmendmentError;
use license_core::plan::LicenseEnd;

use crate::audit::PermittedChange;
use crate::licensing::amend::amend_once;
use crate::licensing::amend_error::AmendError;
use crate::licensing::current::current;
use crate::licensing::issue::{IssueError, IssueRequest, issue_once};
use crate::licensing::line_done::{LineDone, LineError};
use crate::licensing::look_up::look_up;
use crate::licensing::renew::{RenewError, renew_once};
use crate::store::licenses::{self, License};
use crate::store::{Store, StoreError};

pub use file::{BulkFile, FileError, Line, MAX_LINES};

/// What is done with each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAction {
    /// A license is issued.
    Issue,
    /// The end of a license is set.
    Renew,
    /// A license is amended.
    Amend,
}

impl BulkAction {
    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Renew => "renew",
            Self::Amend => "amend",
        }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The license was issued.
    Issued,
    /// The end of the license was set.
    Renewed,
    /// The license was amended.
    Amended,
    /// The license already ends then.
    Unchanged,
    /// The same was done before.
    AlreadyDone,
    /// It would be done.
    Valid,
    /// It was not done, because of an error.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Issued,
        Self::Renewed,
        Self::Amended,
        Self::Unchanged,
        Self::AlreadyDone,
        Self::Valid,
        Self::Failed,
    ];

    /// A code for programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Renewed => "renewed",
            Self::Amended => "amended",
            Self::Unchanged => "unchanged",
            Self::AlreadyDone => "already_done",
            Self::Valid => "valid",
            Self::Failed => "failed",
        }
    }
}

/// The result of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineResult {
    /// The number of the line in the file, from 1.
    pub line: u64,
    /// The key of the license; empty if it is not known.
    pub license_key: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it failed; otherwise empty.
    pub error: String,
}

/// Why a line was not processed.
#[derive(Debug, thiserror::Error)]
enum LineFailure {
    /// It was done before.
    #[error(transparent)]
    Done(LineDone),
    /// This line cannot be done.
    #[error("{0}")]
    Invalid(String),
    /// The database cannot be used, so no other line can be processed either.
    #[error(transparent)]
    Store(StoreError),
}

impl LineFailure {
    fn of_store(error: StoreError) -> Self {
        match error {
            // Others are changing this license.
            StoreError::Held | StoreError::Evaluating => Self::Invalid(error.to_string()),
            error => Self::Store(error),
        }
    }
}

impl From<StoreError> for LineFailure {
    fn from(error: StoreError) -> Self {
        Self::of_store(error)
    }
}

impl From<LineError> for LineFailure {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Done(done) => Self::Done(done),
            LineError::Store(error) => Self::of_store(error),
        }
    }
}

impl From<AmendError> for LineFailure {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Done(done) => Self::Done(done),
            AmendError::Store(error) => Self::of_store(error),
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl From<RenewError> for LineFailure {
    fn from(error: RenewError) -> Self {
        match error {
            RenewError::Done(done) => Self::Done(done),
            RenewError::Store(error) => Self::of_store(error),
            RenewError::Amend(error) => error.into(),
            error => Self::Invalid(error.to_string()),
        }
    }
}

impl From<IssueError> for LineFailure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Done(done) => Self::Done(done),
            IssueError::Store(error) => Self::of_store(error),
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// Processes a line, or with `is_dry_run` does the same and stores nothing: what earlier lines would
/// change is not known then.
///
/// # Errors
/// If the database cannot be used. Any other error is part of the result.
pub async fn process(
    store: &Store,
    action: BulkAction,
    line: &Line,
    is_dry_run: bool,
    change: &PermittedChange,
) -> Result<LineResult, StoreError> {
    let processed = match action {
        BulkAction::Issue => issue_line(store, line, is_dry_run, change).await,
        BulkAction::Renew => renew_line(store, line, is_dry_run, change).await,
        BulkAction::Amend => amend_line(store, line, is_dry_run, change).await,
    };
    let result = |license_key: String, outcome, error: String| LineResult {
        line: line.number,
        license_key,
        outcome,
        error,
    };
    match processed {
        Ok((license_key, outcome)) => Ok(result(license_key, outcome, String::new())),
        Err(LineFailure::Done(LineDone(done))) => {
            let license = licenses::find_by_id(store.reader(), &done.license_id).await?;
            let key = license.map(|license| license.license_key);
            let key = key.unwrap_or_default();
            Ok(result(key, Outcome::AlreadyDone, String::new()))
        }
        Err(LineFailure::Invalid(error)) => {
            let key = line.license_key().unwrap_or_default().to_owned();
            Ok(result(key, Outcome::Failed, error))
        }
        Err(LineFailure::Store(error)) => Err(error),
    }
}

type Processed = Result<(String, Outcome), LineFailure>;

async fn issue_line(
    store: &Store,
    line: &Line,
    is_dry_run: bool,
    change: &PermittedChange,
) -> Processed {
    let request: IssueRequest = line.issue_request().map_err(LineFailure::Invalid)?;
    let is_key_known = request.key.is_some();
    let license = issue_once(store, request, change, &line.id, is_dry_run).await?;
    Ok(match is_dry_run {
        // The run generates another key.
        true if !is_key_known => (String::new(), Outcome::Valid),
        true => (license.license_key, Outcome::Valid),
        false => (license.license_key, Outcome::Issued),
    })
}

async fn renew_line(
    store: &Store,
    line: &Line,
    is_dry_run: bool,
    change: &PermittedChange,
) -> Processed {
    let (key, request) = line.renew_request().map_err(LineFailure::Invalid)?;
    let license = found(store, &key, change.at).await?;
    if license.end() == LicenseEnd::At(request.expires_at) {
        return Ok((license.license_key, Outcome::Unchanged));
    }
    let renewed = renew_once(store, &license.id, &request, change, &line.id, is_dry_run).await?;
    let outcome = if is_dry_run {
        Outcome::Valid
    } else {
        Outcome::Renewed
    };
    Ok((renewed.license_key, outcome))
}

async fn amend_line(
    store: &Store,
    line: &Line,
    is_dry_run: bool,
    change: &PermittedChange,
) -> Processed {
    let (key, request) = line.amend_request().map_err(LineFailure::Invalid)?;
    let license = found(store, &key, change.at).await?;
    let amended = amend_once(store, &license.id, &request, change, &line.id, is_dry_run);
    match amended.await {
        Ok(amended) if is_dry_run => Ok((amended.license.license_key, Outcome::Valid)),
        Ok(amended) => Ok((amended.license.license_key, Outcome::Amended)),
        Err(AmendError::Rule {
            error: AmendmentError::Nothing,
        }) => Ok((license.license_key, Outcome::Unchanged)),
        Err(error) => Err(error.into()),
    }
}

/// The license that a line names, as it is now.
async fn found(store: &Store, key: &str, now: DateTime<Utc>) -> Result<License, LineFailure> {
    use crate::licensing::look_up::LookUpError;
    let found = look_up(store, key).await.map_err(|error| match error {
        LookUpError::Store(error) => LineFailure::of_store(error),
        error => LineFailure::Invalid(format!("licenseKey: {error}")),
    })?;
    Ok(current(store.reader(), found, now).await?)
}
