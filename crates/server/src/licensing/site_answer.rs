//! The answer to a site, and why a site may get none.

use std::time::Duration;

use chrono::{DateTime, Utc};
use license_core::document::DenialReason;
use license_core::protocol::{Call, activated, confirmed, denied, refused};
use serde_json::{Map, Value, json};

use crate::licensing::issue::IssueError;
use crate::signing::SignError;
use crate::store::StoreError;

/// The answer to a site.
#[derive(Clone, Debug)]
pub enum SiteAnswer {
    /// Confirmation: the license, with its signed document unless the call is a heartbeat.
    License(Map<String, Value>),
    /// Confirmation: the seat is free.
    Deactivated {
        /// The signed receipt: a denial with the reason `deactivated`.
        receipt: String,
    },
    /// Confirmation: the add-on key is an amendment of the license, which the next lease contains.
    Redeemed {
        /// The number of the amendment.
        amendment: u32,
        /// The signed receipt: a denial with the reason `redeemed`.
        receipt: String,
    },
    /// No.
    Denied {
        /// Why.
        reason: DenialReason,
        /// The message for the site's operator.
        message: String,
        /// The signed denial.
        signature: String,
    },
}

impl SiteAnswer {
    /// The body of the response to this call.
    #[must_use]
    pub fn body(&self, call: Call) -> Value {
        match self {
            Self::License(license) => match call {
                Call::Activate | Call::Trial => activated(license),
                _ => confirmed(license),
            },
            Self::Deactivated { receipt } => {
                json!({"success": true, "data": {"deactivated": true, "signature": receipt}})
            }
            Self::Redeemed { amendment, receipt } => {
                let data = json!({"redeemed": true, "amendment": amendment, "signature": receipt});
                json!({"success": true, "data": data})
            }
            Self::Denied {
                reason,
                message,
                signature,
            } => match call {
                Call::Validate | Call::Heartbeat => denied(reason, message, Some(signature)),
                _ => refused(reason, message, Some(signature)),
            },
        }
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The database is unavailable or refuses the change.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file asks for a deactivation, and the machine was activated after it was written.
    #[error(
        "the request to deactivate is older than the activation at {0}, and would free a seat that \
         is in use; write a new request at the site"
    )]
    Outdated(DateTime<Utc>),
    /// The refusal is not based on anything in the database, and the site was answered by a server
    /// whose answers the database does not contain.
    #[error("the database is older than the site")]
    OlderThanSite,
    /// The call does not prove the installation key of the machine's seat. Contains the number that
    /// another proof must name; `None` if another proof is of no use.
    #[error("the call does not prove the installation key of the machine's seat")]
    Unproven(Option<u64>),
    /// The same for a request file.
    #[error(
        "the request file does not prove the installation key of the machine's seat; write a new \
         one with the License Client that holds the seat, or activate the license there again"
    )]
    UnprovenFile,
    /// The machine would take a seat, but the license's machines without a seat have taken, or
    /// tried to take, too many.
    #[error("too many activations; the next one is allowed in {0:?}")]
    TooManyCalls(Duration),
    /// The license of a trial cannot be issued.
    #[error("the trial license cannot be issued: {0}")]
    NotIssued(Box<IssueError>),
    /// A document could not be created.
    #[error(transparent)]
    Document(#[from] SignError),
}
