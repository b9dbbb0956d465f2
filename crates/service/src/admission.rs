//! Decides which peers get a connection when there are not enough for all.
//!
//! 1. The number of open connections is limited. Peers of trusted networks may use
//!    all of them, other peers all but a reserved share, so a gateway always
//!    gets through, regardless of how many others there are.
//! 2. Each address outside the trusted networks and this machine has its own maximum. The address
//!    of an IPv6 peer is its /64, which is what one customer gets, and an IPv4-mapped address counts
//!    as the IPv4 address. Trusted networks have no maximum by address: a gateway is one address for
//!    all its users.
//! 3. When the shared connections are in use, a new one replaces another by the rule of
//!    `fair_share.rs`: a connection is closed only in a network that has more than the new one's
//!    network would have, and in the network with the most. The connection that has been idle the
//!    longest is closed or, if none is idle, the one whose peer has delayed its request the
//!    longest (it is sending the body, or not reading the response). A connection with a request
//!    being processed is kept.
//! 4. If no other network makes room, or if an address has reached its maximum, the same
//!    address's longest-idle connection is closed. If it has none, the new one is refused.
//!
//! A peer of a trusted network replaces any other peer. If there is none, rules 3 and 4 hold among
//! the trusted networks, and after them the longest-idle peer of any trusted network makes room.
//!
//! A connection that makes room ends within a second, and begins no other request; until then it does
//! not occupy a place. There are maxima for such connections, of which a share is for newcomers of
//! trusted networks, so that nobody can keep a gateway out by making others leave.
//!
//! Behind an address of a trusted network, or of this machine, there are many callers: such an
//! address outside the trusted networks has no maximum, and by rule 4 a delayed request makes room
//! like an idle connection: the one that has waited for its peer the longest is closed. So one of
//! these callers cannot keep the others out.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::connection::activity::Activity;
use crate::fair_share::{CensusByTrust, Networks, PEER_LEVELS, of_peer};

/// Maximum number of connections that have been told to close and are not closed yet; they do not
/// occupy a place.
pub(crate) const MAX_LEAVING: usize = 256;
/// So many of them make room only for peers of trusted networks.
const RESERVED_LEAVING: usize = 128;
/// Maximum number of them of one address that has many connections of its own.
const MAX_LEAVING_OF_ADDRESS: usize = 32;

/// If more of them have not ended, new connections wait for one to end …
const MANY_LEAVING: usize = 32;
/// … for this long.
const LEAVING_WAIT: Duration = Duration::from_millis(20);

/// Used instead of an instant: a request is in flight, and the service is processing it.
const BUSY: u64 = u64::MAX;
/// Added to an instant: a request is in flight, and its peer delays it.
const HELD_UP: u64 = 1 << 62;

/// Used instead of an instant: the service has not yet looked for the first request of a connection.
/// It is younger than all that have waited, however long the service takes.
pub(crate) const NEW: u64 = HELD_UP - 1;

/// The limits on connections.
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
    /// A connection that was told to close has ended.
    left: Notify,
    /// By place: the instant since which the connection has been waiting for its peer, in
    /// milliseconds.
    waiting_since: Box<[AtomicU64]>,
}

#[derive(Debug, Default)]
struct Book {
    places: Vec<Option<Held>>,
    free: Vec<usize>,
    /// The connections that remain, and those of them outside the trusted networks.
    staying: usize,
    others: usize,
    /// The connections that have been told to close.
    leaving: usize,
    /// Their number by network, outside the trusted networks and in them.
    census: CensusByTrust<PEER_LEVELS>,
}

#[derive(Debug)]
struct Held {
    address: IpAddr,
    networks: Networks<PEER_LEVELS>,
    is_trusted: bool,
    is_leaving: bool,
    activity: Arc<Activity>,
}

/// What a connection is waiting for: the greater one is closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    /// Otherwise a request is in flight, and its peer delays it.
    is_for_request: bool,
    since: Reverse<u64>,
}

impl Wait {
    /// `None` if the service is processing a request of the connection.
    fn of(since: u64) -> Option<Self> {
        (since != BUSY).then_some(Self {
            is_for_request: since < HELD_UP,
            since: Reverse(since % HELD_UP),
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
            left: Notify::new(),
            waiting_since: (0..places).map(|_| AtomicU64::new(BUSY)).collect(),
        }
    }

    /// A place for a connection of `peer`, or the reason for a refusal. It waits since `since`, in
    /// the milliseconds of [`Place::waits_since`], or is [`NEW`].
    pub(crate) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        is_trusted: bool,
        activity: &Arc<Activity>,
        since: u64,
    ) -> Result<Place, Refusal> {
        let mut book = self.book();
        self.make_room(&mut book, peer, is_trusted)?;
        let index = book.free.pop().ok_or(Refusal::Total)?;
        book.add(index, peer, is_trusted, activity.clone());
        self.waiting_since[index].store(since, Ordering::Relaxed);
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
        let is_at_maximum = !has_many_callers(peer, is_trusted)
            && book.census.of(false).of_narrowest(of_peer(peer)) >= per_address;
        let (refusal, leaves) = if is_at_maximum {
            (
                Refusal::Address,
                self.of_same_address(book, peer, is_trusted),
            )
        } else if is_full {
            (Refusal::Total, self.first_to_leave(book, peer, is_trusted))
        } else {
            return Ok(());
        };
        let reserved = if is_trusted { 0 } else { RESERVED_LEAVING };
        let may_leave = book.leaving < MAX_LEAVING - reserved
            && (!is_at_maximum || book.leaving_of(peer) < MAX_LEAVING_OF_ADDRESS);
        book.dismiss(leaves.filter(|_| may_leave).ok_or(refusal)?);
        Ok(())
    }

