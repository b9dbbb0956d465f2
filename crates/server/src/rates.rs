//! How often sites may call: what is left of each caller's rate, in memory.
//!
//! Each process counts for itself, so with two processes twice as many calls are
//! allowed. A restart forgets.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use license_core::protocol::Call;
use license_core::rate::{
    FAILURE_RATE, Rate, SEAT_RATE, SEATLESS_RATE, all_seatless_rate, newcomer_rate,
};
use license_service::client_address::network;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::store::callers::CallerOfLicense;

/// Callers of one kind that are kept apart; about 8 MB.
const MAX_CALLERS: usize = 200_000;
/// How often callers whose allowance is full again are forgotten at most: it takes
/// a look at all of them.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);
/// What all callers beyond [`MAX_CALLERS`] have together.
const OVERFLOW_RATE: Rate = Rate {
    burst: 1000,
    interval: Duration::from_millis(1),
};
/// The same for failures: that many networks that fail are an attack.
const FAILURE_OVERFLOW_RATE: Rate = Rate {
    burst: 100,
    interval: Duration::from_millis(10),
};

/// Keys that addresses which have failed too often look up at a time. A few, so that one
/// slow query does not make healthy sites behind the same address wait.
const MAX_LOOK_UPS: usize = 4;
/// How long a call waits for its turn.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// The rates of everybody who calls. Times are of the running process.
pub struct Rates {
    failures: Allowances,
    seats: Allowances,
    newcomers: Allowances,
    seatless: Allowances,
    seatless_of_license: Allowances,
    look_up: Semaphore,
    look_up_timeout: Duration,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            failures: Allowances::new(MAX_CALLERS, FAILURE_OVERFLOW_RATE),
            seats: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            newcomers: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            seatless: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            seatless_of_license: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            look_up: Semaphore::new(MAX_LOOK_UPS),
            look_up_timeout: LOOK_UP_TIMEOUT,
        }
    }
}

impl Rates {
    /// Counts a failure from this address.
    ///
    /// # Errors
    /// How long until one is allowed again. It is not counted then.
    pub fn fail(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        self.failures.take(&network(address), FAILURE_RATE, now)
    }

    /// Counts a failure whose answer goes out whatever came before. Beyond the rate
    /// there is nothing left to take.
    pub fn note_failure(&self, address: IpAddr, now: Duration) {
        self.fail(address, now).unwrap_or_default();
    }

    /// Counts a call about a license that exists. The address does not matter: a
    /// thousand sites may stand behind one. Machines without a seat have one rate for
    /// activations and another for everything else, so that machines whose seats were
    /// freed keep no machine from activating.
    ///
    /// # Errors
    /// How long until a call is allowed again. It is not counted then.
    pub fn call(
        &self,
        caller: &CallerOfLicense,
        hardware_id: &str,
        call: Call,
        now: Duration,
    ) -> Result<(), Duration> {
        let license_id = &caller.license_id;
        let machine = (license_id, hardware_id);
        if caller.holds_seat {
            return self.seats.take(&machine, SEAT_RATE, now);
        }
        if call == Call::Activate {
            return self.newcomer(license_id, caller.seats, now);
        }
        // One machine in a loop takes nothing from the others.
        self.seatless.take(&machine, SEATLESS_RATE, now)?;
        let rate = all_seatless_rate(caller.seats);
        self.seatless_of_license.take(license_id, rate, now)
    }

    /// Counts a machine that takes a seat of a license for so many machines, or tries to.
    ///
    /// # Errors
    /// How long until one is allowed again. It is not counted then.
    pub fn newcomer(&self, license_id: &str, seats: u32, now: Duration) -> Result<(), Duration> {
        self.newcomers.take(&license_id, newcomer_rate(seats), now)
    }

