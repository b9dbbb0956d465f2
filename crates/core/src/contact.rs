//! What an answer from the License Server means: confirmed, denied, or no
//! contact at all.
//!
//! This distinction is central to the service. A proxy's error page, a captive portal or a forged
//! document never denies a license: anything that is not a well-formed answer is no contact, and
//! the grace period applies.

mod address;
mod body;
mod judge;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::document::{DocumentError, VerifiedDenial, VerifiedLicense};
use crate::foreign_text;
use crate::keyring::Keyring;
use crate::lease::Lease;
use crate::license::License;

pub(crate) use address::Address;
pub use judge::{KeySetsAnswer, Request, key_sets};

/// Whose word counts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// No keys are known: the License Server's word over TLS, as version
    /// 1.0.0 took it.
    Unsigned,
    /// Only what one of these keys has signed.
    Keys(Keyring),
}

/// What was sent with a request; a signed answer has to fit all of it.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// `X-License-Nonce` of this request.
    pub nonce: &'a str,
    /// The key that was sent.
    pub license_key: &'a str,
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
    /// An HTTP answer, read to its end.
    Answer {
        /// Status code.
        status: u16,
        /// Body, of any kind.
        body: Vec<u8>,
    },
    /// An HTTP answer that asks to wait; [`Reply::of`] says which ones can.
    Later {
        /// Status code.
        status: u16,
        /// How long to wait, as the answer says.
        retry_after: Duration,
    },
    /// No complete answer.
    Failure(TransportFailure),
}

impl Reply {
    /// An HTTP answer, read to its end, and how long it asks to wait, if it does.
    /// Only answers that can mean "later" can ask to wait (RFC 9110, section
    /// 10.2.3).
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

/// Why there was no complete answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// Name resolution, routing, connecting or reading failed.
    #[error(
        "the License Server cannot be reached ({detail}); check the network and LICENSE_API_URL"
    )]
    Unreachable {
        /// The innermost cause.
        detail: String,
    },
    /// The server's certificate is not accepted, or the server offers no TLS that is supported.
    #[error("no TLS connection to the License Server: {detail}")]
    Tls {
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The head of the answer is too large or malformed.
    #[error(
        "the License Server's answer cannot be read ({detail}); check LICENSE_API_URL and proxies"
    )]
    MalformedHead {
        /// What is wrong.
        detail: String,
    },
    /// The time allowed has passed.
    #[error(
        "the License Server did not answer within {seconds} s; check the network or raise LICENSE_API_TIMEOUT"
    )]
    TimedOut {
        /// The time allowed.
        seconds: u64,
    },
    /// The answer is longer than any real one.
    #[error(
        "the answer is longer than {limit} bytes; something other than the License Server is answering"
    )]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl TransportFailure {
    /// The same with its detail changed.
    fn map_detail(mut self, change: impl FnOnce(String) -> String) -> Self {
        match &mut self {
            Self::Unreachable { detail }
            | Self::Tls { detail }
            | Self::MalformedHead { detail } => *detail = change(std::mem::take(detail)),
            Self::TimedOut { .. } | Self::TooLong { .. } => {}
        }
        self
    }
}

/// What a call came to.
#[derive(Clone, Debug)]
pub enum Contact<Y = Confirmation> {
    /// A well-formed yes.
    Confirmed(Y),
    /// A well-formed no.
    Denied(Denial),
    /// Anything else.
    None(NoContact),
}

/// When a document was signed, and the version of the License Server's newest
/// key set.
pub type Proof = (DateTime<Utc>, Option<u64>);

/// A yes that may prove something.
pub trait Proven {
    /// What it proves; `None` where nothing is signed.
    fn proof(&self) -> Option<Proof>;
}

/// The yes to an activation or a validation.
#[derive(Clone, Debug)]
pub struct Confirmation {
    license: ConfirmedLicense,
    /// `gracePeriodActive` of the answer.
    pub server_in_grace: bool,
}

#[derive(Clone, Debug)]
enum ConfirmedLicense {
    Signed(Box<VerifiedLicense>),
    Unsigned(License),
    /// The one that is cached: the answer does not repeat it.
    Cached,
}

/// The yes to a deactivation: the seat is free. Signed where keys are trusted.
#[derive(Clone, Debug)]
pub struct Receipt(Option<Box<VerifiedDenial>>);

/// The yes to a heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledgement;

/// A well-formed no.
#[derive(Clone, Debug)]
pub enum Denial {
    /// Signed by a trusted key: it takes effect immediately.
    Signed(Box<VerifiedDenial>),
    /// In unsigned mode: it starts the grace period.
    Unsigned(Refusal),
}

/// A no as the License Server words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Option<String>,
    message: Option<String>,
    signature: Option<String>,
}

