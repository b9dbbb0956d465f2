//! Which peer gets a connection when there are not enough for all.
//!
//! 1. There is a maximum of open connections. Peers of trusted networks may use
//!    all of them, other peers all but a reserved share, so a gateway always
//!    gets through, however many others there are.
//! 2. Each address outside the trusted networks has a maximum of its own. The
//!    address of an IPv6 peer is its /64, which is what one customer is given,
//!    and an IPv4-mapped one is the IPv4 address. Trusted networks have no
//!    maximum by address, because a gateway is one address for all its users.
//! 3. Where the connections for all are in use, a new one takes the place of another
//!    one by the rule of `fair_share.rs`: only a network that has more connections
//!    than the new one's network would have makes room, and the one with the most
//!    does. Of its connections, the one goes that has waited longest for a request;
//!    where none waits, the one whose peer has held its request up longest (it sends
//!    the body, or does not read the answer). A connection that the service works
//!    for stays.
//! 4. Where no other network makes room, and where an address has reached its
//!    maximum, the connection of the same address goes that has waited longest for a
//!    request. Where there is none, the new one is refused.
//!
//! A peer of a trusted network takes the place of any other peer, and where there is
//! none, of the peer of a trusted network that has waited longest for a request.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::Activity;
use crate::fair_share::{Census, Networks};

/// Connections that have been told to close and have not closed yet take none
/// of the places; so many of them there may be.
pub(crate) const MAX_LEAVING: usize = 256;

/// In the place of an instant: a request is in flight, and the service works.
const BUSY: u64 = u64::MAX;
/// Added to an instant: a request is in flight, and its peer holds it up.
const HELD_UP: u64 = 1 << 62;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maxima {
    pub(crate) total: usize,
    pub(crate) reserved: usize,
    pub(crate) per_address: usize,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All connections are in use.
    Total,
    /// All connections of the address are in use.
    Address,
}

/// The open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    maxima: Maxima,
    book: Mutex<Book>,
    /// By place: since when the connection waits for its peer, in milliseconds.
    waiting_since: Box<[AtomicU64]>,
}

#[derive(Debug, Default)]
struct Book {
    places: Vec<Option<Held>>,
    free: Vec<usize>,
    /// Those that stay, in all, outside the trusted networks, and of these by
    /// network.
    staying: usize,
    others: usize,
    census: Census,
}

#[derive(Debug)]
struct Held {
    address: IpAddr,
    /// `None` for peers of trusted networks.
    networks: Option<Networks>,
    is_leaving: bool,
    activity: Arc<Activity>,
}

/// What a connection waits for: the greater one goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    /// Otherwise a request is in flight, and its peer holds it up.
    is_for_request: bool,
    since: Reverse<u64>,
}

impl Wait {
    /// `None` where the service works for the connection.
    fn of(since: u64) -> Option<Self> {
        (since != BUSY).then_some(Self {
            is_for_request: since < HELD_UP,
            since: Reverse(since),
        })
    }
}

impl Admission {
    pub(crate) fn new(maxima: Maxima) -> Self {
        let places = maxima.total + MAX_LEAVING;
        let book = Book {
            places: (0..places).map(|_| None).collect(),
            free: (0..places).rev().collect(),
            ..Book::default()
        };
        Self {
            maxima,
            book: Mutex::new(book),
            waiting_since: (0..places).map(|_| AtomicU64::new(BUSY)).collect(),
        }
    }

