//! Rate limits of sites, and of sign-ins: the remaining allowance of each caller, in memory.
//!
//! Each process counts for itself, so with two processes twice as many calls are allowed. A restart
//! resets the counts.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use license_core::protocol::Call;
use license_core::rate::{
    FAILURE_RATE, FAILURE_RATE_OF_24, FAILURE_RATE_OF_48, FAILURE_RATE_OF_56, Rate, SEAT_RATE,
    SEATLESS_RATE, SIGN_IN_RATE, TRIAL_RATE, TRIAL_RATE_OF_NETWORK, all_seatless_rate,
    newcomer_rate,
};

use crate::store::callers::CallerOfLicense;

/// Maximum number of callers of one kind that are tracked separately; about 8 MB.
const MAX_CALLERS: usize = 200_000;
/// Minimum interval between two removals of callers whose allowance is full again: it has to check
/// all of them.
const PRUNE_INTERVAL: Duration = Duration::from_secs(1);
/// The shared rate of all callers beyond [`MAX_CALLERS`].
const OVERFLOW_RATE: Rate = Rate {
    burst: 1000,
    interval: Duration::from_millis(1),
};
/// The same for failures: failures from that many networks are an attack.
const FAILURE_OVERFLOW_RATE: Rate = Rate {
    burst: 100,
    interval: Duration::from_millis(10),
};

/// The networks for which failures count: prefix lengths of IPv4 networks …
const FAILURE_RATES_IPV4: &[(u8, Rate)] = &[(32, FAILURE_RATE), (24, FAILURE_RATE_OF_24)];
/// … and of IPv6 networks. A host has at least a /64.
const FAILURE_RATES_IPV6: &[(u8, Rate)] = &[
    (64, FAILURE_RATE),
    (56, FAILURE_RATE_OF_56),
    (48, FAILURE_RATE_OF_48),
];

/// The networks for which the trials of a code count.
const TRIAL_RATES_IPV4: &[(u8, Rate)] = &[(32, TRIAL_RATE), (24, TRIAL_RATE_OF_NETWORK)];
const TRIAL_RATES_IPV6: &[(u8, Rate)] = &[(64, TRIAL_RATE), (56, TRIAL_RATE_OF_NETWORK)];

/// The rates of all callers. Times are of the running process.
pub struct Rates {
    failures: Allowances,
    seats: Allowances,
    newcomers: Allowances,
    trials: Allowances,
    seatless: Allowances,
    seatless_of_license: Allowances,
    sign_ins: Allowances,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            failures: Allowances::new(MAX_CALLERS, FAILURE_OVERFLOW_RATE),
            seats: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            newcomers: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            trials: Allowances::new(MAX_CALLERS, FAILURE_OVERFLOW_RATE),
            seatless: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            seatless_of_license: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
            sign_ins: Allowances::new(MAX_CALLERS, OVERFLOW_RATE),
        }
    }
}

impl Rates {
    /// Counts a failure from this address, and from the networks that it is in.
    ///
    /// # Errors
    /// How long until one is allowed again. It is not counted then.
    pub fn fail(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        self.failures.take_each(&counted_networks(address), now)
    }

    /// Counts a failure whose response is sent regardless of earlier failures. Beyond the rate,
    /// nothing more is subtracted.
    pub fn note_failure(&self, address: IpAddr, now: Duration) {
        self.fail(address, now).unwrap_or_default();
    }

    /// Counts a call about a license that exists. The address does not matter: a thousand sites may
    /// stand behind one. Machines without a seat have one rate for activations and another for
    /// everything else, so that machines whose seats were freed do not prevent others from
    /// activating.
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
        // One machine in a loop does not use up the allowance of others.
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

    /// Counts a trial that this address starts with a code.
    ///
    /// # Errors
    /// How long until one is allowed again. It is not counted then.
    pub fn trial(&self, code_id: &str, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let rates = match address.to_canonical() {
            IpAddr::V4(_) => TRIAL_RATES_IPV4,
            IpAddr::V6(_) => TRIAL_RATES_IPV6,
        };
        let counted: Vec<_> = networks(address, rates)
            .map(|(network, rate)| ((code_id, network), rate))
            .collect();
        self.trials.take_each(&counted, now)
    }

    /// Counts a session of the console that is begun with a named token, or for `None` with the
    /// `ADMIN_TOKEN`.
    ///
    /// # Errors
    /// How long until one is allowed again. It is not counted then.
    pub fn sign_in(&self, token: Option<i64>, now: Duration) -> Result<(), Duration> {
        self.sign_ins.take(&token, SIGN_IN_RATE, now)
    }

    /// Whether the address, or a network that it is in, has failed too often.
    pub fn is_failing(&self, address: IpAddr, now: Duration) -> bool {
        let mut networks = counted_networks(address).into_iter();
        networks.any(|(network, rate)| !self.failures.look(&network, rate, now))
    }
}

/// The networks for which a failure from this address counts.
fn counted_networks(address: IpAddr) -> Vec<(IpNet, Rate)> {
    let address = address.to_canonical();
    let counted = match address {
        IpAddr::V4(_) => FAILURE_RATES_IPV4,
        IpAddr::V6(_) => FAILURE_RATES_IPV6,
    };
    networks(address, counted).collect()
}

