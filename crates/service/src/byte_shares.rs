//! How many bytes the callers of one network may make the service hold.
//!
//! A caller outside the trusted networks gets bytes only while its networks hold no more than a
//! part of what is free: its IPv4 address or /64 an eighth, its /56 a quarter, its /48 half. So one
//! address holds at most a ninth of all bytes, and the more addresses hold bytes, the smaller their
//! shares become. A network that holds nothing can take all free bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fair_share::{PREFIXES, networks};

/// The free bytes divided by this are the maximum for a network, widest network first.
const DIVISORS: [usize; PREFIXES.len()] = [2, 4, 8];

/// A number of bytes that requests in flight share. Callers outside the trusted
/// networks cannot use the last part of it.
#[derive(Debug)]
pub(crate) struct ByteShares {
    open: usize,
    total: usize,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    used: usize,
    /// By level and network; trusted networks are not included.
    by_network: HashMap<(usize, IpAddr), usize>,
}

impl ByteShares {
    /// `open` bytes for all callers and `reserved` more for trusted ones.
    pub(crate) fn new(open: usize, reserved: usize) -> Self {
        Self {
            open,
            total: open.saturating_add(reserved),
            book: Mutex::default(),
        }
    }

    /// Takes `bytes` for a caller; `None` if there are not enough left for it.
    pub(crate) fn take(
        self: &Arc<Self>,
        bytes: usize,
        peer: IpAddr,
        is_trusted: bool,
    ) -> Option<TakenBytes> {
        let limit = if is_trusted { self.total } else { self.open };
        let mut book = self.book();
        let free = limit.saturating_sub(book.used);
        let is_within = bytes <= free && (is_trusted || book.has_share(bytes, free, peer));
        if !is_within {
            return None;
        }
        book.used += bytes;
        if !is_trusted {
            for key in networks(peer).into_iter().enumerate() {
                *book.by_network.entry(key).or_default() += bytes;
            }
        }
        drop(book);
        Some(TakenBytes {
            shares: self.clone(),
            bytes,
            outside: (!is_trusted).then_some(peer),
        })
    }

    /// Bytes in use now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.book().used
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn has_share(&self, bytes: usize, free: usize, peer: IpAddr) -> bool {
        let mut levels = networks(peer).into_iter().enumerate();
        levels.all(|key| {
            let held = self.by_network.get(&key).copied().unwrap_or_default();
            held == 0 || held.saturating_add(bytes) <= free / DIVISORS[key.0]
        })
    }

    fn give_back(&mut self, bytes: usize, outside: Option<IpAddr>) {
        self.used -= bytes;
        let Some(peer) = outside else {
            return;
        };
        for key in networks(peer).into_iter().enumerate() {
            if let Some(held) = self.by_network.get_mut(&key) {
                *held -= bytes;
                if *held == 0 {
                    self.by_network.remove(&key);
                }
            }
        }
    }
}

/// Bytes of [`ByteShares`], returned when this is dropped.
#[derive(Debug)]
pub(crate) struct TakenBytes {
    shares: Arc<ByteShares>,
    bytes: usize,
    /// `None` for peers of trusted networks.
    outside: Option<IpAddr>,
}

impl Drop for TakenBytes {
    fn drop(&mut self) {
        self.shares.book().give_back(self.bytes, self.outside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `peer` gets, one byte at a time.
    fn take_all(shares: &Arc<ByteShares>, peer: &str) -> Vec<TakenBytes> {
        let peer = peer.parse().unwrap();
        std::iter::from_fn(|| shares.take(1, peer, false)).collect()
    }

    #[test]
    fn one_address_holds_a_ninth_and_leaves_some_for_others() {
        let shares = Arc::new(ByteShares::new(1000, 500));
        let mut held = take_all(&shares, "192.0.2.1");
        assert_eq!(held.len(), 111);
        // The same address in another spelling.
        assert!(take_all(&shares, "::ffff:192.0.2.1").is_empty());
        for n in 2..=20 {
            held.extend(take_all(&shares, &format!("192.0.2.{n}")));
        }
        assert!(held.len() > 900, "{}", held.len());
        assert!(take_all(&shares, "198.51.100.1").len() >= 5);

        let trusted = "198.51.100.1".parse().unwrap();
        let rest = 1500 - held.len();
        assert!(shares.take(rest + 1, trusted, true).is_none());
        held.extend(shares.take(rest, trusted, true));
        assert_eq!(shares.used(), 1500);
        assert!(take_all(&shares, "198.51.100.2").is_empty());
        drop(held);
        assert_eq!(shares.used(), 0);
        assert!(shares.book().by_network.is_empty());
    }

    #[test]
    fn addresses_of_one_network_hold_a_third_together() {
        let shares = Arc::new(ByteShares::new(900, 0));
        let of_64 = take_all(&shares, "2001:db8::1");
        assert_eq!(of_64.len(), 100);
        assert!(take_all(&shares, "2001:db8::2").is_empty(), "the same /64");
        let of_56 = take_all(&shares, "2001:db8:0:1::1");
        assert_eq!(of_64.len() + of_56.len(), 180);
        let mut of_48 = Vec::new();
        for n in 0..100 {
            of_48.extend(take_all(&shares, &format!("2001:db8:0:{n:x}00::1")));
        }
        assert_eq!(of_64.len() + of_56.len() + of_48.len(), 300);
        assert_eq!(take_all(&shares, "2001:db8:1::1").len(), 66);
    }

    #[test]
    fn a_network_that_holds_nothing_gets_what_is_free() {
        let shares = Arc::new(ByteShares::new(10, 0));
        let [first, second] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap());
        let _held = shares.take(6, first, false).unwrap();
        assert!(shares.take(1, first, false).is_none());
        assert!(shares.take(5, second, false).is_none(), "not so much");
        assert!(shares.take(usize::MAX, second, false).is_none());
        assert!(shares.take(4, second, false).is_some());
    }
}
