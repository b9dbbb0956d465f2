//! What could not be stored and waits for the database to come back.

use serde::{Deserialize, Serialize};

use super::{Knowledge, lock};
use crate::store::local_license_validation_attempts::Attempt;

/// Maximum number of pending lines for the log of attempts.
const MAX_ATTEMPTS: usize = 1000;

/// What the database does not have, kept in memory and in the local copy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unwritten {
    /// The evidence in memory is newer than what is stored.
    pub evidence: bool,
    /// The time of the last heartbeat.
    pub heartbeat: bool,
    /// What services have reported.
    pub usage: bool,
    /// Lines for the log of attempts.
    pub attempts: Vec<Attempt>,
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        !self.evidence && !self.heartbeat && !self.usage && self.attempts.is_empty()
    }

    /// Removes what was written in the meantime. More changes may have been added since.
    pub(super) fn remove(&mut self, written: &Self) {
        self.evidence = false;
        self.heartbeat &= !written.heartbeat;
        self.usage &= !written.usage;
        let lines = written.attempts.len().min(self.attempts.len());
        self.attempts.drain(..lines);
    }
}

impl Knowledge {
    /// Whether changes wait for the database.
    #[must_use]
    pub fn has_unwritten(&self) -> bool {
        !lock(&self.unwritten).is_empty()
    }

    pub(super) fn unwritten(&self) -> Unwritten {
        lock(&self.unwritten).clone()
    }

    /// Updates the changes that are pending for the database. If there are too many log lines, the
    /// oldest are dropped.
    pub(super) fn note_unwritten(&self, note: impl FnOnce(&mut Unwritten)) {
        let mut unwritten = lock(&self.unwritten);
        note(&mut unwritten);
        let too_many = unwritten.attempts.len().saturating_sub(MAX_ATTEMPTS);
        unwritten.attempts.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::store::local_license_validation_attempts::AttemptResult;

    fn line(license_key: &str) -> Attempt {
        Attempt {
            at: DateTime::UNIX_EPOCH,
            license_key: license_key.to_owned(),
            result: AttemptResult::Failed,
            error_message: None,
        }
    }

    #[test]
    fn what_came_while_the_rest_was_written_still_waits() {
        let written = Unwritten {
            evidence: true,
            heartbeat: false,
            usage: true,
            attempts: vec![line("first")],
        };
        let mut unwritten = Unwritten {
            heartbeat: true,
            attempts: vec![line("first"), line("second")],
            ..written.clone()
        };
        unwritten.remove(&written);
        assert!(unwritten.heartbeat && !unwritten.evidence && !unwritten.usage);
        let keys: Vec<&str> = unwritten
            .attempts
            .iter()
            .map(|it| &*it.license_key)
            .collect();
        assert_eq!(keys, ["second"]);
    }
}
