//! Why there was no complete answer.

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
    pub(super) fn map_detail(mut self, change: impl FnOnce(String) -> String) -> Self {
        match &mut self {
            Self::Unreachable { detail }
            | Self::Tls { detail }
            | Self::MalformedHead { detail } => *detail = change(std::mem::take(detail)),
            Self::TimedOut { .. } | Self::TooLong { .. } => {}
        }
        self
    }
}
