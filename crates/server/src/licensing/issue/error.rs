//! Why a license is not issued.

use license_core::amendment::{AmendmentError, PlanVersion};
use license_core::calendar_duration::EndsTooLate;
use license_core::catalogue::NotSold;
use license_core::feature::FeatureKeyError;
use license_core::license_key::LicenseKeyError;

use crate::licensing::customers::{CustomerError, MAX_CUSTOMER_CHARS};
use crate::licensing::document_size::TooLong;
use crate::licensing::expiry::ExpiryError;
use crate::licensing::line_done::{LineDone, LineError};
use crate::licensing::plans::FindPlanError;
use crate::licensing::random_code::NoRandomness;
use crate::store::StoreError;

/// Why a license was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The key does not have our format.
    #[error(transparent)]
    Key(#[from] LicenseKeyError),
    /// There already is a license with this key.
    #[error("a license with the key {0} already exists")]
    Exists(String),
    /// An invalid feature key.
    #[error("'{key}' is not a feature key: {error}")]
    Feature {
        /// The feature key.
        key: String,
        /// The reason.
        error: FeatureKeyError,
    },
    /// The plan does not exist.
    #[error("invalid plan: {0}")]
    Plan(FindPlanError),
    /// The plan is for add-on keys.
    #[error(
        "invalid plan: '{0}' is a plan for add-on keys, which add to licenses; issue them with \
         'license-server addons issue --plan {0}'"
    )]
    ForAddOns(PlanVersion),
    /// A feature to exclude that the plan does not have.
    #[error("invalid without: the plan has no feature '{0}'")]
    NotInPlan(String),
    /// Something that cannot be sold as a feature.
    #[error("invalid with: {0}")]
    NotSold(#[from] NotSold),
    /// Something of which no number can be sold.
    #[error("invalid quantities: {0}")]
    NotCounted(NotSold),
    /// A limit is below -1.
    #[error("invalid {name}: {value}; expected 0 or more, or -1 for unlimited")]
    Limit {
        /// The field.
        name: &'static str,
        /// The value.
        value: i64,
    },
    /// Something would end too late.
    #[error("invalid plan: {0}")]
    EndsTooLate(#[from] EndsTooLate),
    /// A rule about licenses is broken.
    #[error("{}{error}", field_of(.error))]
    Rule {
        /// The rule.
        error: AmendmentError,
    },
    /// The end is invalid.
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    /// The customer's name is too long.
    #[error("invalid customer: the name is limited to {MAX_CUSTOMER_CHARS} characters")]
    Customer,
    /// The customer is not one.
    #[error("invalid customer: {0}")]
    WrongCustomer(CustomerError),
    /// No site could read the license's documents.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// It is the license of a line that was issued before.
    #[error(transparent)]
    Done(#[from] LineDone),
    /// The operating system returned no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FindPlanError> for IssueError {
    fn from(error: FindPlanError) -> Self {
        match error {
            FindPlanError::Store(error) => Self::Store(error),
            error => Self::Plan(error),
        }
    }
}

impl From<LineError> for IssueError {
    fn from(error: LineError) -> Self {
        match error {
            LineError::Store(error) => Self::Store(error),
            LineError::Done(error) => Self::Done(error),
        }
    }
}

impl From<CustomerError> for IssueError {
    fn from(error: CustomerError) -> Self {
        match error {
            CustomerError::Store(error) => Self::Store(error),
            error => Self::WrongCustomer(error),
        }
    }
}

/// What precedes the text of a rule: the field of the request that it is about.
fn field_of(error: &AmendmentError) -> &'static str {
    match error {
        AmendmentError::EndBeforeStart { .. } => "invalid startsAt or expiresAt: ",
        AmendmentError::TooManyEntitlements | AmendmentError::TooLarge => "invalid with: ",
        _ => "invalid request: ",
    }
}