    /// A place for a connection of `peer`, or why there is none. `now` is in the
    /// milliseconds of [`Place::waits_since`].
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        is_trusted: bool,
        activity: &Arc<Activity>,
        now: u64,
    ) -> Result<Place, Refusal> {
        let mut book = self.book();
        self.make_room(&mut book, peer, is_trusted)?;
        let index = book.free.pop().ok_or(Refusal::Total)?;
        book.add(index, peer, is_trusted, activity.clone());
        self.waiting_since[index].store(now, Ordering::Relaxed);
        drop(book);
        Ok(Place {
            admission: self.clone(),
            index,
        })
    }

    fn make_room(&self, book: &mut Book, peer: IpAddr, is_trusted: bool) -> Result<(), Refusal> {
        let Maxima {
            total,
            reserved,
            per_address,
        } = self.maxima;
        let is_full =
            book.staying >= total || !is_trusted && book.others >= total.saturating_sub(reserved);
        let (refusal, leaves) = if !is_trusted && book.census.of_address(peer) >= per_address {
            (Refusal::Address, self.longest_waiting(book, peer))
        } else if is_full && is_trusted {
            let other = self.first_of_others(book);
            let leaves = other.or_else(|| self.longest_waiting_trusted(book));
            (Refusal::Total, leaves)
        } else if is_full {
            let other = self.first_to_give_way(book, peer);
            let leaves = other.or_else(|| self.longest_waiting(book, peer));
            (Refusal::Total, leaves)
        } else {
            return Ok(());
        };
        let leaves = leaves.filter(|_| !book.free.is_empty());
        book.dismiss(leaves.ok_or(refusal)?);
        Ok(())
    }

    /// The connection that makes room for a new one of `peer`.
    fn first_to_give_way(&self, book: &Book, peer: IpAddr) -> Option<usize> {
        let newcomer = book.census.newcomer(peer);
        self.first(book, |held, wait| {
            let networks = held.networks.as_ref()?;
            let precedence = book.census.precedence(&newcomer, networks)?;
            Some((precedence, wait))
        })
    }

    /// The connection from outside the trusted networks that makes room for one of
    /// these.
    fn first_of_others(&self, book: &Book) -> Option<usize> {
        self.first(book, |held, wait| {
            let networks = held.networks.as_ref()?;
            Some((book.census.precedence_of_all(networks), wait))
        })
    }

    /// The connection of the same address that has waited longest for a request.
    fn longest_waiting(&self, book: &Book, peer: IpAddr) -> Option<usize> {
        let newcomer = book.census.newcomer(peer);
        self.first(book, |held, wait| {
            let is_same = held.networks.as_ref().is_some_and(|it| newcomer.is_of(it));
            (is_same && wait.is_for_request).then_some(wait)
        })
    }

    fn longest_waiting_trusted(&self, book: &Book) -> Option<usize> {
        self.first(book, |held, wait| {
            (held.networks.is_none() && wait.is_for_request).then_some(wait)
        })
    }

    /// The connection with the greatest `rank`, of those that stay and wait for
    /// their peer.
    fn first<R: Ord>(&self, book: &Book, rank: impl Fn(&Held, Wait) -> Option<R>) -> Option<usize> {
        let waits = self.waiting_since.iter().enumerate();
        let ranked = waits.filter_map(|(index, since)| {
            let wait = Wait::of(since.load(Ordering::Relaxed))?;
            let held = book.places[index].as_ref().filter(|it| !it.is_leaving)?;
            Some((rank(held, wait)?, Reverse(index)))
        });
        ranked.max().map(|(_, Reverse(index))| index)
    }

    /// Calls `what` for every open connection.
    pub(crate) fn for_each(&self, what: impl Fn(&Activity)) {
        for held in self.book().places.iter().flatten() {
            what(&held.activity);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn add(&mut self, index: usize, address: IpAddr, is_trusted: bool, activity: Arc<Activity>) {
        self.staying += 1;
        let networks = (!is_trusted).then(|| {
            self.others += 1;
            self.census.enter(address)
        });
        self.places[index] = Some(Held {
            address,
            networks,
            is_leaving: false,
            activity,
        });
    }

    /// Tells a connection to close; its place counts no longer.
    fn dismiss(&mut self, index: usize) {
        let Some(held) = &mut self.places[index] else {
            return;
        };
        held.is_leaving = true;
        held.activity.dismiss();
        let (address, is_trusted) = (held.address, held.networks.is_none());
        self.subtract(address, is_trusted);
    }

    fn remove(&mut self, index: usize) {
        if let Some(held) = self.places[index].take() {
            self.free.push(index);
            if !held.is_leaving {
                self.subtract(held.address, held.networks.is_none());
            }
        }
    }

    fn subtract(&mut self, address: IpAddr, is_trusted: bool) {
        self.staying -= 1;
        if !is_trusted {
            self.others -= 1;
            self.census.leave(address);
        }
    }
}

/// The place of an open connection, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    index: usize,
}