/// Why an answer is no contact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoContact {
    /// There was no complete answer.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
    /// 3xx: redirects are not followed.
    #[error(
        "the License Server's address redirects elsewhere (HTTP {status}); check LICENSE_API_URL and captive portals"
    )]
    Redirected {
        /// Status code.
        status: u16,
    },
    /// 401, 407, or 511 from a captive portal.
    #[error(
        "a proxy or portal between here and the License Server requires a sign-in (HTTP {status}); check HTTPS_PROXY and the network"
    )]
    SignInDemanded {
        /// Status code.
        status: u16,
    },
    /// 408, 409, 425 or 429.
    #[error("the License Server is busy (HTTP {status}); retrying later")]
    Busy {
        /// Status code.
        status: u16,
    },
    /// 5xx.
    #[error("the License Server or a proxy reports a fault (HTTP {status}); retrying later")]
    ServerFault {
        /// Status code.
        status: u16,
    },
    /// 408, 425, 429 or 5xx, and how long to wait.
    #[error(
        "the License Server is busy (HTTP {status}) and asks to wait {} s; retrying then",
        retry_after.as_secs()
    )]
    Later {
        /// Status code.
        status: u16,
        /// How long to wait, as the answer says.
        retry_after: Duration,
    },
    /// The body is not JSON: an HTML page, or nothing.
    #[error(
        "the answer is not from a License Server (HTTP {status}, not JSON); check \
         LICENSE_API_URL and captive portals"
    )]
    NotJson {
        /// Status code.
        status: u16,
    },
    /// JSON, but not of a form that counts.
    #[error(
        "the answer is not from a License Server (HTTP {status}, {what}); check LICENSE_API_URL"
    )]
    Unexpected {
        /// Status code.
        status: u16,
        /// What is missing.
        what: &'static str,
    },
    /// Keys are trusted, and the answer bears no signature.
    #[error(
        "the License Server does not sign its answers, but keys to check them are configured; use a server that signs, or remove LICENSE_TRUSTED_KEYS"
    )]
    ServerDoesNotSign,
    /// A document that cannot be believed.
    #[error("the answer is not genuine: {0}")]
    NotGenuine(#[from] DocumentError),
    /// A genuine document that does not answer this request.
    #[error("the answer is not meant for this request: {0}")]
    NotForUs(#[from] Mismatch),
}

/// How a genuine document fails to answer the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Another request's nonce, or none: a replayed answer.
    #[error("it answers another request (wrong nonce)")]
    Nonce,
    /// Another installation's document.
    #[error("it is for the installation '{found}'")]
    Installation {
        /// What the document says.
        found: String,
    },
    /// Another machine's document.
    #[error("it is for another machine")]
    Hardware,
    /// Another license's document.
    #[error("it is for another license key")]
    LicenseKey,
    /// Another question's answer: the request was changed on its way.
    #[error("it answers another call ({answered} instead of {asked})")]
    Question {
        /// The call that was made.
        asked: &'static str,
        /// The call that the document names; `unnamed` where it names none.
        answered: &'static str,
    },
    /// A lease for a site without internet, which is asked for by file.
    #[error("it is a license file's document")]
    ByFile,
    /// Not newer than what is already known.
    #[error("its sequence number {found} is not above {newest}")]
    Sequence {
        /// What the document says.
        found: u64,
        /// The highest seen.
        newest: u64,
    },
}

impl NoContact {
    /// The same with `license_key` masked in any form.
    fn without_key(self, license_key: &str) -> Self {
        let message = |text: String| foreign_text::message_about(&text, license_key);
        match self {
            Self::Transport(failure) => Self::Transport(failure.map_detail(message)),
            Self::NotGenuine(error) => Self::NotGenuine(error.without_key(license_key)),
            Self::NotForUs(Mismatch::Installation { found }) => {
                let found = foreign_text::identifier_about(&found, license_key);
                Self::NotForUs(Mismatch::Installation { found })
            }
            other => other,
        }
    }

    /// A short code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transport(
                TransportFailure::Unreachable { .. } | TransportFailure::Tls { .. },
            ) => "unreachable",
            Self::Transport(TransportFailure::TimedOut { .. }) => "timed_out",
            Self::Transport(
                TransportFailure::TooLong { .. } | TransportFailure::MalformedHead { .. },
            )
            | Self::NotJson { .. }
            | Self::Unexpected { .. } => "unexpected_answer",
            Self::Redirected { .. } => "redirected",
            Self::SignInDemanded { .. } => "proxy_sign_in",
            Self::Busy { .. } | Self::Later { status: ..500, .. } => "server_busy",
            Self::ServerFault { .. } | Self::Later { .. } => "server_fault",
            Self::ServerDoesNotSign => "server_does_not_sign",
            Self::NotGenuine(_) => "not_genuine",
            Self::NotForUs(_) => "not_for_us",
        }
    }

    /// Whether the License Server signs with a key that is not known here: its
    /// newer key sets may say that it may.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        matches!(self, Self::NotGenuine(DocumentError::UnknownKeyId(_)))
    }

    /// How long the answer asks to wait, where it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether this may be tampering, which belongs in the security log.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotGenuine(_) | Self::NotForUs(_))
    }
}

impl<Y: Proven> Contact<Y> {
    /// What a signed answer to our own question proves.
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

impl Proven for Acknowledgement {
    fn proof(&self) -> Option<Proof> {
        None
    }
}

impl Confirmation {
    /// The lease that the answer to a call about `license_key` amounts to. An unsigned one is
    /// good for `unsigned_validity` from `now`. `None` where the answer to a validation confirms
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

    /// The License Server's words, when it has any.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Signed(document) => Some(&document.claims().message),
            Self::Unsigned(refusal) => refusal.message.as_deref(),
        }
    }
}

impl Refusal {
    /// A short word that programs can compare; `denied` when the License
    /// Server gives none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or("denied")
    }

    /// Words for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message
            .as_deref()
            .unwrap_or("The License Server denied the license")
    }
}
