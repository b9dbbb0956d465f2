//! Why an answer is no contact.

use std::time::Duration;

use super::transport_failure::TransportFailure;
use crate::document::DocumentError;
use crate::foreign_text;

/// Why a response counts as no contact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoContact {
    /// There was no complete response.
    #[error(transparent)]
    Transport(#[from] TransportFailure),
    /// The call did not prove the installation key that is bound to the machine's seat.
    #[error(
        "the License Server did not accept this call's proof of the installation key: a proxy may \
         remove or change the header DPoP or the request, or the machine's seat belongs to another \
         installation key; check the proxies first, then activate the license here again, which \
         spends a move and replaces the key"
    )]
    Unproven,
    /// 3xx: redirects are not followed.
    #[error(
        "the License Server's address redirects elsewhere (HTTP {status}); check LICENSE_API_URL and captive portals"
    )]
    Redirected {
        /// Status code.
        status: u16,
    },
    /// 401, 511 from a captive portal, or 407 from a proxy that is not in the settings.
    #[error(
        "a proxy or portal between this machine and the License Server requires a sign-in (HTTP {status}); check the proxy settings and the network"
    )]
    SignInDemanded {
        /// Status code.
        status: u16,
    },
    /// 408, 409, 425 or 429.
    #[error("the License Server is busy (HTTP {status}); this is usually temporary")]
    Busy {
        /// Status code.
        status: u16,
    },
    /// 5xx.
    #[error(
        "the License Server or a proxy returned an error (HTTP {status}); this is usually temporary"
    )]
    ServerFault {
        /// Status code.
        status: u16,
    },
    /// 408, 425, 429 or 5xx, and how long to wait.
    #[error(
        "the License Server {} (HTTP {status}) and asks the client to wait {} s before the \
         next attempt",
        if *status < 500 { "is busy" } else { "cannot answer now" },
        retry_after.as_secs()
    )]
    Later {
        /// Status code.
        status: u16,
        /// How long to wait, according to the response.
        retry_after: Duration,
    },
    /// The body is not JSON: an HTML page, or nothing.
    #[error(
        "the response is not from a License Server (HTTP {status}, not JSON); check \
         LICENSE_API_URL{}",
        // Web servers answer a request without TLS on a port for TLS like this.
        if *status == 400 { ": it may have to begin with https://" } else { " and captive portals" }
    )]
    NotJson {
        /// Status code.
        status: u16,
    },
    /// JSON, but not in an accepted form.
    #[error(
        "the response is not from a License Server (HTTP {status}, {what}); check LICENSE_API_URL"
    )]
    Unexpected {
        /// Status code.
        status: u16,
        /// What is missing.
        what: &'static str,
    },
    /// Keys are trusted, but the response has no signature.
    #[error(
        "the License Server does not sign its responses, but trusted keys are configured; use a \
         server that signs, or remove LICENSE_TRUSTED_KEYS"
    )]
    ServerDoesNotSign,
    /// A document that failed verification.
    #[error("the response is not genuine: {0}")]
    NotGenuine(#[from] DocumentError),
    /// A genuine document that does not answer this request.
    #[error("the response is not meant for this request: {0}")]
    NotForUs(#[from] Mismatch),
}

/// How a genuine document fails to answer the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The nonce of another request: a replayed response.
    #[error("it answers a different request (wrong nonce)")]
    Nonce,
    /// No nonce: the License Server did not receive it, or the response to a request without one
    /// was replayed.
    #[error(
        "it has no nonce. Something between this machine and the License Server has probably removed \
         the request header X-License-Nonce: have proxies pass on all request headers whose names \
         begin with X-License-"
    )]
    NoNonce,
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
    /// The response to a call with another add-on key or trial code, or with none.
    #[error("it is for another add-on key or trial code")]
    Code,
    /// The response to another call: the request was changed in transit.
    #[error("it answers a different call ({answered} instead of {asked})")]
    Question {
        /// The call that was made.
        asked: &'static str,
        /// The call that the document names; `unnamed` if it names none.
        answered: &'static str,
    },
    /// A lease for a site without internet, which can only be requested by file.
    #[error("it belongs to a license file")]
    ByFile,
    /// Not newer than what is already known.
    #[error("its sequence number {found} is not greater than {newest}")]
    Sequence {
        /// What the document says.
        found: u64,
        /// The highest seen.
        newest: u64,
    },
}

impl NoContact {
    /// The same with `license_key` masked in any form.
    pub(super) fn without_key(self, license_key: &str) -> Self {
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
            Self::SignInDemanded { .. } | Self::Transport(TransportFailure::ProxySignIn { .. }) => {
                "proxy_sign_in"
            }
            Self::Busy { .. } | Self::Later { status: ..500, .. } => "server_busy",
            Self::ServerFault { .. } | Self::Later { .. } => "server_fault",
            Self::Unproven => "unproven",
            Self::ServerDoesNotSign => "server_does_not_sign",
            Self::NotGenuine(_) => "not_genuine",
            Self::NotForUs(_) => "not_for_us",
        }
    }

    /// Whether the License Server signs with a key that is not known here: a newer key set may
    /// allow that key.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        matches!(self, Self::NotGenuine(DocumentError::UnknownKeyId(_)))
    }

    /// How long the response asks to wait, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Whether this may be tampering, and belongs in the security log.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotGenuine(_) | Self::NotForUs(_))
    }
}
