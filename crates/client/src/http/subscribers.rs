//! Places for subscribers to events.
//!
//! Event streams stay open until their subscribers disconnect, so when all places are in use, a
//! stream of the network that has the most is ended for a new one: see
//! [`license_service::fair_share`]. Some places are reserved for trusted callers, so gateways get
//! through, regardless of the number of others. The same rule holds among trusted callers.
//!
//! Behind the address of a trusted caller, or of this machine, there are many subscribers: if no
//! other network has more, a new one takes the place of the oldest of the same address. So one of
//! them cannot keep the others out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use license_service::fair_share::{CensusByTrust, Networks};
use tokio_util::sync::CancellationToken;

/// Maximum number of subscribers at a time. A quarter of the places is reserved for trusted ones.
const MAX_SUBSCRIBERS: usize = 4096;

/// The current subscribers.
#[derive(Debug)]
pub struct Subscribers {
    max: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// By number, in ascending order.
    held: HashMap<u64, Held>,
    newest: u64,
    /// The number of untrusted subscribers.
    others: usize,
    /// Their number by network, untrusted and trusted ones.
    census: CensusByTrust,
}

#[derive(Debug)]
struct Held {
    address: IpAddr,
    networks: Networks,
    is_trusted: bool,
    ended: CancellationToken,
}

/// The place of a subscriber, released when this is dropped.
#[derive(Debug)]
pub(super) struct Subscription {
    subscribers: Arc<Subscribers>,
    number: u64,
    /// Cancelled when another subscriber takes the place.
    pub(super) ended: CancellationToken,
}

impl Subscribers {
    /// Places on a listener with this many connections: at most half of them, because a stream does
    /// not make room for other requests.
    #[must_use]
    pub fn of_connections(connections: usize) -> Self {
        Self {
            max: MAX_SUBSCRIBERS.min(connections / 2),
            book: Mutex::default(),
        }
    }