    /// Waits for a turn to look a key up, if the address has failed too often:
    /// whether the key is known decides whether it is refused, so that no license
    /// suffers from its neighbours, and all such addresses together cause
    /// `MAX_LOOK_UPS` queries at a time.
    ///
    /// # Errors
    /// How long to wait before the next try, where there was no turn within
    /// `LOOK_UP_TIMEOUT`.
    pub async fn turn_to_look_up(
        &self,
        address: IpAddr,
        now: Duration,
    ) -> Result<Option<SemaphorePermit<'_>>, Duration> {
        if self.failures.look(&network(address), FAILURE_RATE, now) {
            return Ok(None);
        }
        let turn = timeout(self.look_up_timeout, self.look_up.acquire()).await;
        // The semaphore is never closed.
        turn.map(Result::ok).map_err(|_| FAILURE_RATE.interval)
    }
}

/// What is left for callers of one kind. A caller is kept as a hash with a random
/// seed, so that its size is fixed and no one can make two collide on purpose.
struct Allowances {
    max: usize,
    overflow: Rate,
    hasher: RandomState,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// When each caller's allowance is full again.
    full_at: HashMap<u64, Duration>,
    overflow_full_at: Duration,
    pruned_at: Duration,
}

impl Allowances {
    fn new(max: usize, overflow: Rate) -> Self {
        Self {
            max,
            overflow,
            hasher: RandomState::new(),
            kept: Mutex::default(),
        }
    }

    /// Whether a call is allowed. Nothing is taken.
    fn look(&self, caller: &impl Hash, rate: Rate, now: Duration) -> bool {
        let kept = self.lock();
        let found = match kept.full_at.get(&self.hasher.hash_one(caller)) {
            Some(full_at) => rate.take(*full_at, now),
            None if kept.full_at.len() < self.max => Ok(now),
            None => self.overflow.take(kept.overflow_full_at, now),
        };
        found.is_ok()
    }

