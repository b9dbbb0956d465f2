//! Why a license is not amended.

use license_core::amendment::AmendmentError;
use license_core::calendar_duration::EndsTooLate;

use crate::licensing::customers::CustomerError;
use crate::licensing::document_size::{SizeError, TooLong};
use crate::licensing::expiry::ExpiryError;
use crate::licensing::line_done::{LineDone, LineError};
use crate::licensing::look_up::LookUpError;
use crate::licensing::plans::FindPlanError;
use crate::store::StoreError;

/// Why a license was not amended. Names of fields are those of the API.
#[derive(Debug, thiserror::Error)]
pub enum AmendError {
    /// The license does not exist.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Revocation is permanent.
    #[error("the license was revoked, which cannot be undone; issue a new one")]
    Revoked,
    /// Others have amended the license in the meantime.
    #[error(
        "the license was amended after amendment {after}: {changes}. Review these changes, and \
         repeat the request with {newest} as the newest amendment"
    )]
    Amended {
        /// The amendment for which the request was made.
        after: u32,
        /// The newest one.
        newest: u32,
        /// What was changed since then.
        changes: String,
    },
    /// A field has an invalid value.
    #[error("invalid {field}: {why}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The plan does not exist.
    #[error("invalid plan: {0}")]
    Plan(FindPlanError),
    /// The plan would grant something that ends too late.
    #[error("invalid plan: {0}")]
    EndsTooLate(#[from] EndsTooLate),
    /// The end is invalid.
    #[error("invalid expiresAt: {0}")]
    Expiry(#[from] ExpiryError),
    /// The customer is not one.
    #[error("invalid customer: {0}")]
    Customer(CustomerError),
    /// The amendment breaks a rule.
    #[error("{}{error}", field_of(.error))]
    Rule {
        /// The rule.
        error: AmendmentError,
    },
    /// It restores what a refunded add-on key granted.
    #[error(
        "invalid undoes: this would restore amendment {0}, which granted the entitlements of a \
         refunded add-on key, and a refund cannot be undone; issue another add-on key, or grant \
         the entitlements again"
    )]
    Refunded(u32),
    /// No site could read the license's documents.
    #[error("invalid add: {0}")]
    TooLong(#[from] TooLong),
    /// It is the change of a line that was made before.
    #[error(transparent)]
    Done(#[from] LineDone),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FindPlanError> for AmendError {
    fn from(error: FindPlanError) -> Self {
        match error {
            FindPlanError::Store(error) => Self::Store(error),
            error => Self::Plan(error),
        }
    }
}

impl From<SizeError> for AmendError {
    fn from(error: SizeError) -> Self {
        match error {
            SizeError::Store(error) => Self::Store(error),
            SizeError::TooLong(error) => Self::TooLong(error),
        }
    }
}

impl From<LineError> for AmendError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Store(error) => Self::Store(error),
            LineError::Done(error) => Self::Done(error),
        }
    }
}

impl From<CustomerError> for AmendError {
    fn from(error: CustomerError) -> Self {
        match error {
            CustomerError::Store(error) => Self::Store(error),
            error => Self::Customer(error),
        }
    }
}

/// What precedes an error: the field of the request that the rule is about.
fn field_of(error: &AmendmentError) -> &'static str {
    match error {
        AmendmentError::NotNext { .. } => "invalid after: ",
        AmendmentError::InThePast { .. } | AmendmentError::TooManyScheduled => {
            "invalid effectiveAt: "
        }
        AmendmentError::NotUndoable(_) => "invalid undoes: ",
        AmendmentError::NotGranted(_) => "invalid end: ",
        AmendmentError::EndBeforeStart { .. } | AmendmentError::EndsInThePast { .. } => {
            "invalid expiresAt: "
        }
        AmendmentError::TooManyEntitlements | AmendmentError::TooLarge => "invalid add: ",
        AmendmentError::TooMany
        | AmendmentError::HistoryTooLarge
        | AmendmentError::Nothing
        | AmendmentError::Time(_)
        | AmendmentError::Term { .. }
        | AmendmentError::Incomplete
        | AmendmentError::Revoked => "invalid request: ",
    }
}
