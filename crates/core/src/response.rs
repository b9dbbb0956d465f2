//! What a response from the License Server means: confirmed, denied, or no contact at all.
//!
//! This distinction is central to the service. A proxy's error page, a captive portal or a forged
//! document never denies a license: anything that is not a well-formed response is no contact, and
//! the grace period applies.

mod address;
mod each_call;
mod no_contact;
mod previewed;
mod transport_failure;
mod well_formed;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::document::{VerifiedDenial, VerifiedLicense};
use crate::keyring::Keyring;
use crate::lease::Lease;
use crate::license::License;

pub(crate) use address::Address;
pub use each_call::{KeySetsAnswer, Request, key_sets};
pub use no_contact::{Mismatch, NoContact};
pub use previewed::{Unpreviewed, previewed};
pub use transport_failure::TransportFailure;

/// Which responses are trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// No keys are known: responses from the License Server are trusted over TLS, as in version
    /// 1.0.0.
    Unsigned,
    /// Only responses signed by one of these keys are trusted.
    Keys(Keyring),
}

/// What was sent with a request; a signed response has to match all of it.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// `X-License-Nonce` of this request.
    pub nonce: &'a str,
    /// The key that was sent.
    pub license_key: &'a str,
    /// The fingerprint of the add-on key or the trial code that was sent ([`Request::code`]).
    pub code_hash: Option<&'a str>,
    /// This installation.
    pub installation_id: &'a str,
    /// This machine.
    pub hardware_id: &'a str,
    /// The highest sequence number seen for this license.
    pub newest_seq: Option<u64>,
}

/// What came back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A complete HTTP response.
    Answer {
        /// Status code.
        status: u16,
        /// Body, of any kind.
        body: Vec<u8>,
    },
    /// An HTTP response that asks to wait; [`Reply::of`] says which responses can.
    Later {
        /// Status code.
        status: u16,
        /// How long to wait, according to the response.
        retry_after: Duration,
    },
    /// The License Server asks for another proof of the installation key than was sent, or for one.
    Unproven,
    /// No complete response.
    Failure(TransportFailure),
}

impl Reply {
    /// A complete HTTP response, and how long it asks to wait, if it does. Only responses that can
    /// mean "later" can ask to wait (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn of(status: u16, body: Vec<u8>, retry_after: Option<Duration>) -> Self {
        match (status, retry_after) {
            (408 | 425 | 429 | 500..=510 | 512.., Some(retry_after)) => Self::Later {
                status,
                retry_after,
            },
            _ => Self::Answer { status, body },
        }
    }
}

/// The result of a call.
#[derive(Clone, Debug)]
pub enum Contact<Y = Confirmation> {
    /// A well-formed confirmation.
    Confirmed(Y),
    /// A well-formed denial.
    Denied(Denial),
    /// Anything else.
    None(NoContact),
}

/// When a document was signed, and the version of the License Server's newest
/// key set.
pub type Proof = (DateTime<Utc>, Option<u64>);

/// A confirmation that may prove something.
pub trait Proven {
    /// What it proves; `None` where nothing is signed.
    fn proof(&self) -> Option<Proof>;
}

/// The confirmation of an activation or a validation.
#[derive(Clone, Debug)]
pub struct Confirmation {
    license: ConfirmedLicense,
    /// `gracePeriodActive` of the response.
    pub server_in_grace: bool,
}

#[derive(Clone, Debug)]
enum ConfirmedLicense {
    Signed(Box<VerifiedLicense>),
    Unsigned(License),
    /// The cached license: the response does not repeat it.
    Cached,
}

/// The confirmation of a deactivation: the seat is free. Signed if keys are trusted.
#[derive(Clone, Debug)]
pub struct Receipt(Option<Box<VerifiedDenial>>);

/// The confirmation that an add-on key was redeemed. The next validation brings what it grants.
#[derive(Clone, Debug)]
pub struct Redeemed {
    /// The number of the license's amendment that the key became.
    pub amendment: u32,
    receipt: Receipt,
}

/// The confirmation of a heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgement;

/// A well-formed denial.
#[derive(Clone, Debug)]
pub enum Denial {
    /// Signed by a trusted key: it takes effect immediately.
    Signed(Box<VerifiedDenial>),
    /// In unsigned mode: it starts the grace period.
    Unsigned(Refusal),
}

/// The message of a denial for which the License Server gives none.
pub const DENIED_MESSAGE: &str = "The License Server denied the license";

/// A denial in the License Server's wording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Option<String>,
    message: Option<String>,
    signature: Option<String>,
}

impl<Y: Proven> Contact<Y> {
    /// What a signed response to our own request proves.
    #[must_use]
    pub fn proof(&self) -> Option<Proof> {
        match self {
            Self::Confirmed(yes) => yes.proof(),
            Self::Denied(Denial::Signed(document)) => Some(document.proof()),
            Self::Denied(Denial::Unsigned(_)) | Self::None(_) => None,
        }
    }
}

impl VerifiedDenial {
    fn proof(&self) -> Proof {
        (self.claims().iat, self.claims().key_set)
    }
}

impl Proven for Confirmation {
    fn proof(&self) -> Option<Proof> {
        match &self.license {
            ConfirmedLicense::Signed(document) => {
                Some((document.claims().iat, document.claims().key_set))
            }
            ConfirmedLicense::Unsigned(_) | ConfirmedLicense::Cached => None,
        }
    }
}

impl Proven for Receipt {
    fn proof(&self) -> Option<Proof> {
        self.0.as_ref().map(|document| document.proof())
    }
}

impl Proven for Redeemed {
    fn proof(&self) -> Option<Proof> {
        self.receipt.proof()
    }
}

impl Redeemed {
    /// What the License Server says about it, if it signs.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let document = self.receipt.0.as_ref();
        document.map(|document| document.claims().message.as_str())
    }
}

impl Proven for Acknowledgement {
    fn proof(&self) -> Option<Proof> {
        None
    }
}

impl Confirmation {
    /// The license key, if the response repeats the license.
    #[must_use]
    pub fn license_key(&self) -> Option<&str> {
        match &self.license {
            ConfirmedLicense::Signed(document) => Some(document.license_key()),
            ConfirmedLicense::Unsigned(license) => license.license_key(),
            ConfirmedLicense::Cached => None,
        }
    }

    /// The lease that results from the response to a call about `license_key`. An unsigned one is
    /// valid for `unsigned_validity` from `now`. `None` if the response to a validation confirms
    /// the cached license without repeating it, as version 1.0.0 accepted.
    #[must_use]
    pub fn lease(
        &self,
        license_key: &str,
        now: DateTime<Utc>,
        unsigned_validity: TimeDelta,
    ) -> Option<Lease> {
        match &self.license {
            ConfirmedLicense::Signed(document) => Some(Lease::Signed(document.clone())),
            ConfirmedLicense::Unsigned(license) => Some(Lease::Unsigned {
                license_key: license_key.to_owned(),
                license: license.clone(),
                valid_until: now + unsigned_validity,
            }),
            ConfirmedLicense::Cached => None,
        }
    }
}

impl Denial {
    /// A short code for programs.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Signed(document) => document.claims().reason.as_str(),
            Self::Unsigned(refusal) => refusal.reason(),
        }
    }

    /// The License Server's message, if it has one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Signed(document) => Some(&document.claims().message),
            Self::Unsigned(refusal) => refusal.message.as_deref(),
        }
    }
}

impl Refusal {
    /// A short code that programs can compare; `denied` if the License Server gives none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("denied")
    }

    /// A message for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(DENIED_MESSAGE)
    }
}
