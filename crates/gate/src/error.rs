//! What can go wrong: when a gate is made, and while it follows a License Client.

use std::net::SocketAddr;

/// Why a gate cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The address cannot be used. It is not shown, because it may hold a password.
    #[error(
        "not the address of a License Client, which looks like http://license-client:8010 ({why})"
    )]
    #[non_exhaustive]
    Address {
        /// What is wrong with it.
        why: String,
    },
    /// The keys cannot be trusted.
    #[error("the keys of the gate: {0}")]
    Keys(String),
    /// A certificate or a private key is not PEM, or cannot be used.
    #[error("cannot use the {what}: {why}")]
    #[non_exhaustive]
    Certificate {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Http(String),
    /// Keys prove nothing while everything is let through.
    #[error("a gate with keys cannot allow everything without contact: choose one of the two")]
    Contradiction,
    /// The operating system has no thread to follow the License Client on.
    #[error("cannot start the thread that follows the License Client: {0}")]
    Thread(String),
}

/// Why there is no contact with the License Client, or why it is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContactError {
    /// The License Client cannot be reached.
    #[error("connection failed: {0}")]
    Connection(String),
    /// A program of another user listens where the token would be sent.
    #[error(
        "a program of the user with id {user} listens at {address}: the token is not sent. Stop that program; or, if it is the License Client, trust its user with GateBuilder::listener_user"
    )]
    #[non_exhaustive]
    ForeignListener {
        /// Where.
        address: SocketAddr,
        /// Who.
        user: u32,
    },
    /// Only trusted callers are sent signed licenses, or the token is wrong.
    #[error(
        "the License Client does not trust this gateway (401): add its network to TRUSTED_NETWORKS of the License Client, or give the gate the ADMIN_TOKEN"
    )]
    Untrusted,
    /// Something answers that is no License Client, or one that is overloaded.
    #[error("the response has status {0}, expected 200; is this the address of a License Client?")]
    Status(u16),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Interrupted(String),
    /// The License Client has ended the connection.
    #[error("the License Client ended the connection")]
    Ended,
    /// Nothing came for too long.
    #[error("the License Client sent nothing for too long")]
    Silent,
    /// An event is longer than any site needs.
    #[error("an event of the License Client is longer than {max_bytes} bytes")]
    #[non_exhaustive]
    TooLong {
        /// How many bytes are read at most.
        max_bytes: usize,
    },
    /// An event cannot be read.
    #[error("cannot read an event of the License Client; is it version 2 or later? {0}")]
    Unreadable(String),
    /// What the License Client says is not signed by the gate's keys. There is contact,
    /// but licensed features are off.
    #[error("the License Client is not believed: {0}")]
    NotProven(String),
    /// The thread that follows the License Client does not run: the process was forked
    /// after the gate was started, or the thread has ended.
    #[error(
        "the thread that follows the License Client does not run; start the gate after forking"
    )]
    Stopped,
}
