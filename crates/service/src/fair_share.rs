//! Decides whose place a newcomer gets when all places are taken.
//!
//! Holders of places are counted by network: an IPv4 address, or the /48, /56 and /64 of an IPv6
//! address, because providers give a customer any of these. The machine itself is one network,
//! because each of its users can call from any address of 127.0.0.0/8. A newcomer takes a place only
//! from a network that has more places than the newcomer's own network would then have, and from the
//! network with the most places. So a network with few places never loses one to a network with
//! many, regardless of how many of its addresses ask.
//!
//! Two holders are compared at the widest network that they do not share. Within
//! one network the same rule holds for the networks it consists of.
//!
//! Requests that trusted proxies forward are counted by the address of the peer first, and only
//! within it by the address that the peer reports: a peer that invents addresses has the share of one
//! network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::loopback;

/// Prefix lengths of the IPv6 networks that are counted, widest first.
pub(crate) const PREFIXES: [u32; 3] = [48, 56, 64];

/// The networks of a peer.
pub const PEER_LEVELS: usize = PREFIXES.len();
/// The same, whether the peer forwards the request, and the networks of the client.
pub const CLIENT_LEVELS: usize = PEER_LEVELS + 1 + PREFIXES.len();

/// A network at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    peer: IpAddr,
    /// The network of the client, within what the peer sends.
    client: Option<IpAddr>,
}

/// The number of places of each network, at this many levels.
#[derive(Debug, Default)]
pub struct Census<const LEVELS: usize> {
    /// By level and network, where its count is.
    by_network: HashMap<(usize, Network), usize>,
    counts: Vec<usize>,
    free: Vec<usize>,
}

/// The same, counted apart in the trusted networks and outside them.
#[derive(Debug, Default)]
pub struct CensusByTrust<const LEVELS: usize> {
    of_others: Census<LEVELS>,
    of_trusted: Census<LEVELS>,
}

impl<const LEVELS: usize> CensusByTrust<LEVELS> {
    /// The networks of one kind.
    #[must_use]
    pub fn of(&self, is_trusted: bool) -> &Census<LEVELS> {
        match is_trusted {
            true => &self.of_trusted,
            false => &self.of_others,
        }
    }

    /// The same, to enter or leave.
    pub fn of_mut(&mut self, is_trusted: bool) -> &mut Census<LEVELS> {
        match is_trusted {
            true => &mut self.of_trusted,
            false => &mut self.of_others,
        }
    }
}

/// The networks of a holder that is counted, widest first.
#[derive(Debug)]
pub struct Networks<const LEVELS: usize>([usize; LEVELS]);

/// A newcomer: its networks that already have places.
#[derive(Debug)]
pub struct Newcomer<const LEVELS: usize>([Option<usize>; LEVELS]);

/// How strongly a holder has to give way: the holder with the highest value does so first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence<const LEVELS: usize> {
    /// The wider the network with too many places, the earlier it gives way.
    shared: std::cmp::Reverse<usize>,
    /// The places of the holder's networks below what it shares with the newcomer,
    /// widest first.
    counts: [usize; LEVELS],
}

/// The networks of a peer, by its address.
#[must_use]
pub fn of_peer(peer: IpAddr) -> [Network; PEER_LEVELS] {
    networks(peer).map(|peer| Network { peer, client: None })
}

/// The networks of a request: those of the peer; of what the peer forwards, or of what it sends
/// itself; and of the client that the peer reports. A peer that sends a request itself is its client.
#[must_use]
pub fn of_request(peer: IpAddr, client: IpAddr) -> [Network; CLIENT_LEVELS] {
    let [of_peer, of_client] = [networks(peer), networks(client)];
    let [_, _, peer] = of_peer;
    let is_forwarded = of_client != of_peer;
    let [widest, wider, narrowest] = of_peer.map(|peer| Network { peer, client: None });
    let [client_48, client_56, client_64] = of_client.map(Some);
    let source = (!is_forwarded).then_some(peer);
    let within = |client| Network { peer, client };
    [
        widest,
        wider,
        narrowest,
        within(source),
        within(client_48),
        within(client_56),
        within(client_64),
    ]
}

