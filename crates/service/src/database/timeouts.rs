//! How long what is done on a database may take.

use std::time::Duration;

use super::sign_in_budget;

/// How long what is done on a database may take. Only tests use other values than
/// the defaults.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A caller's wait for a connection, and a statement's for a lock that others
    /// hold.
    pub wait: Duration,
    /// A connection's answer to a ping, before it is used and after.
    pub ping: Duration,
    /// One statement, with the wait for a connection.
    pub statement: Duration,
    /// A whole transaction.
    pub transaction: Duration,
    /// A transaction that has not asked for anything: the database ends it, so that
    /// a process that is frozen or cut off blocks no other one.
    pub idle_transaction: Duration,
    /// The check whether changes can be stored.
    pub check: Duration,
    /// A pool that has not handed out a connection for so long is replaced; and for so
    /// long a change that failed counts as a sign that others would.
    pub starved: Duration,
    /// Age at which a PostgreSQL connection is replaced: after a failover, none
    /// stays at the former primary.
    pub max_age: Duration,
    /// Processor time for signing in that may be used without a pause.
    pub sign_in: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(5),
            ping: Duration::from_secs(2),
            statement: Duration::from_secs(7),
            transaction: Duration::from_secs(10),
            idle_transaction: Duration::from_secs(5),
            check: Duration::from_secs(2),
            starved: Duration::from_secs(10),
            max_age: Duration::from_secs(10 * 60),
            sign_in: sign_in_budget::DEFAULT_BURST,
        }
    }
}