    fn take(&self, caller: &impl Hash, rate: Rate, now: Duration) -> Result<(), Duration> {
        let caller = self.hasher.hash_one(caller);
        let mut kept = self.lock();
        if let Some(full_at) = kept.full_at.get_mut(&caller) {
            *full_at = rate.take(*full_at, now)?;
            return Ok(());
        }
        kept.make_room(self.max, now);
        if kept.full_at.len() < self.max {
            let full_at = rate.take(Duration::ZERO, now)?;
            kept.full_at.insert(caller, full_at);
        } else {
            kept.overflow_full_at = self.overflow.take(kept.overflow_full_at, now)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets callers that are like callers that never called, if there is no room.
    fn make_room(&mut self, max: usize, now: Duration) {
        let is_due = now.saturating_sub(self.pruned_at) >= PRUNE_INTERVAL;
        if self.full_at.len() >= max && is_due {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.pruned_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn caller(license_id: usize, seats: u32, holds_seat: bool) -> CallerOfLicense {
        CallerOfLicense {
            license_id: license_id.to_string(),
            seats,
            holds_seat,
        }
    }

    #[test]
    fn failures_count_by_network_and_are_forgotten() {
        let rates = Rates::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = 10 * SECOND;
        for host in 0..30 {
            let address = at(&format!("2001:db8::{host:x}"));
            assert_eq!(rates.fail(address, first), Ok(()));
        }
        assert_eq!(rates.fail(at("2001:db8::ffff"), first), Err(10 * SECOND));
        assert_eq!(rates.fail(at("2001:db8:0:1::1"), first), Ok(()));
        for _ in 0..30 {
            assert_eq!(rates.fail(at("::ffff:1.2.3.4"), first), Ok(()));
        }
        assert_eq!(rates.fail(at("1.2.3.4"), first), Err(10 * SECOND));
        assert_eq!(rates.fail(at("1.2.3.5"), first), Ok(()));
        assert_eq!(rates.fail(at("1.2.3.4"), first + 10 * SECOND), Ok(()));
    }

    #[test]
    fn seats_count_apart_and_machines_without_one_together() {
        let rates = Rates::default();
        let now = SECOND;
        let call = |caller: &CallerOfLicense, hardware_id: &str| {
            rates.call(caller, hardware_id, Call::Activate, now).is_ok()
        };
        let (holder, newcomer) = (caller(1, 3, true), caller(1, 3, false));
        let calls = (0..100).filter(|_| call(&holder, "machine")).count();
        assert_eq!(calls, 20);
        assert!(call(&holder, "another machine"));
        assert!(call(&caller(2, 3, true), "machine"));
        let newcomers = (0..100).filter(|n| call(&newcomer, &n.to_string()));
        assert_eq!(newcomers.count(), 23);
        assert!(call(&caller(2, 3, false), "machine"));
        assert!(
            call(&holder, "a third machine"),
            "a seat does not wait for newcomers"
        );
        // Nor does an activation wait for machines that only validate, nor one of
        // those for another.
        let other = caller(3, 3, false);
        let validate =
            |hardware_id: &str| rates.call(&other, hardware_id, Call::Validate, now).is_ok();
        let one = (0..100).filter(|_| validate("machine")).count();
        assert_eq!(one, 20);
        let many = (0..1000).filter(|n| validate(&n.to_string())).count();
        assert_eq!(many, 203 - 20, "there is a bound for all of them");
        assert!(call(&other, "new machine"));
        assert_eq!(
            rates.call(&other, "late", Call::Validate, now + SECOND),
            Ok(())
        );
    }

    #[tokio::test]
    async fn a_slow_look_up_holds_up_no_other_and_waiting_ends() {
        let rates = Rates {
            look_up_timeout: Duration::ZERO,
            ..Rates::default()
        };
        let (address, now) = ("1.2.3.4".parse().unwrap(), SECOND);
        assert!(rates.turn_to_look_up(address, now).await.unwrap().is_none());
        for _ in 0..30 {
            rates.fail(address, now).unwrap();
        }
        let mut turns = Vec::new();
        // Three slow ones, and one that gets through beside them.
        for _ in 0..4 {
            turns.push(rates.turn_to_look_up(address, now).await.unwrap().unwrap());
        }
        let waited = rates.turn_to_look_up(address, now).await;
        assert_eq!(waited.err(), Some(FAILURE_RATE.interval));
        turns.pop();
        assert!(rates.turn_to_look_up(address, now).await.unwrap().is_some());
        let neighbour = "1.2.3.5".parse().unwrap();
        let free = rates.turn_to_look_up(neighbour, now).await;
        assert!(free.unwrap().is_none());
    }

    #[test]
    fn memory_is_bounded_and_beyond_it_callers_share_a_rate() {
        let overflow = Rate {
            burst: 5,
            interval: SECOND,
        };
        let rate = Rate {
            burst: 1,
            interval: 60 * SECOND,
        };
        let allowances = Allowances::new(100, overflow);
        let mut now = 10 * SECOND;
        let taken = |callers: std::ops::Range<u32>, now| {
            callers
                .filter(|caller| allowances.take(caller, rate, now).is_ok())
                .count()
        };
        assert_eq!(taken(0..100, now), 100);
        assert_eq!(taken(100..200, now), 5);
        assert_eq!(allowances.lock().full_at.len(), 100);
        assert!(!allowances.look(&1000, rate, now));
        // Those that are kept have their own rate still.
        assert_eq!(taken(0..100, now), 0);
        // Later they are like new ones, and make room.
        now += 60 * SECOND;
        assert_eq!(taken(200..300, now), 100);
        assert_eq!(allowances.lock().full_at.len(), 100);
        // Looking at all of them is not done for each call.
        assert_eq!(allowances.lock().pruned_at, now);
        assert_eq!(taken(300..400, now + SECOND / 2), 5);
        assert_eq!(allowances.lock().pruned_at, now);
    }
}
