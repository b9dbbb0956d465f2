//! Which calls of sites are worked on, and which wait, before any of them asks for a
//! connection to the database.
//!
//! Calls about one license take turns, because they would wait for the same row. Keys that
//! are not known to be valid share a few turns, however many callers send them. So
//! neither keeps another license from being answered.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
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
/// The same from addresses that have.
const FAILING_ADDRESS_BOUNDS: QueueBounds = QueueBounds {
    at_a_time: 2,
    max_waiting: 64,
    timeout: Duration::from_secs(2),
};
/// Maximum number of keys that are known to be valid; about 4 MB.
const MAX_KNOWN_KEYS: usize = 200_000;

/// The queues of this process.
#[derive(Debug)]
pub struct CallQueues {
    of_license: Turns,
    of_unknown_keys: Turns,
    of_failing_addresses: Turns,
    known_keys: KnownKeys,
}

/// A call's turn, until it is dropped.
#[derive(Debug)]
pub struct CallTurn {
    turn: Turn,
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
            of_unknown_keys: Turns::new(unknown_key),
            of_failing_addresses: Turns::new(address),
            known_keys: KnownKeys::default(),
        }
    }

    /// Waits for the turn of a call with this key, from an address that has failed too
    /// often or not. For a key that is known to be valid the address does not matter.
    ///
    /// # Errors
    /// When too many are waiting.
    pub async fn enter(
        &self,
        key: &LicenseKey,
        is_address_failing: bool,
    ) -> Result<CallTurn, QueueFull> {
        if self.known_keys.contain(key) {
            return self.of_license(key).await;
        }
        let turns = match is_address_failing {
            true => &self.of_failing_addresses,
            false => &self.of_unknown_keys,
        };
        Ok(CallTurn {
            turn: turns.take(&()).await?,
            is_of_license: false,
        })
    }

    /// The key is valid: the call moves to the queue of its license.
    ///
    /// # Errors
    /// When too many are waiting.
    pub async fn found(&self, key: &LicenseKey, turn: CallTurn) -> Result<CallTurn, QueueFull> {
        if turn.is_of_license {
            return Ok(turn);
        }
        self.known_keys.add(key);
        drop(turn.turn);
        self.of_license(key).await
    }

    async fn of_license(&self, key: &LicenseKey) -> Result<CallTurn, QueueFull> {
        Ok(CallTurn {
            turn: self.of_license.take(key.as_str()).await?,
            is_of_license: true,
        })
    }
}

/// Keys for which there was a license; licenses are never removed. A key is kept as a hash
/// with a random seed.
#[derive(Debug, Default)]
struct KnownKeys {
    hasher: RandomState,
    keys: Mutex<HashSet<u64>>,
}

impl KnownKeys {
    fn contain(&self, key: &LicenseKey) -> bool {
        let key = self.hasher.hash_one(key.as_str());
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.contains(&key)
    }

    /// When it is full, all are forgotten: keys that call again are found again.
    fn add(&self, key: &LicenseKey) {
        let key = self.hasher.hash_one(key.as_str());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_KNOWN_KEYS {
            keys.clear();
        }
        keys.insert(key);
    }
}

#[cfg(test)]
mod tests {
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
        let turn = queues.enter(&key(1), false).await.unwrap();
        drop(queues.found(&key(1), turn).await.unwrap());
        let mut slow = Vec::new();
        for (is_failing, turns) in [(true, 2), (false, 3)] {
            for number in 0..turns {
                slow.push(queues.enter(&key(10 + number), is_failing).await.unwrap());
            }
            let late = queues.enter(&key(20), is_failing).await;
            assert_eq!(late.unwrap_err(), QueueFull);
        }
        assert!(queues.enter(&key(1), true).await.is_ok());
        slow.pop();
        assert!(queues.enter(&key(20), false).await.is_ok());
    }

    #[tokio::test]
    async fn calls_of_one_license_take_turns_however_they_came() {
        let queues = queues();
        let new = queues.enter(&key(1), false).await.unwrap();
        let newer = queues.enter(&key(1), false).await.unwrap();
        let turn = queues.found(&key(1), new).await.unwrap();
        assert_eq!(
            queues.found(&key(1), newer).await.unwrap_err(),
            QueueFull,
            "two work on one license"
        );
        assert_eq!(queues.enter(&key(1), false).await.unwrap_err(), QueueFull);
        let other = queues.enter(&key(2), false).await.unwrap();
        assert!(queues.found(&key(2), other).await.is_ok());
        let turn = queues.found(&key(1), turn).await.unwrap();
        drop(turn);
        assert!(queues.enter(&key(1), false).await.is_ok());
    }
}
