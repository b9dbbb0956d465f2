//! Errors when a gate is started, and while it follows a License Client.

use std::net::SocketAddr;

/// Why a gate cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The address is invalid. It is not shown, because it may contain a password.
    #[error(
        "not the address of a License Client, which looks like http://license-client:8010 ({why})"
    )]
    #[non_exhaustive]
    Address {
        /// What is wrong with the address.
        why: String,
    },
    /// The keys are not trusted.
    #[error("invalid keys: {0}")]
    Keys(String),
    /// A certificate or private key is not PEM, or is invalid.
    #[error("cannot use the {what}: {why}")]
    #[non_exhaustive]
    Certificate {
        /// Which certificate or key.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP client cannot be created.
    #[error("cannot create an HTTP client: {0}")]
    Http(String),
    /// Keys are pointless if everything is allowed without contact.
    #[error("WithoutContact::Allow cannot be combined with keys; remove one of them")]
    Contradiction,
    /// The operating system did not start the thread that follows the License Client.
    #[error("cannot start the thread that follows the License Client: {0}")]
    Thread(String),
}

/// Why there is no contact with the License Client, or why it is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// The connection failed.
    #[error("connection failed: {0}")]
    Connection(String),
    /// A program of another user listens where the token would be sent.
    #[error(
        "a program run by the user with id {user} is listening on {address}: the token was not \
         sent. Stop that program; or, if it is the License Client, trust its user with \
         GateBuilder::listener_user"
    )]
    #[non_exhaustive]
    ForeignListener {
        /// The address.
        address: SocketAddr,
        /// The user's id.
        user: u32,
    },
    /// Signed licenses are sent only to trusted callers, or the token is wrong.
    #[error(
        "the License Client does not trust this gateway (401): add its network to the License \
         Client's TRUSTED_NETWORKS, or give the gate the ADMIN_TOKEN"
    )]
    Untrusted,
    /// The responder is not a License Client, or is overloaded.
    #[error("the response has status {0}, expected 200; is this the address of a License Client?")]
    Status(u16),
    /// The connection failed after it was established.
    #[error("the connection broke: {0}")]
    Interrupted(String),
    /// The License Client closed the connection.
    #[error("the License Client closed the connection")]
    Ended,
    /// The License Client sent no data within the idle timeout.
    #[error("the License Client sent nothing within the idle timeout")]
    Silent,
    /// An event exceeds the maximum size.
    #[error("an event from the License Client exceeds {max_bytes} bytes")]
    #[non_exhaustive]
    TooLong {
        /// The maximum size.
        max_bytes: usize,
    },
    /// An event is malformed.
    #[error("cannot read an event from the License Client; is it version 2 or later? {0}")]
    Unreadable(String),
    /// The announcement is not signed by the gate's keys. There is contact, but licensed
    /// features are off.
    #[error("the License Client is not trusted: {0}")]
    NotProven(String),
    /// The thread that follows the License Client is not running: the process was forked
    /// after the gate was started, or the thread has ended.
    #[error(
        "the thread that follows the License Client is not running; start the gate after forking"
    )]
    Stopped,
}
