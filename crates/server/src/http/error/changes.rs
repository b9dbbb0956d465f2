//! Errors of the changes that the vendor's staff make.

use super::ApiError;
use crate::licensing::add_ons::AddOnError;
use crate::licensing::amend_error::AmendError;
use crate::licensing::customers::CustomerError;
use crate::licensing::issue::IssueError;
use crate::licensing::keys_error::KeysError;
use crate::licensing::plans::{FindPlanError, PublishError};
use crate::licensing::redeem::RedeemError;
use crate::licensing::renew::RenewError;
use crate::licensing::seats::{FreeError, ReleaseError};
use crate::licensing::status::StatusError;
use crate::licensing::tokens::TokenError;
use crate::licensing::trial_codes::TrialCodeError;
use crate::signing::SigningError;

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Store(error) => error.into(),
            IssueError::Exists(_) | IssueError::Done(_) => Self::Conflict(error.to_string()),
            IssueError::NoRandomness(_) => {
                tracing::error!(%error, "failed to issue a license");
                Self::Internal
            }
            IssueError::Key(_)
            | IssueError::Feature { .. }
            | IssueError::Plan(_)
            | IssueError::ForAddOns(_)
            | IssueError::NotInPlan(_)
            | IssueError::NotSold(_)
            | IssueError::NotCounted(_)
            | IssueError::Limit { .. }
            | IssueError::EndsTooLate(_)
            | IssueError::Rule { .. }
            | IssueError::Expiry(_)
            | IssueError::TooLong(_)
            | IssueError::WrongCustomer(_)
            | IssueError::Customer => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<FindPlanError> for ApiError {
    fn from(error: FindPlanError) -> Self {
        match error {
            FindPlanError::Store(error) => error.into(),
            FindPlanError::Unknown(_) | FindPlanError::UnknownVersion { .. } => {
                Self::Unknown(error.to_string())
            }
        }
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            PublishError::NotNext { .. }
            | PublishError::Raced(_)
            | PublishError::EntryChanged(_)
            | PublishError::TooManyPlans
            | PublishError::PlansTooLong(_)
            | PublishError::VersionsTooLong { .. }
            | PublishError::TooManyVersions(_)
            | PublishError::TooManyEntries => Self::Conflict(error.to_string()),
            PublishError::Plan { .. }
            | PublishError::Entry { .. }
            | PublishError::EntryTwice(_)
            | PublishError::Kind(_) => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<RenewError> for ApiError {
    fn from(error: RenewError) -> Self {
        match error {
            RenewError::LookUp(error) => error.into(),
            RenewError::Store(error) => error.into(),
            RenewError::Done(_) => Self::Conflict(error.to_string()),
            RenewError::Amend(error) => error.into(),
            RenewError::Expiry(_) => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<AmendError> for ApiError {
    fn from(error: AmendError) -> Self {
        match error {
            AmendError::LookUp(error) => error.into(),
            AmendError::Store(error) => error.into(),
            AmendError::Revoked | AmendError::Amended { .. } | AmendError::Done(_) => {
                Self::Conflict(error.to_string())
            }
            AmendError::Field { .. }
            | AmendError::Plan(_)
            | AmendError::EndsTooLate(_)
            | AmendError::Expiry(_)
            | AmendError::Customer(_)
            | AmendError::Rule { .. }
            | AmendError::Refunded(_)
            | AmendError::TooLong(_) => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<AddOnError> for ApiError {
    fn from(error: AddOnError) -> Self {
        match error {
            AddOnError::Store(error) => error.into(),
            AddOnError::Amend(error) => error.into(),
            AddOnError::Key(_) | AddOnError::Unknown(_) => Self::Unknown(error.to_string()),
            AddOnError::Refunded | AddOnError::Issued(_) | AddOnError::NotAsPreviewed => {
                Self::Conflict(error.to_string())
            }
            AddOnError::NoRandomness(_) => {
                tracing::error!(%error, "failed to issue an add-on key");
                Self::Internal
            }
            AddOnError::Contents
            | AddOnError::Plan(_)
            | AddOnError::NotForAddOns(_)
            | AddOnError::Invalid(_)
            | AddOnError::Passed(_)
            | AddOnError::TooLong { .. } => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<TrialCodeError> for ApiError {
    fn from(error: TrialCodeError) -> Self {
        match error {
            TrialCodeError::Store(error) => error.into(),
            TrialCodeError::Code(_) | TrialCodeError::Unknown(_) | TrialCodeError::NoTrial(_) => {
                Self::Unknown(error.to_string())
            }
            TrialCodeError::Exists(_) => Self::Conflict(error.to_string()),
            TrialCodeError::NoRandomness(_) => {
                tracing::error!(%error, "failed to create a trial code");
                Self::Internal
            }
            TrialCodeError::Plan(_)
            | TrialCodeError::NotATrial(_)
            | TrialCodeError::Number { .. }
            | TrialCodeError::Passed(_)
            | TrialCodeError::Note => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<RedeemError> for ApiError {
    fn from(error: RedeemError) -> Self {
        match error {
            RedeemError::Store(error) => error.into(),
            RedeemError::LookUp(error) => error.into(),
            RedeemError::Unknown(_) => Self::Unknown(error.to_string()),
            RedeemError::Key(_) => Self::BadRequest(error.to_string()),
            RedeemError::Refused(_) | RedeemError::Revoked => Self::Conflict(error.to_string()),
            RedeemError::Amend(error) => match Self::from(error) {
                Self::BadRequest(message) => Self::Conflict(message),
                other => other,
            },
        }
    }
}

impl From<StatusError> for ApiError {
    fn from(error: StatusError) -> Self {
        match error {
            StatusError::LookUp(error) => error.into(),
            StatusError::Store(error) => error.into(),
            StatusError::Revoked => Self::Conflict(error.to_string()),
            StatusError::Message => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<CustomerError> for ApiError {
    fn from(error: CustomerError) -> Self {
        match error {
            CustomerError::Store(error) => error.into(),
            CustomerError::Clock(doubt) => doubt.into(),
            CustomerError::Interrupted { moved, error } => {
                Self::Interrupted(moved, Box::new((*error).into()))
            }
            CustomerError::UnknownId(_) | CustomerError::Unknown(_) => {
                Self::Unknown(error.to_string())
            }
            CustomerError::Confusing { .. }
            | CustomerError::Ambiguous { .. }
            | CustomerError::NameTaken(_)
            | CustomerError::ReferenceTaken(_)
            | CustomerError::Changed
            | CustomerError::Merged { .. } => Self::Conflict(error.to_string()),
            CustomerError::Name
            | CustomerError::NoName
            | CustomerError::NameIsId(_)
            | CustomerError::Field { .. }
            | CustomerError::Itself
            | CustomerError::TooLong { .. } => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            TokenError::Unknown(_) => Self::Unknown(error.to_string()),
            TokenError::Exists(_) | TokenError::TooMany => Self::Conflict(error.to_string()),
            TokenError::Name(_)
            | TokenError::Reserved(_)
            | TokenError::Note
            | TokenError::Ended(_) => Self::BadRequest(error.to_string()),
        }
    }
}

impl From<FreeError> for ApiError {
    fn from(error: FreeError) -> Self {
        match error {
            FreeError::LookUp(error) => error.into(),
            FreeError::Store(error) => error.into(),
            FreeError::NotHeld(_) | FreeError::Ambiguous(_) => Self::Conflict(error.to_string()),
        }
    }
}

impl From<ReleaseError> for ApiError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::LookUp(error) => error.into(),
            ReleaseError::Store(error) => error.into(),
            ReleaseError::Held(_)
            | ReleaseError::Ambiguous(_)
            | ReleaseError::NotWaiting(_)
            | ReleaseError::Unconfirmed { .. } => Self::Conflict(error.to_string()),
        }
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Store(error) => error.into(),
            KeysError::Signing(SigningError::UnknownKey(_)) => Self::Unknown(error.to_string()),
            KeysError::Signing(
                SigningError::OnlyKey(_)
                | SigningError::TooManyKeys
                | SigningError::TooManyToday
                | SigningError::Raced
                | SigningError::NoneSignsNow
                | SigningError::NoneSignsYet { .. }
                | SigningError::KeysMissing(_)
                | SigningError::Unclear { .. }
                | SigningError::SetMissing(_)
                | SigningError::Record { .. }
                | SigningError::EmptyDatabase(_),
            ) => Self::Conflict(error.to_string()),
            KeysError::Clock(_) => Self::Conflict(error.to_string()),
            KeysError::Busy(_) => Self::Busy,
            KeysError::Signing(_) | KeysError::Interrupted(_) => {
                tracing::error!(%error, "failed to change the signing keys");
                Self::Internal
            }
        }
    }
}
