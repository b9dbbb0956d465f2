//! What this process has seen of the proofs of other processes. A command forgets what it has
//! committed when it ends, and so does a server that stops or fails; the running servers remember
//! it.
//!
//! The token of a row only grows. If a row is missing or has a smaller token than before, the
//! database has lost what the other process has committed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::commit_proofs::Model;

/// The rows of other processes, by id, as they were last seen.
#[derive(Debug, Default)]
pub struct OtherProofs(Mutex<HashMap<i64, Model>>);

impl OtherProofs {
    /// What the database has to have of the rows that were written since this number; older ones
    /// are forgotten. Look the rows up after this.
    #[must_use]
    pub fn expected(&self, since: u64) -> Vec<Model> {
        let mut seen = self.lock();
        seen.retain(|_, row| row.number() >= since);
        seen.values().cloned().collect()
    }

    /// Compares what was `expected` with all rows of other processes that were `found`, and
    /// remembers these. Returns the number of the oldest row that the database has lost.
    #[must_use]
    pub fn compare<'a>(
        &self,
        expected: &[Model],
        found: impl Iterator<Item = &'a Model>,
    ) -> Option<u64> {
        let found: HashMap<i64, &Model> = found.map(|row| (row.id, row)).collect();
        let has = |row: &Model| found.get(&row.id).is_some_and(|it| it.token >= row.token);
        let lost: Vec<&Model> = expected.iter().filter(|row| !has(row)).collect();
        let mut seen = self.lock();
        for row in &lost {
            if seen.get(&row.id) == Some(row) {
                seen.remove(&row.id);
            }
        }
        for (id, row) in found {
            // Another comparison may have seen a newer token in the meantime.
            if seen.get(&id).is_none_or(|it| it.token < row.token) {
                seen.insert(id, row.clone());
            }
        }
        lost.iter().map(|row| row.number()).min()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Model>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, token: i64, number: i64) -> Model {
        Model { id, token, number }
    }

    fn look(proofs: &OtherProofs, found: &[Model]) -> Option<u64> {
        proofs.compare(&proofs.expected(100), found.iter())
    }

    #[test]
    fn rows_that_are_missing_or_go_back_are_lost_one_time() {
        let proofs = OtherProofs::default();
        let (older, newer) = ([row(1, 5, 200)], [row(1, 6, 300), row(2, 1, 250)]);
        assert_eq!(look(&proofs, &older), None);
        assert_eq!(look(&proofs, &newer), None);
        assert_eq!(look(&proofs, &older), Some(250));
        assert_eq!(look(&proofs, &older), None);
        // The clock of the other process was set back.
        assert_eq!(look(&proofs, &[row(1, 7, 150)]), None);
        assert_eq!(look(&proofs, &[]), Some(150));
        assert_eq!(look(&proofs, &[]), None);
    }

    #[test]
    fn old_rows_may_be_removed() {
        let proofs = OtherProofs::default();
        assert_eq!(look(&proofs, &[row(1, 5, 99), row(2, 5, 100)]), None);
        assert_eq!(look(&proofs, &[row(2, 5, 100)]), None);
        assert_eq!(look(&proofs, &[]), Some(100));
    }

    #[test]
    fn what_is_seen_during_a_look_up_is_not_lost() {
        let proofs = OtherProofs::default();
        let (older, newer) = ([row(1, 5, 200)], [row(1, 6, 300)]);
        assert_eq!(look(&proofs, &older), None);
        let expected = proofs.expected(100);
        assert_eq!(look(&proofs, &newer), None);
        assert_eq!(proofs.compare(&expected, older.iter()), None);
        assert_eq!(look(&proofs, &newer), None);
        assert_eq!(look(&proofs, &older), Some(300));
    }
}