    /// A place for a caller from `address`; `None` if all are in use, and no network has more
    /// places than the caller's network would have.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        address: IpAddr,
        is_trusted: bool,
    ) -> Option<Subscription> {
        let mut book = self.book();
        let is_full =
            book.held.len() >= self.max || !is_trusted && book.others >= self.max - self.max / 4;
        if is_full {
            let victim = book.eviction_candidate(address, is_trusted)?;
            book.remove(victim);
        }
        let ended = CancellationToken::new();
        let number = book.add(address, is_trusted, ended.clone());
        drop(book);
        Some(Subscription {
            subscribers: self.clone(),
            number,
            ended,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The oldest subscriber of the network that gives way.
    fn eviction_candidate(&self, address: IpAddr, is_trusted: bool) -> Option<u64> {
        let others = is_trusted.then(|| {
            self.oldest(|held| {
                let networks = (!held.is_trusted).then_some(&held.networks)?;
                Some(self.census.of(false).precedence_of_all(networks))
            })
        });
        let census = self.census.of(is_trusted);
        let newcomer = census.newcomer(address);
        let larger = || {
            self.oldest(|held| {
                let networks = (held.is_trusted == is_trusted).then_some(&held.networks)?;
                census.precedence(&newcomer, networks)
            })
        };
        let same = || {
            let has_many_callers = is_trusted || address.to_canonical().is_loopback();
            self.oldest(|held| {
                let is_same = held.is_trusted == is_trusted && newcomer.is_of(&held.networks);
                (has_many_callers && is_same).then_some(())
            })
        };
        others.flatten().or_else(larger).or_else(same)
    }

    /// The oldest of those with the greatest rank.
    fn oldest<R: Ord>(&self, rank: impl Fn(&Held) -> Option<R>) -> Option<u64> {
        let held = self.held.iter();
        let ranked = held.filter_map(|(number, held)| Some((rank(held)?, Reverse(*number))));
        ranked.max().map(|(_, Reverse(number))| number)
    }

    fn add(&mut self, address: IpAddr, is_trusted: bool, ended: CancellationToken) -> u64 {
        self.newest += 1;
        self.others += usize::from(!is_trusted);
        let held = Held {
            address,
            networks: self.census.of_mut(is_trusted).enter(address),
            is_trusted,
            ended,
        };
        self.held.insert(self.newest, held);
        self.newest
    }

    /// Ends a subscription, if it has not ended.
    fn remove(&mut self, number: u64) {
        let Some(held) = self.held.remove(&number) else {
            return;
        };
        held.ended.cancel();
        self.others -= usize::from(!held.is_trusted);
        self.census.of_mut(held.is_trusted).leave(held.address);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscribers.book().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESERVED: usize = MAX_SUBSCRIBERS / 4;
    const OPEN: usize = MAX_SUBSCRIBERS - RESERVED;

    struct Scene {
        subscribers: Arc<Subscribers>,
        held: Vec<Subscription>,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                subscribers: Arc::new(Subscribers::of_connections(usize::MAX)),
                held: Vec::new(),
            }
        }

        fn subscribe(&mut self, address: &str, is_trusted: bool) -> bool {
            let address = address.parse().unwrap();
            let place = self.subscribers.subscribe(address, is_trusted);
            let is_new = place.is_some();
            self.held.extend(place);
            is_new
        }

        fn ended(&self) -> Vec<usize> {
            let held = self.held.iter().enumerate();
            let ended = held.filter(|(_, it)| it.ended.is_cancelled());
            ended.map(|(index, _)| index).collect()
        }
    }

    #[test]
    fn six_addresses_that_take_all_places_keep_no_seventh_out() {
        for network in ["192.0.2.", "2001:db8:0:"] {
            let mut scene = Scene::new();
            let attacker = |n: usize| match network.ends_with('.') {
                true => format!("{network}{}", n % 6),
                false => format!("{network}{:x}::1", n % 6),
            };
            for n in 0..OPEN {
                assert!(scene.subscribe(&attacker(n), false));
            }
            assert!(!scene.subscribe(&attacker(0), false));
            assert!(scene.subscribe("198.51.100.1", false));
            let honest = OPEN;
            assert_eq!(scene.ended().len(), 1);
            for n in 0..1_000 {
                scene.subscribe(&attacker(n), false);
            }
            assert!(!scene.ended().contains(&honest), "{network}");
            // Each additional caller gets a place, and no network with as few places loses one.
            for n in 0..100 {
                assert!(scene.subscribe(&format!("198.51.100.{}", n + 2), false));
            }
            let ended = scene.ended();
            assert!(ended.iter().all(|index| *index < OPEN), "{ended:?}");
            assert_eq!(scene.subscribers.book().others, OPEN);
        }
    }

    #[test]
    fn trusted_callers_have_places_of_their_own() {
        let mut scene = Scene::new();
        for n in 0..OPEN {
            assert!(scene.subscribe(&format!("192.0.2.{}", n % 6), false));
        }
        for _ in 0..RESERVED {
            assert!(scene.subscribe("10.0.0.1", true));
        }
        assert!(scene.ended().is_empty());
        // Another trusted caller takes the place of an untrusted one.
        assert!(scene.subscribe("10.0.0.1", true));
        assert_eq!(scene.ended().len(), 1);
        scene.held.clear();
        let book = scene.subscribers.book();
        assert_eq!((book.held.len(), book.others), (0, 0));
    }

    #[test]
    fn a_user_of_the_machine_keeps_no_gateway_of_it_out() {
        for is_trusted in [false, true] {
            let mut scene = Scene::new();
            let places = if is_trusted { MAX_SUBSCRIBERS } else { OPEN };
            for n in 0..places {
                let attacker = format!("127.{}.{}.1", n / 256, n % 256);
                assert!(scene.subscribe(&attacker, is_trusted));
            }
            // The gateway gets the place of the oldest, as often as it asks.
            for (count, gateway) in (1..).zip(["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
                assert!(scene.subscribe(gateway, is_trusted));
                let oldest: Vec<usize> = (0..count).collect();
                assert_eq!(scene.ended(), oldest);
            }
            // Other networks lose nothing to the machine.
            let other = scene.held.len();
            assert!(scene.subscribe("198.51.100.1", is_trusted));
            for n in 0..1_000 {
                assert!(scene.subscribe(&format!("127.9.{}.1", n % 256), is_trusted));
            }
            assert!(!scene.ended().contains(&other));
        }
    }

    #[test]
    fn streams_leave_half_of_the_connections_for_other_requests() {
        let subscribers = Arc::new(Subscribers::of_connections(256));
        let mut held = Vec::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        held.extend(std::iter::from_fn(|| subscribers.subscribe(address, false)));
        assert_eq!(held.len(), 96);
        let gateway = "127.0.0.1".parse().unwrap();
        for _ in 0..200 {
            held.push(subscribers.subscribe(gateway, true).unwrap());
        }
        let remaining = held.iter().filter(|it| !it.ended.is_cancelled());
        assert_eq!(remaining.count(), 128);
    }

    #[test]
    fn who_goes_makes_place() {
        let mut scene = Scene::new();
        for _ in 0..OPEN {
            assert!(scene.subscribe("192.0.2.1", false));
        }
        assert!(!scene.subscribe("192.0.2.1", false));
        scene.held.pop();
        assert!(scene.subscribe("192.0.2.1", false));
    }
}
