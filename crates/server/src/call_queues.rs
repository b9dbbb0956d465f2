//! Decides which calls from sites are processed and which wait, before any of them requests a
//! database connection.
//!
//! Calls about one license are processed one at a time, because they would wait for the same row.
//! Machines that are not known to hold a seat wait in a separate queue, from which one at a time
//! waits for the license: regardless of their number, they do not delay the holders of seats. Keys
//! that are not known to be valid share a few turns, regardless of the number of callers. So none
//! of these calls delays those about another license.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use license_core::license_key::LicenseKey;
use license_service::turns::{QueueBounds, QueueFull, Turn, Turns};

/// Calls about one license. All seats of a large one may call at the same time, as after
/// a power failure.
const LICENSE_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 1,
    max_waiting: 256,
    timeout: Duration::from_secs(5),
};
/// Calls with keys that are not known to be valid, from addresses that have not failed too
/// often. After a start that is every key.
const UNKNOWN_KEY_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 3,
    max_waiting: 256,
    timeout: Duration::from_secs(2),
};
/// The same from addresses that have failed too often.
const FAILING_ADDRESS_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 2,
    max_waiting: 64,
    timeout: Duration::from_secs(2),
};
/// Maximum number of keys that are known to be valid, and of machines that hold a seat; about
/// 4 MB each.
const MAX_KNOWN: usize = 200_000;

/// The queues of this process.
#[derive(Debug)]
pub struct CallQueues {
    of_license: Turns,
    of_other_machines: Turns,
    of_unknown_keys: Turns,
    of_failing_addresses: Turns,
    known_keys: Known,
    /// Keys with the machines that hold a seat of the license.
    known_machines: Known,
}

/// A call's turn, until it is dropped.
#[derive(Debug)]
pub struct CallTurn {
    turn: Turn,
    /// The turn of a machine that is not known to hold a seat.
    _of_other_machines: Option<Turn>,
    is_of_license: bool,
}

impl Default for CallQueues {
    fn default() -> Self {
        Self::within(LICENSE_BOUNDS, UNKNOWN_KEY_BOUNDS, FAILING_ADDRESS_BOUNDS)
    }
}

impl CallQueues {
    fn within(license: QueueBounds, unknown_key: QueueBounds, address: QueueBounds) -> Self {
        Self {
            of_license: Turns::new(license),
            of_other_machines: Turns::new(license),
            of_unknown_keys: Turns::new(unknown_key),
            of_failing_addresses: Turns::new(address),
            known_keys: Known::default(),
            known_machines: Known::default(),
        }
    }

    /// Waits for the turn of a call with this key from this machine; the last argument says whether
    /// the address has failed too often. For a key that is known to be valid, the address is
    /// irrelevant.
    ///
    /// # Errors
    /// If too many calls are waiting.
    pub async fn enter(
        &self,
        key: &LicenseKey,
        hardware_id: &str,
        is_address_failing: bool,
    ) -> Result<CallTurn, QueueFull> {
        if self.known_keys.contain(key.as_str()) {
            let holds_seat = self.known_machines.contain(&(key.as_str(), hardware_id));
            return self.of_license(key, holds_seat).await;
        }
        Ok(CallTurn {
            turn: self.enter_without_license(is_address_failing).await?,
            _of_other_machines: None,
            is_of_license: false,
        })
    }

    /// Waits for the turn of a call that names no license. It shares the turns of unknown keys.
    ///
    /// # Errors
    /// If too many calls are waiting.
    pub async fn enter_without_license(&self, is_address_failing: bool) -> Result<Turn, QueueFull> {
        let turns = match is_address_failing {
            true => &self.of_failing_addresses,
            false => &self.of_unknown_keys,
        };
        turns.take(&()).await
    }

    /// The key is valid, and the machine holds a seat or not: the call moves to the queue of its
    /// license.
    ///
    /// # Errors
    /// If too many calls are waiting.
    pub async fn found(
        &self,
        key: &LicenseKey,
        hardware_id: &str,
        holds_seat: bool,
        turn: CallTurn,
    ) -> Result<CallTurn, QueueFull> {
        let machine = (key.as_str(), hardware_id);
        match holds_seat {
            true => self.known_machines.add(&machine),
            false => self.known_machines.remove(&machine),
        }
        if turn.is_of_license {
            return Ok(turn);
        }
        self.known_keys.add(key.as_str());
        drop(turn.turn);
        self.of_license(key, holds_seat).await
    }

    async fn of_license(&self, key: &LicenseKey, holds_seat: bool) -> Result<CallTurn, QueueFull> {
        let of_other_machines = match holds_seat {
            true => None,
            false => Some(self.of_other_machines.take(key.as_str()).await?),
        };
        Ok(CallTurn {
            turn: self.of_license.take(key.as_str()).await?,
            _of_other_machines: of_other_machines,
            is_of_license: true,
        })
    }
}

