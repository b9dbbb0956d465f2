//! Timeouts of database operations.

use std::time::Duration;

use super::sign_in_budget;

/// Timeouts of database operations. Only tests use values other than the defaults.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a caller waiting for a connection, and for a statement waiting for a lock held by
    /// others.
    pub wait: Duration,
    /// For a connection's response to a ping, before and after it is used.
    pub ping: Duration,
    /// For one statement, including the wait for a connection.
    pub statement: Duration,
    /// For a whole transaction.
    pub transaction: Duration,
    /// For an idle transaction: the database ends it, so that a frozen or disconnected process does
    /// not block others.
    pub idle_transaction: Duration,
    /// For the check whether changes can be stored.
    pub check: Duration,
    /// A pool that has not handed out a connection for this long is replaced; and for this long, a
    /// failed change counts as a sign that other changes would fail.
    pub starved: Duration,
    /// Age at which a PostgreSQL connection is replaced, so that none remains connected to the
    /// former primary after a failover.
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

impl Timeouts {
    /// The expressions that set the timeouts of a transaction on PostgreSQL: for locks that others
    /// hold, and for a statement, which is unlimited if `statement` is `None`.
    pub(super) fn settings(&self, wait: Duration, statement: Option<Duration>) -> String {
        [
            ("idle_in_transaction_session_timeout", self.idle_transaction),
            ("lock_timeout", wait),
            // 0 is none.
            ("statement_timeout", statement.unwrap_or_default()),
        ]
        .map(|(name, timeout)| local_timeout(name, timeout))
        .join(", ")
    }
}

/// The expression that sets a timeout of PostgreSQL until the transaction ends.
pub(super) fn local_timeout(name: &str, timeout: Duration) -> String {
    let millis = timeout.as_millis();
    format!("pg_catalog.set_config('{name}', '{millis}', true)")
}
