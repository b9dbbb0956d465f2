//! Places for subscribers to events.
//!
//! Event streams stay open until their subscribers disconnect, so when all places are in use, a
//! stream of the network that has the most is ended for a new one: see
//! [`license_service::fair_share`]. Some places are reserved for trusted callers, so gateways get
//! through, regardless of the number of others.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use license_service::fair_share::{Census, Networks};
use tokio_util::sync::CancellationToken;

/// Maximum number of subscribers at a time …
const MAX_SUBSCRIBERS: usize = 4096;
/// … of which this many are reserved for trusted ones.
const RESERVED: usize = 1024;

/// The current subscribers.
#[derive(Debug, Default)]
pub struct Subscribers(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// By number, in ascending order.
    held: HashMap<u64, Held>,
    newest: u64,
    /// The number of untrusted subscribers, and their number by network.
    others: usize,
    census: Census,
}

#[derive(Debug)]
struct Held {
    address: IpAddr,
    /// `None` for trusted callers.
    networks: Option<Networks>,
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
    /// A place for a caller from `address`; `None` if all are in use, and no network has more
    /// places than the caller's network would have.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        address: IpAddr,
        is_trusted: bool,
    ) -> Option<Subscription> {
        let mut book = self.book();
        let is_full = book.held.len() >= MAX_SUBSCRIBERS
            || !is_trusted && book.others >= MAX_SUBSCRIBERS - RESERVED;
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The oldest subscriber of the network with the most places.
    fn eviction_candidate(&self, address: IpAddr, is_trusted: bool) -> Option<u64> {
        let newcomer = self.census.newcomer(address);
        let ranked = self.held.iter().filter_map(|(number, held)| {
            let networks = held.networks.as_ref()?;
            let precedence = match is_trusted {
                true => self.census.precedence_of_all(networks),
                false => self.census.precedence(&newcomer, networks)?,
            };
            Some((precedence, Reverse(*number)))
        });
        ranked.max().map(|(_, Reverse(number))| number)
    }

    fn add(&mut self, address: IpAddr, is_trusted: bool, ended: CancellationToken) -> u64 {
        self.newest += 1;
        let networks = (!is_trusted).then(|| {
            self.others += 1;
            self.census.enter(address)
        });
        let held = Held {
            address,
            networks,
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
        if held.networks.is_some() {
            self.others -= 1;
            self.census.leave(held.address);
        }
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

    const OPEN: usize = MAX_SUBSCRIBERS - RESERVED;

    struct Scene {
        subscribers: Arc<Subscribers>,
        held: Vec<Subscription>,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                subscribers: Arc::default(),
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
