//! Places for subscribers to events.
//!
//! Event streams stay open until their subscribers disconnect, so when all places are in use, a
//! stream of the network that has the most is ended for a new one: see
//! [`license_service::fair_share`]. Some places are reserved for trusted callers, so gateways get
//! through, regardless of the number of others. The same rule holds among trusted callers.
//!
//! Behind the address of a trusted caller, or of this machine, there are many subscribers: if no
//! other network has more, a new one takes the place of the oldest of the same address. So one of
//! them cannot keep the others out. What this machine forwards comes from a proxy, or from a user
//! who invents addresses: there, a new address also takes the place of one that has as many.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use license_service::fair_share::{CLIENT_LEVELS, CensusByTrust, Network, Networks, of_request};
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
    census: CensusByTrust<CLIENT_LEVELS>,
}

#[derive(Debug)]
struct Held {
    origin: Origin,
    networks: Networks<CLIENT_LEVELS>,
    is_trusted: bool,
    ended: CancellationToken,
}

/// Where a subscriber calls from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The address of the connection.
    pub(super) peer: IpAddr,
    /// The address that trusted proxies report; the peer's if there are none.
    pub(super) client: IpAddr,
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

    /// A place for a caller from `origin`; `None` if all are in use, and no network has more
    /// places than the caller's network would have.
    pub(super) fn subscribe(
        self: &Arc<Self>,
        origin: Origin,
        is_trusted: bool,
    ) -> Option<Subscription> {
        let mut book = self.book();
        let is_full =
            book.held.len() >= self.max || !is_trusted && book.others >= self.max - self.max / 4;
        if is_full {
            let victim = book.eviction_candidate(origin, is_trusted)?;
            book.remove(victim);
        }
        let ended = CancellationToken::new();
        let number = book.add(origin, is_trusted, ended.clone());
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

impl Origin {
    fn networks(self) -> [Network; CLIENT_LEVELS] {
        of_request(self.peer, self.client)
    }
}

impl Book {
    /// The oldest subscriber of the network that gives way.
    fn eviction_candidate(&self, origin: Origin, is_trusted: bool) -> Option<u64> {
        let others = is_trusted.then(|| {
            self.oldest(|held| {
                let networks = (!held.is_trusted).then_some(&held.networks)?;
                Some(self.census.of(false).precedence_of_all(networks))
            })
        });
        let census = self.census.of(is_trusted);
        let newcomer = census.newcomer(origin.networks());
        let larger = || {
            self.oldest(|held| {
                let networks = (held.is_trusted == is_trusted).then_some(&held.networks)?;
                census.precedence(&newcomer, networks)
            })
        };
        let same = || {
            let has_many_callers = is_trusted || origin.client.to_canonical().is_loopback();
            self.oldest(|held| {
                let is_same = held.is_trusted == is_trusted && newcomer.is_of(&held.networks);
                (has_many_callers && is_same).then_some(())
            })
        };
        let forwarded = || {
            let is_this_machine = origin.peer.to_canonical().is_loopback();
            self.oldest(|held| {
                let is_same = is_this_machine && held.is_trusted == is_trusted;
                let networks = is_same.then_some(&held.networks)?;
                census.precedence_of_forwarded(&newcomer, networks)
            })
        };
        let others = others.flatten().or_else(larger);
        others.or_else(same).or_else(forwarded)
    }

    /// The oldest of those with the greatest rank.
    fn oldest<R: Ord>(&self, rank: impl Fn(&Held) -> Option<R>) -> Option<u64> {
        let held = self.held.iter();
        let ranked = held.filter_map(|(number, held)| Some((rank(held)?, Reverse(*number))));
        ranked.max().map(|(_, Reverse(number))| number)
    }

    fn add(&mut self, origin: Origin, is_trusted: bool, ended: CancellationToken) -> u64 {
        self.newest += 1;
        self.others += usize::from(!is_trusted);
        let held = Held {
            origin,
            networks: self.census.of_mut(is_trusted).enter(origin.networks()),
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
        self.census
            .of_mut(held.is_trusted)
            .leave(held.origin.networks());
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

    fn direct(address: &str) -> Origin {
        let peer = address.parse().unwrap();
        Origin { peer, client: peer }
    }

    /// One of many addresses that a caller invents.
    fn invented(n: usize) -> String {
        format!("11.{}.{}.1", n / 256, n % 256)
    }

    impl Scene {
        fn new() -> Self {
            Self {
                subscribers: Arc::new(Subscribers::of_connections(usize::MAX)),
                held: Vec::new(),
            }
        }

        fn subscribe(&mut self, address: &str, is_trusted: bool) -> bool {
            self.enter(direct(address), is_trusted)
        }

        /// A client that `peer` reports as a trusted proxy, or invents.
        fn forwarded(&mut self, peer: &str, client: &str) -> bool {
            let [peer, client] = [peer, client].map(|it| it.parse().unwrap());
            self.enter(Origin { peer, client }, false)
        }

        fn enter(&mut self, origin: Origin, is_trusted: bool) -> bool {
            let place = self.subscribers.subscribe(origin, is_trusted);
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
    fn a_peer_that_invents_addresses_has_the_share_of_one_network() {
        let mut scene = Scene::new();
        for n in 0..OPEN {
            assert!(scene.forwarded("192.0.2.1", &invented(n)));
        }
        assert!(scene.subscribe("198.51.100.1", false));
        for n in 0..100 {
            assert!(scene.forwarded("203.0.113.1", &format!("198.51.100.{n}")));
        }
        for n in 0..100 {
            assert!(!scene.forwarded("192.0.2.1", &invented(OPEN + n)));
        }
        let ended = scene.ended();
        assert_eq!(ended, (0..101).collect::<Vec<_>>());
    }

    #[test]
    fn addresses_that_a_user_of_the_machine_invents_keep_no_other_caller_out() {
        let mut scene = Scene::new();
        for n in 0..OPEN {
            assert!(scene.forwarded("127.0.0.1", &invented(n)));
        }
        // Gates of the machine, other callers, and visitors behind a proxy on the machine.
        for _ in 0..3 {
            assert!(scene.subscribe("127.0.0.1", false));
        }
        assert!(scene.subscribe("198.51.100.1", false));
        for n in 0..100 {
            scene.forwarded("127.0.0.1", &invented(OPEN + n));
        }
        let honest = OPEN..OPEN + 4;
        assert!(!scene.ended().iter().any(|index| honest.contains(index)));
        assert!(scene.forwarded("127.0.0.1", "198.51.100.7"));
    }

    #[test]
    fn visitors_behind_a_proxy_on_the_machine_are_counted_by_their_addresses() {
        let mut scene = Scene::new();
        for _ in 0..OPEN {
            assert!(scene.forwarded("127.0.0.1", "192.0.2.1"));
        }
        assert!(!scene.forwarded("127.0.0.1", "192.0.2.1"));
        for n in 0..100 {
            assert!(scene.forwarded("127.0.0.1", &format!("198.51.100.{n}")));
        }
        for _ in 0..100 {
            assert!(!scene.forwarded("127.0.0.1", "192.0.2.1"));
        }
        assert_eq!(scene.ended(), (0..100).collect::<Vec<_>>());
        scene.held.clear();
        let book = scene.subscribers.book();
        assert_eq!((book.held.len(), book.others), (0, 0));
    }

    #[test]
    fn streams_leave_half_of_the_connections_for_other_requests() {
        let subscribers = Arc::new(Subscribers::of_connections(256));
        let mut held = Vec::new();
        let other = direct("192.0.2.1");
        held.extend(std::iter::from_fn(|| subscribers.subscribe(other, false)));
        assert_eq!(held.len(), 96);
        let gateway = direct("127.0.0.1");
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