/// The networks of these lengths that an address is in.
fn networks(address: IpAddr, rates: &[(u8, Rate)]) -> impl Iterator<Item = (IpNet, Rate)> {
    let address = address.to_canonical();
    let network = move |bits| IpNet::new(address, bits).ok().map(|net| net.trunc());
    let rates = rates.iter();
    rates.filter_map(move |(bits, rate)| Some((network(*bits)?, *rate)))
}

/// The allowances of callers of one kind. A caller is stored as a hash with a random seed, so that
/// its size is fixed and no one can make two collide on purpose.
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

    /// Whether a call is allowed. Subtracts nothing.
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
        self.take_each(&[(caller, rate)], now)
    }

    /// Subtracts a call from all of these allowances, or from none.
    fn take_each(&self, callers: &[(impl Hash, Rate)], now: Duration) -> Result<(), Duration> {
        let mut kept = self.lock();
        let mut taken = Vec::with_capacity(callers.len());
        let mut wait = None;
        for (caller, rate) in callers {
            let caller = self.hasher.hash_one(caller);
            let (caller, next) = match kept.full_at.get(&caller) {
                Some(full_at) => (Some(caller), rate.take(*full_at, now)),
                None => {
                    kept.make_room(self.max, now);
                    match kept.full_at.len() + taken.len() < self.max {
                        true => (Some(caller), rate.take(Duration::ZERO, now)),
                        false => (None, self.overflow.take(kept.overflow_full_at, now)),
                    }
                }
            };
            match next {
                Ok(full_at) => taken.push((caller, full_at)),
                Err(needed) => wait = wait.max(Some(needed)),
            }
        }
        if let Some(wait) = wait {
            return Err(wait);
        }
        for (caller, full_at) in taken {
            match caller {
                Some(caller) => {
                    kept.full_at.insert(caller, full_at);
                }
                None => kept.overflow_full_at = full_at,
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// If there is no room, removes callers whose allowance is full again.
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
    fn the_trials_of_a_code_count_by_network() {
        let rates = Rates::default();
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let started = |code: &str, address: &str| {
            let all = (0..20).filter(|_| rates.trial(code, at(address), SECOND).is_ok());
            all.count()
        };
        assert_eq!(started("a", "192.0.2.1"), 5);
        assert_eq!(started("a", "::ffff:192.0.2.1"), 0);
        assert_eq!(started("b", "192.0.2.1"), 5, "of another code");
        assert_eq!(started("a", "192.0.2.2"), 5);
        assert_eq!(started("a", "192.0.2.3"), 5);
        assert_eq!(started("a", "192.0.2.4"), 0, "the network has had 15");
        assert_eq!(started("a", "198.51.100.1"), 5);
        assert_eq!(started("a", "2001:db8::1"), 5);
        assert_eq!(started("a", "2001:db8::2"), 0);
        let later = SECOND + TRIAL_RATE.interval;
        assert_eq!(rates.trial("a", at("192.0.2.1"), later), Ok(()));
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

    #[test]
    fn failures_of_wider_networks_count_together_and_nothing_is_taken_by_halves() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        let now = 10 * SECOND;
        // One failure from each of many networks of one customer.
        let failures = |rates: &Rates, address: &dyn Fn(u16) -> String| {
            let all = (0..2000).map(|n| rates.fail(at(&address(n)), now));
            all.filter(Result::is_ok).count()
        };
        let rates = Rates::default();
        let from_56 = |n: u16| format!("2001:db8:7:{:x}::1", n % 256);
        assert_eq!(failures(&rates, &from_56), 60);
        assert!(rates.is_failing(at("2001:db8:7:1::2"), now));
        assert!(!rates.is_failing(at("2001:db8:7:100::2"), now));
        // Refused calls do not count for the wider network.
        let from_48 = |n: u16| format!("2001:db8:7:{:x}::1", n * 29);
        assert_eq!(failures(&rates, &from_48), 60);
        let refused = rates.fail(at("2001:db8:7:9999::1"), now);
        assert_eq!(refused, Err(Duration::from_millis(2500)));
        assert!(rates.is_failing(at("2001:db8:7:9999::1"), now));
        assert!(!rates.is_failing(at("2001:db8:8::1"), now));
        // Customers behind the addresses of a carrier.
        let from_24 = |n: u16| format!("203.0.113.{}", n % 256);
        assert_eq!(failures(&rates, &from_24), 600);
        assert!(!rates.is_failing(at("203.0.112.255"), now));
        // However the address is written.
        assert_eq!(
            rates.fail(at("::ffff:203.0.113.1"), now),
            Err(Duration::from_millis(500))
        );
        let later = rates.fail(at("203.0.113.1"), now + SECOND);
        assert_eq!(later, Ok(()), "the address itself has not failed too often");
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
        // Callers that are kept still have their own rate.
        assert_eq!(taken(0..100, now), 0);
        // Later they count as new callers, and make room.
        now += 60 * SECOND;
        assert_eq!(taken(200..300, now), 100);
        assert_eq!(allowances.lock().full_at.len(), 100);
        // Not all of them are checked at every call.
        assert_eq!(allowances.lock().pruned_at, now);
        assert_eq!(taken(300..400, now + SECOND / 2), 5);
        assert_eq!(allowances.lock().pruned_at, now);
    }
}