    /// The connection that is closed to make room for a new one of `peer`.
    fn first_to_leave(&self, book: &Book, peer: IpAddr, is_trusted: bool) -> Option<usize> {
        let others = is_trusted.then(|| self.first_of_others(book)).flatten();
        others
            .or_else(|| self.of_larger_network(book, peer, is_trusted))
            .or_else(|| self.of_same_address(book, peer, is_trusted))
            .or_else(|| {
                is_trusted
                    .then(|| self.longest_idle_trusted(book))
                    .flatten()
            })
    }

    /// A connection from outside the trusted networks, for a peer of a trusted network.
    fn first_of_others(&self, book: &Book) -> Option<usize> {
        self.first(book, |held, wait| {
            let networks = (!held.is_trusted).then_some(&held.networks)?;
            Some((book.census.of(false).precedence_of_all(networks), wait))
        })
    }

    /// A connection of a network that has more of them than the one of `peer` would have.
    fn of_larger_network(&self, book: &Book, peer: IpAddr, is_trusted: bool) -> Option<usize> {
        let census = book.census.of(is_trusted);
        let newcomer = census.newcomer(of_peer(peer));
        self.first(book, |held, wait| {
            let networks = (held.is_trusted == is_trusted).then_some(&held.networks)?;
            Some((census.precedence(&newcomer, networks)?, wait))
        })
    }

    /// The longest-idle connection of the same address. If there are many callers behind it, delayed
    /// requests count like idle connections, so that a new connection, whose first request is on its
    /// way, is not closed before them.
    fn of_same_address(&self, book: &Book, peer: IpAddr, is_trusted: bool) -> Option<usize> {
        let newcomer = book.census.of(is_trusted).newcomer(of_peer(peer));
        let takes_requests = has_many_callers(peer, is_trusted);
        self.first(book, |held, wait| {
            let is_same = held.is_trusted == is_trusted && newcomer.is_of(&held.networks);
            (is_same && (wait.is_for_request || takes_requests)).then_some(wait.since)
        })
    }

    fn longest_idle_trusted(&self, book: &Book) -> Option<usize> {
        self.first(book, |held, wait| {
            (held.is_trusted && wait.is_for_request).then_some(wait)
        })
    }

    /// The connection with the greatest `rank` among those that remain and are waiting for their
    /// peer.
    fn first<R: Ord>(&self, book: &Book, rank: impl Fn(&Held, Wait) -> Option<R>) -> Option<usize> {
        let waits = self.waiting_since.iter().enumerate();
        let ranked = waits.filter_map(|(index, since)| {
            let wait = Wait::of(since.load(Ordering::Relaxed))?;
            let held = book.places[index].as_ref().filter(|it| !it.is_leaving)?;
            Some((rank(held, wait)?, Reverse(index)))
        });
        ranked.max().map(|(_, Reverse(index))| index)
    }

    /// Lets connections end that have been told to close, before new ones make others close.
    pub(crate) async fn let_leave(&self) {
        let left = self.left.notified();
        if self.book().leaving > MANY_LEAVING {
            // Those that take longer keep nobody out.
            let _ = tokio::time::timeout(LEAVING_WAIT, left).await;
        }
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
        self.others += usize::from(!is_trusted);
        let networks = self.census.of_mut(is_trusted).enter(of_peer(address));
        self.places[index] = Some(Held {
            address,
            networks,
            is_trusted,
            is_leaving: false,
            activity,
        });
    }

    /// Tells a connection to close; its place no longer counts.
    fn dismiss(&mut self, index: usize) {
        let Some(held) = &mut self.places[index] else {
            return;
        };
        held.is_leaving = true;
        held.activity.dismiss();
        self.leaving += 1;
        let (address, is_trusted) = (held.address, held.is_trusted);
        self.subtract(address, is_trusted);
    }

    fn remove(&mut self, index: usize) {
        if let Some(held) = self.places[index].take() {
            self.free.push(index);
            match held.is_leaving {
                true => self.leaving -= 1,
                false => self.subtract(held.address, held.is_trusted),
            }
        }
    }

    /// How many connections of the network that counts as the address of `peer` have been told to
    /// close.
    fn leaving_of(&self, peer: IpAddr) -> usize {
        let [.., address] = of_peer(peer);
        let leaving = self.places.iter().flatten().filter(|it| it.is_leaving);
        let is_same = |held: &&Held| {
            let [.., of_held] = of_peer(held.address);
            !held.is_trusted && of_held == address
        };
        leaving.filter(is_same).count()
    }

    fn subtract(&mut self, address: IpAddr, is_trusted: bool) {
        self.staying -= 1;
        self.others -= usize::from(!is_trusted);
        self.census.of_mut(is_trusted).leave(of_peer(address));
    }
}

/// Whether one address stands for many callers: for those behind a gateway, or for the programs of
/// this machine.
fn has_many_callers(peer: IpAddr, is_trusted: bool) -> bool {
    is_trusted || peer.to_canonical().is_loopback()
}

/// The place of an open connection, released when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    index: usize,
}

impl Place {
    /// The connection has been waiting for a request since `now`, in milliseconds.
    pub(crate) fn waits_since(&self, now: u64) {
        self.admission.waiting_since[self.index].store(now, Ordering::Relaxed);
    }

    /// The peer has been delaying a request since `now`, in milliseconds.
    pub(crate) fn is_held_up_since(&self, now: u64) {
        let since = HELD_UP + now.min(HELD_UP - 1);
        self.admission.waiting_since[self.index].store(since, Ordering::Relaxed);
    }

    /// A request is in flight, and the service is processing it.
    pub(crate) fn is_busy(&self) {
        self.admission.waiting_since[self.index].store(BUSY, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_busy();
        self.admission.book().remove(self.index);
        self.admission.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