/// The network of `address` at each level. An IPv4 address, however it is spelled,
/// is its own network at every level, and so is the machine itself.
pub(crate) fn networks(address: IpAddr) -> [IpAddr; PREFIXES.len()] {
    match loopback::counted(address) {
        IpAddr::V4(address) => [address.into(); PREFIXES.len()],
        IpAddr::V6(address) => PREFIXES.map(|bits| {
            let mask = u128::MAX << (128 - bits);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }),
    }
}

impl<const LEVELS: usize> Census<LEVELS> {
    /// Counts a holder, until [`Census::leave`].
    pub fn enter(&mut self, networks: [Network; LEVELS]) -> Networks<LEVELS> {
        let mut slots = [0; LEVELS];
        for (level, network) in networks.into_iter().enumerate() {
            let Self {
                by_network,
                counts,
                free,
            } = self;
            let slot = *by_network.entry((level, network)).or_insert_with(|| {
                free.pop().unwrap_or_else(|| {
                    counts.push(0);
                    counts.len() - 1
                })
            });
            counts[slot] += 1;
            slots[level] = slot;
        }
        Networks(slots)
    }

    /// Stops counting a holder.
    pub fn leave(&mut self, networks: [Network; LEVELS]) {
        for key in networks.into_iter().enumerate() {
            let Some(slot) = self.by_network.get(&key).copied() else {
                continue;
            };
            self.counts[slot] -= 1;
            if self.counts[slot] == 0 {
                self.by_network.remove(&key);
                self.free.push(slot);
            }
        }
    }

    /// Places of the narrowest of these networks.
    #[must_use]
    pub fn of_narrowest(&self, networks: [Network; LEVELS]) -> usize {
        let newcomer = self.newcomer(networks);
        newcomer.0[LEVELS - 1].map_or(0, |slot| self.counts[slot])
    }

    /// A caller who wants a place.
    #[must_use]
    pub fn newcomer(&self, networks: [Network; LEVELS]) -> Newcomer<LEVELS> {
        let mut keys = networks.into_iter().enumerate();
        Newcomer(std::array::from_fn(|_| {
            keys.next()
                .and_then(|key| self.by_network.get(&key).copied())
        }))
    }

    /// Whether and how far `holder` has to give way to `newcomer`; `None` where the
    /// holder's network has no more places than the newcomer's would have, and
    /// where both are one address.
    #[must_use]
    pub fn precedence(
        &self,
        newcomer: &Newcomer<LEVELS>,
        holder: &Networks<LEVELS>,
    ) -> Option<Precedence<LEVELS>> {
        self.precedence_by(1, newcomer, holder)
    }

    fn precedence_by(
        &self,
        margin: usize,
        newcomer: &Newcomer<LEVELS>,
        holder: &Networks<LEVELS>,
    ) -> Option<Precedence<LEVELS>> {
        let shared = newcomer.shares(holder);
        let theirs = self.counts[*holder.0.get(shared)?];
        let ours = newcomer.0[shared].map_or(0, |slot| self.counts[slot]);
        (theirs > ours + margin).then(|| self.precedence_below(shared, holder))
    }

    /// How far `holder` has to give way to a newcomer that takes precedence over
    /// all of them.
    #[must_use]
    pub fn precedence_of_all(&self, holder: &Networks<LEVELS>) -> Precedence<LEVELS> {
        self.precedence_below(0, holder)
    }

    fn precedence_below(&self, shared: usize, holder: &Networks<LEVELS>) -> Precedence<LEVELS> {
        let mut counts = [0; LEVELS];
        for (count, slot) in counts.iter_mut().zip(&holder.0[shared..]) {
            *count = self.counts[*slot];
        }
        Precedence {
            shared: std::cmp::Reverse(shared),
            counts,
        }
    }
}

impl Census<CLIENT_LEVELS> {
    /// The same for two clients that one peer reports. If these can be many callers, or one who
    /// invents addresses, a network with as many places as the newcomer's would have gives way, too.
    #[must_use]
    pub fn precedence_of_forwarded(
        &self,
        newcomer: &Newcomer<CLIENT_LEVELS>,
        holder: &Networks<CLIENT_LEVELS>,
    ) -> Option<Precedence<CLIENT_LEVELS>> {
        let is_same_peer = newcomer.shares(holder) > PEER_LEVELS;
        is_same_peer
            .then(|| self.precedence_by(0, newcomer, holder))
            .flatten()
    }
}

