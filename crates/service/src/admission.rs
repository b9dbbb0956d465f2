//! Which peer gets a connection when there are not enough for all.
//!
//! 1. There is a maximum of open connections. Peers of trusted networks may use
//!    all of them, other peers all but a reserved share, so a gateway always
//!    gets through, however many others there are.
//! 2. Each address outside the trusted networks has a maximum of its own. The
//!    address of an IPv6 peer is its /64, which is what one customer is given,
//!    and an IPv4-mapped one is the IPv4 address. Trusted networks have no
//!    maximum by address, because a gateway is one address for all its users.
//! 3. Where a maximum is reached, a connection without a request in flight is
//!    closed for the new one: the one that has waited longest, of those that
//!    the same maximum covers. Where there is none, the new one is refused.
//! 4. Where the connections that the trusted networks leave are all in use and
//!    none waits, a connection whose peer holds up its own request (it sends the
//!    body, or does not read the answer) makes room: the oldest one of the address
//!    that has the most. That address must have at least twice as many as the
//!    address of the new one would have, so two addresses never take turns in
//!    ending the requests of each other.
//!
//! A peer of a trusted network takes the place of another peer first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client_address;
use crate::connection::Activity;

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
    /// Those that stay, in all, outside the trusted networks, and by address.
    staying: usize,
    others: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Held {
    address: IpAddr,
    is_trusted: bool,
    is_leaving: bool,
    activity: Arc<Activity>,
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
        let address = client_address::network(peer);
        let mut book = self.book();
        self.make_room(&mut book, address, is_trusted)?;
        let index = book.free.pop().ok_or(Refusal::Total)?;
        book.add(index, address, is_trusted, activity.clone());
        self.waiting_since[index].store(now, Ordering::Relaxed);
        drop(book);
        Ok(Place {
            admission: self.clone(),
            index,
        })
    }

    fn make_room(&self, book: &mut Book, address: IpAddr, is_trusted: bool) -> Result<(), Refusal> {
        let Maxima {
            total,
            reserved,
            per_address,
        } = self.maxima;
        let of_address = book.by_address.get(&address).copied().unwrap_or_default();
        let (refusal, leaves) = if !is_trusted && of_address >= per_address {
            let same = |held: &Held| held.address == address && !held.is_trusted;
            (Refusal::Address, self.longest_waiting(book, same))
        } else if book.staying >= total
            || !is_trusted && book.others >= total.saturating_sub(reserved)
        {
            let other = self.longest_waiting(book, |held| !held.is_trusted);
            let any = || self.longest_waiting(book, |_| is_trusted);
            let leaves = other.or_else(any);
            if leaves.is_none()
                && !book.free.is_empty()
                && let Some(index) = self.held_up_longest(book, of_address, is_trusted)
            {
                book.dismiss(index, Activity::cut);
                return Ok(());
            }
            (Refusal::Total, leaves)
        } else {
            return Ok(());
        };
        let leaves = leaves.filter(|_| !book.free.is_empty());
        book.dismiss(leaves.ok_or(refusal)?, Activity::dismiss);
        Ok(())
    }

    fn longest_waiting(&self, book: &Book, may_leave: impl Fn(&Held) -> bool) -> Option<usize> {
        let mut longest = (HELD_UP, None);
        for (index, since) in self.waiting_since.iter().enumerate() {
            let since = since.load(Ordering::Relaxed);
            if since < longest.0
                && book.places[index]
                    .as_ref()
                    .is_some_and(|held| !held.is_leaving && may_leave(held))
            {
                longest = (since, Some(index));
            }
        }
        longest.1
    }

    /// The connection that makes room for a new one of an address that has
    /// `of_address`, where none waits for a request.
    fn held_up_longest(&self, book: &Book, of_address: usize, is_trusted: bool) -> Option<usize> {
        let at_least = match is_trusted {
            true => 1,
            false => 2 * (of_address + 1),
        };
        let mut longest = (at_least, BUSY, None);
        for (index, since) in self.waiting_since.iter().enumerate() {
            let since = since.load(Ordering::Relaxed);
            if !(HELD_UP..BUSY).contains(&since) {
                continue;
            }
            let Some(held) = &book.places[index] else {
                continue;
            };
            // Trusted networks are not counted by address.
            if held.is_leaving || held.is_trusted {
                continue;
            }
            let count = book.by_address.get(&held.address).copied();
            let count = count.unwrap_or_default();
            if count > longest.0 || count == longest.0 && since < longest.1 {
                longest = (count, since, Some(index));
            }
        }
        longest.2
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
        self.places[index] = Some(Held {
            address,
            is_trusted,
            is_leaving: false,
            activity,
        });
        self.staying += 1;
        if !is_trusted {
            self.others += 1;
            *self.by_address.entry(address).or_default() += 1;
        }
    }

    /// Tells a connection to close; its place counts no longer.
    fn dismiss(&mut self, index: usize, tell: impl Fn(&Activity)) {
        let Some(held) = &mut self.places[index] else {
            return;
        };
        held.is_leaving = true;
        tell(&held.activity);
        let (address, is_trusted) = (held.address, held.is_trusted);
        self.subtract(address, is_trusted);
    }

    fn remove(&mut self, index: usize) {
        if let Some(held) = self.places[index].take() {
            self.free.push(index);
            if !held.is_leaving {
                self.subtract(held.address, held.is_trusted);
            }
        }
    }

    fn subtract(&mut self, address: IpAddr, is_trusted: bool) {
        self.staying -= 1;
        if is_trusted {
            return;
        }
        self.others -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
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
    fn the_connection_that_has_waited_longest_makes_room() {
        let mut scene = Scene::new(3, 0, 10);
        scene.waiting("192.0.2.1", false, 20).unwrap();
        scene.waiting("192.0.2.2", false, 10).unwrap();
        scene.busy("192.0.2.3", false).unwrap();
        scene.busy("192.0.2.4", false).unwrap();
        assert_eq!(scene.dismissed(), [1]);
        scene.busy("192.0.2.5", false).unwrap();
        assert_eq!(scene.dismissed(), [0, 1]);
        assert_eq!(scene.busy("192.0.2.6", false), Err(Refusal::Total));
        // One that was dismissed and closes is not counted twice.
        scene.places.remove(0);
        assert_eq!(scene.busy("192.0.2.6", false), Err(Refusal::Total));
        scene.places.remove(1);
        scene.busy("192.0.2.6", false).unwrap();
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
    fn a_slow_request_makes_no_room_for_an_address_with_more_than_half_as_many() {
        let mut scene = Scene::new(6, 0, 4);
        for since in 1..5 {
            scene.slow("192.0.2.1", false, since).unwrap();
        }
        scene.busy("192.0.2.2", false).unwrap();
        scene.busy("192.0.2.2", false).unwrap();
        assert_eq!(scene.busy("192.0.2.2", false), Err(Refusal::Total));
        assert!(scene.dismissed().is_empty());
        scene.busy("192.0.2.3", false).unwrap();
        assert_eq!(scene.dismissed(), [0]);
        // Three are not twice as many as the two that the address would have.
        assert_eq!(scene.busy("192.0.2.3", false), Err(Refusal::Total));
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
    fn a_connection_that_waits_makes_room_before_a_slow_request() {
        let mut scene = Scene::new(4, 0, 4);
        for since in 1..4 {
            scene.slow("192.0.2.1", false, since).unwrap();
        }
        scene.waiting("192.0.2.2", false, 9).unwrap();
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
}
