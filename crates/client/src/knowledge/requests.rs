//! The pending request files.
//!
//! A pending request is the right to import the file that answers it. So the requests are kept only in
//! memory and in the local copy, where users of the database cannot write: a request that was
//! dropped does not come back.

use license_core::license_key;
use license_core::offline::{Pending, Purpose};

use super::turn::Turn;
use super::{Knowledge, lock};

impl Knowledge {
    /// The requests that wait for an answer, newest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Pending> {
        lock(&self.requests).clone()
    }

    pub(super) fn set_requests(&self, requests: Vec<Pending>) {
        *lock(&self.requests) = requests;
    }

    /// Another license has taken the place of the former one: what was requested before must not
    /// undo that. A request to deactivate or to start a trial stays: the first one's answer gives
    /// nothing back, and the second one's replaces no license.
    pub(super) fn drop_requests_of_others(&self, license_key: &str) {
        let stays = |it: &Pending| {
            let is_of_it = license_key::same(&it.license_key, license_key);
            is_of_it || matches!(it.purpose, Purpose::Deactivate | Purpose::Trial)
        };
        lock(&self.requests).retain(stays);
    }
}

impl Turn<'_> {
    /// Changes the requests that wait for an answer. Returns whether they are stored, too.
    pub async fn change_requests(&self, change: impl FnOnce(&mut Vec<Pending>)) -> bool {
        change(&mut lock(&self.knowledge.requests));
        self.knowledge.write_local_copy().await
    }
}