impl<const LEVELS: usize> Newcomer<LEVELS> {
    /// Whether `holder` has the same address.
    #[must_use]
    pub fn is_of(&self, holder: &Networks<LEVELS>) -> bool {
        self.shares(holder) == LEVELS
    }

    /// The number of networks that contain both.
    fn shares(&self, holder: &Networks<LEVELS>) -> usize {
        let pairs = self.0.iter().zip(&holder.0);
        pairs
            .take_while(|(ours, slot)| **ours == Some(**slot))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The holder in `holders` that gives way to `newcomer` first.
    fn gives_way<'a>(newcomer: &str, holders: &[&'a str]) -> Option<&'a str> {
        let mut census = Census::default();
        let networks: Vec<_> = holders
            .iter()
            .map(|it| census.enter(of_peer(address(it))))
            .collect();
        let newcomer = census.newcomer(of_peer(address(newcomer)));
        let candidates = holders.iter().zip(&networks);
        let candidates = candidates
            .filter_map(|(holder, it)| Some((census.precedence(&newcomer, it)?, *holder)));
        candidates.max_by_key(|it| it.0).map(|it| it.1)
    }

    #[test]
    fn the_network_with_the_most_places_gives_way() {
        assert_eq!(
            gives_way("192.0.2.9", &["192.0.2.1", "192.0.2.2", "192.0.2.2"]),
            Some("192.0.2.2")
        );
        // As many as the newcomer would have.
        assert_eq!(gives_way("192.0.2.9", &["192.0.2.1", "192.0.2.2"]), None);
        assert_eq!(
            gives_way("192.0.2.1", &["192.0.2.1", "192.0.2.2", "192.0.2.2"]),
            None
        );
        assert_eq!(gives_way("192.0.2.1", &["192.0.2.1"; 5]), None);
    }

    #[test]
    fn many_networks_of_one_provider_are_one() {
        let spread = [
            "2001:db8:0:0::1",
            "2001:db8:0:1::1",
            "2001:db8:0:2::1",
            "192.0.2.1",
        ];
        assert_eq!(gives_way("192.0.2.2", &spread[2..]), None);
        let victim = gives_way("192.0.2.2", &spread).unwrap();
        assert!(victim.starts_with("2001:db8:0:"), "{victim}");
        // They take nothing from anyone, however many of them ask.
        assert_eq!(gives_way("2001:db8:0:3::1", &spread), None);
        assert_eq!(gives_way("2001:db8:0:103::1", &spread), Some(spread[2]));
    }

    #[test]
    fn the_machine_itself_is_one_network() {
        let loopback = ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.9"];
        let mut census = Census::default();
        for (count, it) in (1..).zip(loopback) {
            census.enter(of_peer(address(it)));
            assert!(
                loopback
                    .iter()
                    .all(|it| census.of_narrowest(of_peer(address(it))) == count)
            );
        }
        assert_eq!(
            gives_way("192.0.2.1", &["127.0.0.2", "127.0.0.3"]),
            Some("127.0.0.3")
        );
        assert_eq!(gives_way("127.0.0.4", &["127.0.0.2", "192.0.2.1"]), None);
        assert_eq!(
            gives_way("::1", &["127.0.0.2", "192.0.2.1", "192.0.2.1"]),
            None
        );
    }

    #[test]
    fn within_one_network_the_same_rule_holds() {
        let holders = [
            "2001:db8:0:100::1",
            "2001:db8:0:101::1",
            "2001:db8:0:101::2",
            "2001:db8:0:200::1",
        ];
        // A new /56, the /56 that has one, and another /64 of the /56 that has three.
        for newcomer in [
            "2001:db8:0:300::1",
            "2001:db8:0:201::1",
            "2001:db8:0:102::1",
        ] {
            assert_eq!(
                gives_way(newcomer, &holders),
                Some(holders[2]),
                "{newcomer}"
            );
        }
        assert_eq!(gives_way("2001:db8:0:101::9", &holders), None);
    }

    #[test]
    fn a_network_without_places_is_forgotten() {
        let mut census = Census::default();
        for n in 0..1000_u32 {
            let networks = of_peer(address(&format!("2001:db8:{n:x}::1")));
            census.enter(networks);
            assert_eq!(census.of_narrowest(networks), 1);
            census.leave(networks);
            assert_eq!(census.of_narrowest(networks), 0);
        }
        assert!(census.by_network.is_empty());
        assert_eq!(census.counts.len(), PREFIXES.len());
    }
}