/// Entries that were found in the database, stored as hashes with a random seed: keys of licenses,
/// which are never removed, and machines that held a seat.
#[derive(Debug, Default)]
struct Known {
    hasher: RandomState,
    found: Mutex<HashSet<u64>>,
}

impl Known {
    fn contain(&self, what: &(impl Hash + ?Sized)) -> bool {
        self.lock().contains(&self.hasher.hash_one(what))
    }

    /// When the set is full, it is cleared: callers that call again are found again.
    fn add(&self, what: &(impl Hash + ?Sized)) {
        let what = self.hasher.hash_one(what);
        let mut found = self.lock();
        if found.len() >= MAX_KNOWN && !found.contains(&what) {
            found.clear();
        }
        found.insert(what);
    }

    fn remove(&self, what: &(impl Hash + ?Sized)) {
        self.lock().remove(&self.hasher.hash_one(what));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::poll;

    use super::*;

    fn key(number: u8) -> LicenseKey {
        LicenseKey::from_random(&[number; 15]).unwrap()
    }

    fn queues() -> CallQueues {
        let bounds = |at_a_time| QueueBounds {
            at_a_time,
            max_waiting: 10,
            timeout: Duration::ZERO,
        };
        CallQueues::within(bounds(1), bounds(3), bounds(2))
    }

    #[tokio::test]
    async fn slow_look_ups_hold_up_no_known_key_and_no_other_kind() {
        let queues = queues();
        let turn = queues.enter(&key(1), "machine", false).await.unwrap();
        drop(queues.found(&key(1), "machine", true, turn).await.unwrap());
        let mut slow = Vec::new();
        for (is_failing, turns) in [(true, 2), (false, 3)] {
            for number in 0..turns {
                slow.push(
                    queues
                        .enter(&key(10 + number), "machine", is_failing)
                        .await
                        .unwrap(),
                );
            }
            let late = queues.enter(&key(20), "machine", is_failing).await;
            assert_eq!(late.unwrap_err(), QueueFull);
        }
        assert!(queues.enter(&key(1), "machine", true).await.is_ok());
        slow.pop();
        assert!(queues.enter(&key(20), "machine", false).await.is_ok());
    }

    #[tokio::test]
    async fn calls_of_one_license_take_turns_however_they_came() {
        let queues = queues();
        let new = queues.enter(&key(1), "machine", false).await.unwrap();
        let newer = queues.enter(&key(1), "machine", false).await.unwrap();
        let turn = queues.found(&key(1), "machine", true, new).await.unwrap();
        assert_eq!(
            queues
                .found(&key(1), "machine", true, newer)
                .await
                .unwrap_err(),
            QueueFull,
            "two work on one license"
        );
        assert_eq!(
            queues.enter(&key(1), "machine", false).await.unwrap_err(),
            QueueFull
        );
        let other = queues.enter(&key(2), "machine", false).await.unwrap();
        assert!(queues.found(&key(2), "machine", true, other).await.is_ok());
        let turn = queues.found(&key(1), "machine", true, turn).await.unwrap();
        drop(turn);
        assert!(queues.enter(&key(1), "machine", false).await.is_ok());
    }

    #[tokio::test]
    async fn machines_without_a_seat_wait_apart_from_those_that_hold_one() {
        let bounds = QueueBounds {
            at_a_time: 1,
            max_waiting: 10,
            timeout: Duration::from_secs(60),
        };
        let queues = CallQueues::within(bounds, bounds, bounds);
        let turn = queues.enter(&key(1), "holder", false).await.unwrap();
        let turn = queues.found(&key(1), "holder", true, turn).await.unwrap();
        // One of the others waits for the license, and ten wait behind it.
        let (first, second) = (key(1), key(1));
        let mut others: Vec<_> = (0..11)
            .map(|number| {
                let (queues, key, machine) = (&queues, &first, format!("other {number}"));
                Box::pin(async move { queues.enter(key, &machine, false).await })
            })
            .collect();
        for other in &mut others {
            assert!(poll!(other).is_pending());
        }
        let refused = queues.enter(&key(1), "other 11", false).await;
        assert_eq!(refused.unwrap_err(), QueueFull);
        let mut holder = Box::pin(queues.enter(&second, "holder", false));
        assert!(
            poll!(&mut holder).is_pending(),
            "calls of one license take turns"
        );
        drop(turn);
        let Poll::Ready(Ok(other)) = poll!(&mut others[0]) else {
            panic!("the first of them came before the holder");
        };
        assert!(poll!(&mut holder).is_pending());
        let other = queues
            .found(&key(1), "other 0", false, other)
            .await
            .unwrap();
        drop(other);
        assert!(poll!(&mut others[1]).is_pending());
        let turn = holder.await.unwrap();
        // A seat that was freed makes it one of the others.
        drop(queues.found(&key(1), "holder", false, turn).await.unwrap());
        let mut last = Box::pin(queues.enter(&second, "other 12", false));
        assert!(poll!(&mut last).is_pending());
        let late = queues.enter(&second, "holder", false).await;
        assert_eq!(late.unwrap_err(), QueueFull);
    }
}
