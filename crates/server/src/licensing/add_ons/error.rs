//! Why an add-on key is not issued, found or refunded.

use chrono::{DateTime, Utc};
use license_core::add_on::InvalidAddOn;
use license_core::issued_code::IssuedCodeError;

use crate::licensing::amend_error::AmendError;
use crate::licensing::plans::FindPlanError;
use crate::licensing::random_code::NoRandomness;
use crate::store::StoreError;

/// Why an add-on key was not issued, found or refunded. Names of fields are those of the API.
#[derive(Debug, thiserror::Error)]
pub enum AddOnError {
    /// It is not known what the key grants, or it would be both.
    #[error("specify what the key grants with either 'plan' or 'add'")]
    Contents,
    /// The plan does not exist.
    #[error("invalid plan: {0}")]
    Plan(FindPlanError),
    /// The plan is not for add-ons.
    #[error("invalid plan: '{0}' is not a plan for add-on keys: it must have 'addOn = true'")]
    NotForAddOns(String),
    /// A field has an invalid value.
    #[error(transparent)]
    Invalid(#[from] InvalidAddOn),
    /// The last instant has passed.
    #[error("invalid redeemBy: {0} has passed")]
    Passed(DateTime<Utc>),
    /// A text is too long.
    #[error("invalid {field}: limited to {max} characters")]
    TooLong {
        /// The field.
        field: &'static str,
        /// The maximum length.
        max: usize,
    },
    /// The text is not an add-on key.
    #[error(transparent)]
    Key(#[from] IssuedCodeError),
    /// No add-on key is like this.
    #[error("there is no add-on key {0}; see 'license-server addons list'")]
    Unknown(String),
    /// It was refunded.
    #[error("the add-on key has already been refunded")]
    Refunded,
    /// There already is an add-on key like this.
    #[error("the add-on key {0} has already been issued, and is not shown again")]
    Issued(String),
    /// The refund would do something other than its preview said.
    #[error(
        "the add-on key was redeemed, or its license was amended, after this preview; nothing was \
         refunded"
    )]
    NotAsPreviewed,
    /// The license cannot be amended.
    #[error(transparent)]
    Amend(AmendError),
    /// The operating system returned no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The database returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AmendError> for AddOnError {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::Store(error) => Self::Store(error),
            error => Self::Amend(error),
        }
    }
}

impl From<FindPlanError> for AddOnError {
    fn from(error: FindPlanError) -> Self {
        match error {
            FindPlanError::Store(error) => Self::Store(error),
            error => Self::Plan(error),
        }
    }
}
