//! Why a trial is not started.

use std::time::Duration;

use license_core::issued_code::IssuedCodeError;
use license_core::trial::TrialRefusal;

use crate::licensing::issue::IssueError;
use crate::signing::SignError;
use crate::store::StoreError;

/// Why no trial was started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartTrialError {
    /// The code is mistyped.
    #[error(transparent)]
    Code(#[from] IssuedCodeError),
    /// No code is like this.
    #[error("unknown trial code")]
    Unknown,
    /// The plan of the code is not for trials.
    #[error("the plan of the trial code cannot be used")]
    UnusablePlan,
    /// Trials are not started without a code.
    #[error("trials are started with a code")]
    NoneWithoutCode,
    /// The address has started too many trials with the code.
    #[error("too many trials; the next one is allowed in {0:?}")]
    TooMany(Duration),
    /// A site without a code sends no secret, and could never ask again.
    #[error("trials without a code need a secret")]
    NoSecret,
    /// The rules refuse it.
    #[error(transparent)]
    Refused(#[from] TrialRefusal),
    /// The license cannot be issued from the plan.
    #[error(transparent)]
    Issue(IssueError),
    /// The clock may be wrong.
    #[error(transparent)]
    Signing(#[from] SignError),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<IssueError> for StartTrialError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Store(error) => Self::Store(error),
            error => Self::Issue(error),
        }
    }
}
