//! Why there was no complete answer.

/// Why there was no complete response.
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
    /// A proxy of the settings demands a sign-in (HTTP 407).
    #[error("the License Server cannot be reached: {detail}")]
    ProxySignIn {
        /// Which proxy, and what to do.
        detail: String,
    },
    /// The server's certificate is not accepted, or the server offers no TLS that is supported.
    #[error("cannot establish a TLS connection to the License Server: {detail}")]
    Tls {
        /// What is wrong, and what to do.
        detail: String,
    },
    /// The head of the response is too large or malformed.
    #[error(
        "cannot read the License Server's response ({detail}); check LICENSE_API_URL and proxies"
    )]
    MalformedHead {
        /// What is wrong.
        detail: String,
    },
    /// The timeout has expired.
    #[error(
        "the License Server did not respond within {seconds} s; check the network or raise \
         LICENSE_API_TIMEOUT"
    )]
    TimedOut {
        /// The timeout.
        seconds: u64,
    },
    /// The response is longer than any genuine one.
    #[error(
        "the response is longer than {limit} bytes; something other than the License Server may be \
         responding"
    )]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl TransportFailure {
    /// The same with its detail changed.
    pub(super) fn map_detail(mut self, change: impl FnOnce(String) -> String) -> Self {
        match &mut self {
            Self::Unreachable { detail }
            | Self::ProxySignIn { detail }
            | Self::Tls { detail }
            | Self::MalformedHead { detail } => *detail = change(std::mem::take(detail)),
            Self::TimedOut { .. } | Self::TooLong { .. } => {}
        }
        self
    }
}
