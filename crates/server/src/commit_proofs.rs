//! Proofs that the database still has what this process has committed.
//!
//! Every transaction that answers a site writes the next token into a row of this process, and this
//! process remembers the token. A database that loses the transaction loses the token with it, and
//! no other history of the database can have the same one: only this process writes the row, and it
//! uses no token twice. Other servers remember the tokens that they see ([`others`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use license_service::database::Transaction;
use license_service::random;
use sea_orm::DbErr;

use crate::store::commit_proofs::Model;

pub mod others;

/// The row that is written with every record of the coverage, and with nothing else.
const RECORD: usize = 0;

/// The last token of a record: the server has stopped. It is larger than all others.
const STOPPED: i64 = i64::MAX;

/// What this process remembers. There is one row for each transaction at a time, so that
/// transactions never wait for the row of another one.
#[derive(Clone, Debug)]
pub struct CommitProofs(Arc<Mutex<Vec<Proof>>>);

#[derive(Debug)]
struct Proof {
    row: i64,
    /// How many transactions have taken the row, which is the token of the newest one.
    taken: i64,
    /// The row has one of these tokens. There are several only after a commit with an unknown
    /// outcome; without any, nothing is known about the row.
    tokens: Vec<i64>,
    /// What the transaction that has taken the row writes.
    pending: Option<i64>,
    /// How many transactions have been committed with it.
    commits: u64,
}

/// What was remembered about a row when it was looked up.
#[derive(Debug)]
pub struct Expected {
    index: usize,
    /// Which row.
    pub row: i64,
    tokens: Vec<i64>,
    commits: u64,
}

/// A row that one transaction has taken.
#[derive(Debug)]
pub struct Moved {
    proofs: CommitProofs,
    index: usize,
    /// Which row.
    pub row: i64,
    /// What the row has to have, if something is known about it.
    pub expected: Vec<i64>,
    /// What the transaction writes.
    pub token: i64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    NotTried,
    Uncertain,
    Committed,
}

impl Default for CommitProofs {
    fn default() -> Self {
        // The sign shows other processes which rows belong to records.
        let record = Proof::new(!positive_number());
        Self(Arc::new(Mutex::new(vec![record])))
    }
}

impl CommitProofs {
    /// The row that is written with the records of the coverage.
    #[must_use]
    pub fn record_row(&self) -> i64 {
        self.lock().get(RECORD).map_or(0, |proof| proof.row)
    }

    /// Takes a row for the transaction of an answer.
    #[must_use]
    pub fn take(&self) -> Moved {
        let mut proofs = self.lock();
        let mut answers = proofs.iter().skip(RECORD + 1);
        let free = answers.position(|proof| proof.pending.is_none());
        let index = free.map_or(proofs.len(), |free| RECORD + 1 + free);
        if index == proofs.len() {
            proofs.push(Proof::new(positive_number()));
        }
        self.taken(&mut proofs, index, false)
    }

    /// Takes the row for a record of the coverage, of which there is one at a time. With the last
    /// one, other processes see that this server has stopped.
    #[must_use]
    pub fn take_for_record(&self, is_last: bool) -> Moved {
        self.taken(&mut self.lock(), RECORD, is_last)
    }

    fn taken(&self, proofs: &mut [Proof], index: usize, is_last: bool) -> Moved {
        let taken = proofs.get_mut(index).map(|proof| {
            proof.taken += 1;
            let token = if is_last { STOPPED } else { proof.taken };
            proof.pending = Some(token);
            (proof.row, proof.tokens.clone(), token)
        });
        let (row, expected, token) = taken.unwrap_or_default();
        Moved {
            proofs: self.clone(),
            index,
            row,
            expected,
            token,
            outcome: Outcome::NotTried,
        }
    }

    /// Whether this process writes the row.
    #[must_use]
    pub fn has_row(&self, row: i64) -> bool {
        self.lock().iter().any(|proof| proof.row == row)
    }

    /// Whether one of these rows shows that another server is running: it has recorded the
    /// coverage since this number, and has not stopped.
    #[must_use]
    pub fn is_another_running(&self, found: &[Model], since: u64) -> bool {
        let is_running = |it: &Model| it.id < 0 && it.token < STOPPED && it.number() >= since;
        found
            .iter()
            .any(|it| is_running(it) && !self.has_row(it.id))
    }

    /// What the database has to have. Look the rows up after this.
    #[must_use]
    pub fn expected(&self) -> Vec<Expected> {
        let proofs = self.lock();
        let known = proofs.iter().enumerate();
        let known = known.filter(|(_, proof)| !proof.tokens.is_empty());
        known
            .map(|(index, proof)| Expected {
                index,
                row: proof.row,
                tokens: proof.possible(),
                commits: proof.commits,
            })
            .collect()
    }

    /// Whether the database has lost one of these. `found` has the token of each row. A row that
    /// was written in the meantime was compared by the transaction that wrote it.
    #[must_use]
    pub fn are_lost(&self, expected: &[Expected], found: &HashMap<i64, i64>) -> bool {
        let proofs = self.lock();
        expected.iter().any(|it| {
            let has = |tokens: &[i64]| found.get(&it.row).is_some_and(|at| tokens.contains(at));
            let unchanged = proofs.get(it.index).filter(|now| now.commits == it.commits);
            !has(&it.tokens) && unchanged.is_some_and(|now| !has(&now.possible()))
        })
    }

    /// A record of the coverage was committed after all of these were looked up: it proves more
    /// than the rows of answers, which are forgotten.
    pub fn forget(&self, expected: &[Expected]) {
        let mut proofs = self.lock();
        for it in expected.iter().filter(|it| it.index != RECORD) {
            if let Some(proof) = proofs.get_mut(it.index)
                && proof.pending.is_none()
                && proof.commits == it.commits
            {
                proof.tokens.clear();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Proof>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proof {
    fn new(row: i64) -> Self {
        Self {
            row,
            taken: 0,
            tokens: Vec::new(),
            pending: None,
            commits: 0,
        }
    }

    fn possible(&self) -> Vec<i64> {
        self.tokens.iter().copied().chain(self.pending).collect()
    }
}

impl Moved {
    /// Commits the transaction that wrote the token.
    ///
    /// # Errors
    /// If the database returns an error.
    pub async fn commit(mut self, transaction: Transaction) -> Result<(), DbErr> {
        self.outcome = Outcome::Uncertain;
        transaction.commit().await?;
        self.outcome = Outcome::Committed;
        Ok(())
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        let mut proofs = self.proofs.lock();
        let Some(proof) = proofs.get_mut(self.index) else {
            return;
        };
        proof.pending = None;
        match self.outcome {
            Outcome::NotTried => {}
            Outcome::Uncertain if proof.tokens.is_empty() => {}
            Outcome::Uncertain => proof.tokens.push(self.token),
            Outcome::Committed => {
                proof.tokens = vec![self.token];
                proof.commits += 1;
            }
        }
    }
}

/// A random number that no other process has.
fn positive_number() -> i64 {
    i64::from_le_bytes(random::bytes()) & i64::MAX
}

#[cfg(test)]
mod tests;