impl Place {
    /// The connection waits for a request since `now`, in milliseconds.
    pub(crate) fn waits_since(&self, now: u64) {
        self.admission.waiting_since[self.index].store(now, Ordering::Relaxed);
    }

    /// A request has been held up by its peer since `now`, in milliseconds.
    pub(crate) fn is_held_up_since(&self, now: u64) {
        let since = HELD_UP + now.min(HELD_UP - 1);
        self.admission.waiting_since[self.index].store(since, Ordering::Relaxed);
    }

    /// A request is in flight, and the service works.
    pub(crate) fn is_busy(&self) {
        self.admission.waiting_since[self.index].store(BUSY, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_busy();
        self.admission.book().remove(self.index);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Scene {
        admission: Arc<Admission>,
        places: Vec<(Place, Arc<Activity>)>,
    }

    impl Scene {
        fn new(total: usize, reserved: usize, per_address: usize) -> Self {
            let maxima = Maxima {
                total,
                reserved,
                per_address,
            };
            Self {
                admission: Arc::new(Admission::new(maxima)),
                places: Vec::new(),
            }
        }

        /// A connection that has a request in flight.
        fn busy(&mut self, peer: &str, is_trusted: bool) -> Result<(), Refusal> {
            self.waiting(peer, is_trusted, 0)?;
            self.places.last().unwrap().0.is_busy();
            Ok(())
        }

        /// A connection whose peer sends its request slowly.
        fn slow(&mut self, peer: &str, is_trusted: bool, since: u64) -> Result<(), Refusal> {
            self.waiting(peer, is_trusted, since)?;
            self.places.last().unwrap().0.is_held_up_since(since);
            Ok(())
        }

        fn waiting(&mut self, peer: &str, is_trusted: bool, since: u64) -> Result<(), Refusal> {
            let activity = Arc::new(Activity::for_test());
            let peer = peer.parse().unwrap();
            let place = self.admission.admit(peer, is_trusted, &activity, since)?;
            self.places.push((place, activity));
            Ok(())
        }

        fn dismissed(&self) -> Vec<usize> {
            let places = self.places.iter().enumerate();
            places
                .filter(|(_, (_, activity))| activity.is_dismissed())
                .map(|(index, _)| index)
                .collect()
        }
    }

    #[test]
    fn a_reserved_share_is_for_trusted_networks() {
        let mut scene = Scene::new(4, 2, 10);
        scene.busy("192.0.2.1", false).unwrap();
        scene.busy("192.0.2.2", false).unwrap();
        assert_eq!(scene.busy("192.0.2.3", false), Err(Refusal::Total));
        scene.busy("127.0.0.1", true).unwrap();
        scene.busy("127.0.0.1", true).unwrap();
        assert_eq!(scene.busy("127.0.0.1", true), Err(Refusal::Total));
        scene.places.remove(0);
        scene.busy("192.0.2.3", false).unwrap();
    }

    #[test]
    fn an_address_has_a_maximum_in_all_its_spellings() {
        let mut scene = Scene::new(100, 0, 2);
        scene.busy("192.0.2.1", false).unwrap();
        scene.busy("::ffff:192.0.2.1", false).unwrap();
        assert_eq!(scene.busy("192.0.2.1", false), Err(Refusal::Address));
        scene.busy("2001:db8:1:2::1", false).unwrap();
        scene.busy("2001:db8:1:2:ffff::9", false).unwrap();
        let same = scene.busy("2001:db8:1:2:3:4:5:6", false);
        assert_eq!(same, Err(Refusal::Address));
        scene.busy("2001:db8:1:3::1", false).unwrap();
        for _ in 0..20 {
            scene.busy("127.0.0.1", true).unwrap();
        }
    }

    #[test]
    fn of_the_network_with_the_most_the_connection_that_has_waited_longest_makes_room() {
        let mut scene = Scene::new(5, 0, 10);
        scene.waiting("192.0.2.1", false, 1).unwrap();
        for since in [20, 10, 30] {
            scene.waiting("192.0.2.2", false, since).unwrap();
        }
        scene.slow("192.0.2.2", false, 2).unwrap();
        scene.busy("192.0.2.3", false).unwrap();
        assert_eq!(scene.dismissed(), [2]);
        scene.busy("192.0.2.4", false).unwrap();
        assert_eq!(scene.dismissed(), [1, 2]);
        // It has two, and a third address would have one.
        scene.busy("192.0.2.5", false).unwrap();
        assert_eq!(scene.dismissed(), [1, 2, 3]);
        assert_eq!(scene.busy("192.0.2.6", false), Err(Refusal::Total));
        // One that was dismissed and closes is not counted twice.
        scene.places.remove(1);
        assert_eq!(scene.busy("192.0.2.6", false), Err(Refusal::Total));
        scene.places.remove(0);
        scene.busy("192.0.2.6", false).unwrap();
    }

    #[test]
    fn a_connection_of_the_same_address_makes_room_where_no_network_has_more() {
        let mut scene = Scene::new(2, 0, 10);
        scene.waiting("192.0.2.1", false, 1).unwrap();
        scene.waiting("192.0.2.2", false, 2).unwrap();
        assert_eq!(scene.busy("192.0.2.3", false), Err(Refusal::Total));
        scene.busy("192.0.2.2", false).unwrap();
        assert_eq!(scene.dismissed(), [1]);
        assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
    }

    #[test]
    fn a_connection_that_waits_for_its_first_byte_is_not_closed_for_many_others() {
        for prefix in ["192.0.2.", "2001:db8:0:"] {
            let mut scene = Scene::new(256, 64, 16);
            let attacker = |n: usize| match prefix.ends_with('.') {
                true => format!("{prefix}{}", n % 14),
                false => format!("{prefix}{:x}::1", n % 14),
            };
            for n in 0..192 {
                scene.slow(&attacker(n), false, 1).unwrap();
            }
            scene.waiting("198.51.100.1", false, 50).unwrap();
            let honest = scene.places.len() - 1;
            for n in 0..1000 {
                let _ = scene.slow(&attacker(n), false, 100);
                let _ = scene.waiting(&attacker(n), false, 100);
            }
            assert!(!scene.dismissed().contains(&honest), "{prefix}");
        }
    }

    #[test]
    fn an_address_at_its_maximum_makes_room_for_itself_alone() {
        let mut scene = Scene::new(100, 0, 2);
        scene.waiting("192.0.2.9", false, 1).unwrap();
        scene.waiting("192.0.2.1", false, 5).unwrap();
        scene.busy("192.0.2.1", false).unwrap();
        scene.busy("192.0.2.1", false).unwrap();
        assert_eq!(scene.dismissed(), [1]);
    }

    #[test]
    fn a_gateway_takes_the_place_of_another_peer_first_and_never_the_reverse() {
        let mut scene = Scene::new(2, 1, 10);
        scene.waiting("127.0.0.1", true, 1).unwrap();
        scene.waiting("192.0.2.1", false, 5).unwrap();
        scene.busy("127.0.0.1", true).unwrap();
        assert_eq!(scene.dismissed(), [1]);
        assert_eq!(scene.busy("192.0.2.1", false), Err(Refusal::Total));
        scene.busy("127.0.0.1", true).unwrap();
        assert_eq!(scene.dismissed(), [0, 1]);
    }

    #[test]
    fn slow_requests_of_the_address_with_the_most_make_room_oldest_first() {
        let mut scene = Scene::new(8, 0, 4);
        scene.slow("192.0.2.1", false, 1).unwrap();
        for since in [9, 7, 8] {
            scene.slow("192.0.2.2", false, since).unwrap();
        }
        for since in [12, 11, 10, 13] {
            scene.slow("192.0.2.3", false, since).unwrap();
        }
        scene.busy("192.0.2.9", false).unwrap();
        assert_eq!(scene.dismissed(), [6]);
        // Both have three now; the oldest of these makes room.
        scene.busy("192.0.2.8", false).unwrap();
        assert_eq!(scene.dismissed(), [2, 6]);
        scene.slow("192.0.2.7", false, 20).unwrap();
        assert_eq!(scene.dismissed(), [2, 5, 6]);
    }

    #[test]
    fn two_addresses_never_take_turns() {
        let mut scene = Scene::new(6, 0, 6);
        for since in 1..6 {
            scene.slow("192.0.2.1", false, since).unwrap();
        }
        scene.slow("192.0.2.2", false, 9).unwrap();
        scene.slow("192.0.2.2", false, 9).unwrap();
        scene.slow("192.0.2.2", false, 9).unwrap();
        assert_eq!(scene.dismissed(), [0, 1]);
        for peer in ["192.0.2.2", "192.0.2.1"] {
            assert_eq!(scene.slow(peer, false, 9), Err(Refusal::Total));
        }
        assert_eq!(scene.dismissed(), [0, 1]);
    }

    #[test]
    fn a_request_that_the_service_works_on_makes_no_room() {
        let mut scene = Scene::new(4, 0, 4);
        for _ in 0..4 {
            scene.busy("192.0.2.1", false).unwrap();
        }
        assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
        scene.places[2].0.is_held_up_since(5);
        scene.busy("192.0.2.2", false).unwrap();
        assert_eq!(scene.dismissed(), [2]);
    }

    #[test]
    fn a_connection_that_waits_makes_room_before_a_slow_request_of_its_network() {
        let mut scene = Scene::new(4, 0, 4);
        scene.waiting("192.0.2.2", false, 1).unwrap();
        scene.slow("192.0.2.1", false, 2).unwrap();
        scene.slow("192.0.2.1", false, 3).unwrap();
        scene.waiting("192.0.2.1", false, 9).unwrap();
        scene.busy("192.0.2.3", false).unwrap();
        assert_eq!(scene.dismissed(), [3]);
    }

    #[test]
    fn a_gateway_ends_a_slow_request_from_outside_and_none_of_a_gateway() {
        let mut scene = Scene::new(2, 1, 4);
        scene.slow("192.0.2.1", false, 5).unwrap();
        scene.slow("127.0.0.1", true, 1).unwrap();
        scene.slow("127.0.0.1", true, 2).unwrap();
        assert_eq!(scene.dismissed(), [0]);
        assert_eq!(scene.busy("127.0.0.1", true), Err(Refusal::Total));
        assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
        assert_eq!(scene.dismissed(), [0]);
    }

    #[test]
    fn connections_that_do_not_leave_are_bounded() {
        let mut scene = Scene::new(1, 0, 10_000);
        let admitted = (0..2 * MAX_LEAVING)
            .take_while(|_| scene.waiting("192.0.2.1", false, 1).is_ok())
            .count();
        assert_eq!(admitted, 1 + MAX_LEAVING);
    }

    /// What happens: an arrival, a change of what a connection waits for, an end.
    #[derive(Clone, Debug)]
    enum Step {
        Arrive { peer: IpAddr, is_trusted: bool },
        Waits(usize),
        HeldUp(usize),
        Busy(usize),
        End(usize),
    }

    /// A few networks of each width, and spellings of the same ones.
    fn peers() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (1_u8..5).prop_map(|n| IpAddr::from([192, 0, 2, n])),
            (1_u8..5).prop_map(|n| std::net::Ipv4Addr::new(192, 0, 2, n)
                .to_ipv6_mapped()
                .into()),
            (0_u16..3, 0_u16..2, 0_u16..3, 1_u16..3).prop_map(|(site, half, net, host)| {
                IpAddr::from([0x2001, 0xdb8, site, half << 8 | net, 0, 0, 0, host])
            }),
        ]
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (peers(), prop::bool::weighted(0.1))
                .prop_map(|(peer, is_trusted)| Step::Arrive { peer, is_trusted }),
            2 => any::<usize>().prop_map(Step::Waits),
            4 => any::<usize>().prop_map(Step::HeldUp),
            1 => any::<usize>().prop_map(Step::Busy),
            1 => any::<usize>().prop_map(Step::End),
        ]
    }

    /// The widest network of each that the other is not in, counted without the
    /// census.
    fn networks_that_differ(a: IpAddr, b: IpAddr) -> Option<(IpAddr, IpAddr, u32)> {
        let bits = |address: IpAddr, bits: u32| match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let mask = u128::MAX << (128 - bits);
                std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        };
        let mut levels = [48, 56, 64].into_iter();
        levels
            .find(|level| bits(a, *level) != bits(b, *level))
            .map(|level| (bits(a, level), bits(b, level), level))
    }

    struct Open {
        peer: IpAddr,
        is_trusted: bool,
        place: Place,
        activity: Arc<Activity>,
    }

    fn staying(open: &[Open], network: IpAddr, level: u32) -> usize {
        let stays = |it: &&Open| !it.is_trusted && !it.activity.is_dismissed();
        let of_network = |it: &&Open| {
            // An address of another network tells the networks of this one apart.
            networks_that_differ(it.peer, network).is_none_or(|(_, _, from)| from > level)
        };
        open.iter().filter(stays).filter(of_network).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn no_newcomer_takes_a_place_of_a_network_with_as_few(
            steps in prop::collection::vec(steps(), 1..120),
        ) {
            let maxima = Maxima { total: 16, reserved: 4, per_address: 5 };
            let admission = Arc::new(Admission::new(maxima));
            let mut open: Vec<Open> = Vec::new();
            for (now, step) in (1..).zip(steps) {
                let at = |n: usize| n.checked_rem(open.len());
                match step {
                    Step::Waits(n) => {
                        if let Some(n) = at(n) { open[n].place.waits_since(now); }
                    }
                    Step::HeldUp(n) => {
                        if let Some(n) = at(n) { open[n].place.is_held_up_since(now); }
                    }
                    Step::Busy(n) => {
                        if let Some(n) = at(n) { open[n].place.is_busy(); }
                    }
                    Step::End(n) => {
                        if let Some(n) = at(n) { open.remove(n); }
                    }
                    Step::Arrive { peer, is_trusted } => {
                        let was_dismissed: Vec<bool> =
                            open.iter().map(|it| it.activity.is_dismissed()).collect();
                        let counts: Vec<_> = open.iter().map(|it| {
                            networks_that_differ(it.peer, peer).map(|(theirs, ours, level)| {
                                (staying(&open, theirs, level), staying(&open, ours, level))
                            })
                        }).collect();
                        let activity = Arc::new(Activity::for_test());
                        let place = admission.admit(peer, is_trusted, &activity, now);
                        let victims: Vec<usize> = (0..open.len())
                            .filter(|n| open[*n].activity.is_dismissed() && !was_dismissed[*n])
                            .collect();
                        prop_assert!(victims.len() <= 1);
                        prop_assert!(place.is_ok() || victims.is_empty());
                        for victim in victims {
                            prop_assert!(is_trusted || !open[victim].is_trusted);
                            if !is_trusted && let Some((theirs, ours)) = counts[victim] {
                                prop_assert!(theirs > ours + 1, "{} of {}", theirs, ours);
                            }
                        }
                        if let Ok(place) = place {
                            open.push(Open { peer, is_trusted, place, activity });
                        }
                        let stay = open.iter().filter(|it| !it.activity.is_dismissed());
                        prop_assert!(stay.clone().count() <= 16);
                        prop_assert!(stay.filter(|it| !it.is_trusted).count() <= 12);
                    }
                }
            }
            drop(open);
            let book = admission.book();
            prop_assert_eq!((book.staying, book.others), (0, 0));
        }
    }
}
