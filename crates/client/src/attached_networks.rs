//! The networks to which this machine is attached, and those in them that forward callers from
//! outside.
//!
//! Container engines often hand over a caller from outside by a connection of their own: from the
//! address of the container network's gateway (Docker's userland proxy, rootless Docker and Podman),
//! or from the container's own address (Podman with slirp4netns). Such a caller must not look like a
//! neighbour. Every router that this machine knows may forward others, so all of them count as
//! gateways.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The routing table of IPv4 (proc(5), `/proc/net/route`).
const ROUTES: &str = "/proc/self/net/route";
/// The one of IPv6; absent if the system has no IPv6.
const IPV6_ROUTES: &str = "/proc/self/net/ipv6_route";
/// A route by way of a router (route(8), flag `G`).
const GATEWAY_FLAG: u32 = 0x2;

/// The networks, as read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedNetworks {
    subnets: Vec<IpNet>,
    forwarders: Vec<IpAddr>,
}

/// Why the networks are unknown.
#[derive(Debug, thiserror::Error)]
pub enum AttachedNetworksError {
    /// The interfaces cannot be listed.
    #[error("the network interfaces cannot be listed: {0}")]
    Interfaces(io::Error),
    /// The routing table cannot be read.
    #[error("the routing table {table} cannot be read: {error}")]
    Routes {
        /// The file.
        table: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// The routing table contains a line that is not a route.
    #[error("the routing table {table} contains an unexpected line: '{line}'")]
    UnexpectedRoute {
        /// The file.
        table: &'static str,
        /// The line.
        line: String,
    },
}

impl AttachedNetworks {
    /// Reads the interfaces and the routing tables of this machine or container.
    ///
    /// # Errors
    /// If one of them cannot be read: without it, nobody can be told apart from a gateway.
    pub fn read() -> Result<Self, AttachedNetworksError> {
        let interfaces = if_addrs::get_if_addrs().map_err(AttachedNetworksError::Interfaces)?;
        let interfaces = interfaces.iter().filter_map(|interface| {
            let length = match &interface.addr {
                if_addrs::IfAddr::V4(address) => address.prefixlen,
                if_addrs::IfAddr::V6(address) => address.prefixlen,
            };
            IpNet::new(interface.ip(), length).ok()
        });
        let ipv4 = gateways(ROUTES, &table(ROUTES)?, ipv4_gateway)?;
        let ipv6 = gateways(IPV6_ROUTES, &table(IPV6_ROUTES)?, ipv6_gateway)?;
        Ok(Self::new(interfaces, [ipv4, ipv6].concat()))
    }

    /// `interfaces` are the addresses of this machine, each with its subnet.
    fn new(interfaces: impl IntoIterator<Item = IpNet>, gateways: Vec<IpAddr>) -> Self {
        let mut subnets = Vec::new();
        let mut forwarders = gateways;
        for interface in interfaces {
            subnets.push(interface.trunc());
            forwarders.push(interface.addr());
        }
        // Programs of this machine that call by loopback are nobody's forwarders.
        forwarders.retain(|it| !it.is_loopback());
        subnets.sort_unstable();
        subnets.dedup();
        forwarders.sort_unstable();
        forwarders.dedup();
        Self {
            subnets,
            forwarders,
        }
    }

    /// The subnets without their forwarders: sibling containers, or the other machines of a network.
    #[must_use]
    pub fn neighbours(&self) -> Vec<IpNet> {
        let subnets = self.subnets.iter();
        subnets
            .flat_map(|subnet| without(*subnet, &self.forwarders))
            .collect()
    }

    /// The addresses from which callers from outside may arrive: routers, and this machine's own
    /// addresses except loopback.
    #[must_use]
    pub fn forwarders(&self) -> &[IpAddr] {
        &self.forwarders
    }
}

impl fmt::Display for AttachedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subnets: Vec<String> = self.subnets.iter().map(ToString::to_string).collect();
        let is_within = |it: &&IpAddr| self.subnets.iter().any(|subnet| subnet.contains(*it));
        let forwarders = self.forwarders.iter().filter(is_within);
        let forwarders: Vec<String> = forwarders.map(ToString::to_string).collect();
        f.write_str(&subnets.join(", "))?;
        match forwarders.is_empty() {
            true => Ok(()),
            false => write!(f, " without {}", forwarders.join(", ")),
        }
    }
}

/// The parts of a network that remain without these addresses.
fn without(network: IpNet, addresses: &[IpAddr]) -> Vec<IpNet> {
    if !addresses.iter().any(|it| network.contains(it)) {
        return vec![network];
    }
    match network.subnets(network.prefix_len() + 1) {
        Ok(halves) => halves.flat_map(|it| without(it, addresses)).collect(),
        // A single address.
        Err(_) => Vec::new(),
    }
}

/// The text of a routing table; empty if there is none.
fn table(table: &'static str) -> Result<String, AttachedNetworksError> {
    match std::fs::read_to_string(table) {
        Err(error) if table == IPV6_ROUTES && error.kind() == io::ErrorKind::NotFound => {
            Ok(String::new())
        }
        text => text.map_err(|error| AttachedNetworksError::Routes { table, error }),
    }
}

/// A line that is not a route.
struct NotARoute;

/// The routers of a table.
fn gateways(
    table: &'static str,
    text: &str,
    gateway: fn(&[&str]) -> Result<Option<IpAddr>, NotARoute>,
) -> Result<Vec<IpAddr>, AttachedNetworksError> {
    let routes = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_heading = fields.first() == Some(&"Iface");
        let unexpected = |NotARoute| AttachedNetworksError::UnexpectedRoute {
            table,
            line: line.chars().take(200).collect(),
        };
        match is_heading || fields.is_empty() {
            true => None,
            false => gateway(&fields).map_err(unexpected).transpose(),
        }
    });
    routes.collect()
}

/// Interface, destination, gateway, flags: an address is the number that its four bytes are in the
/// machine's own byte order.
fn ipv4_gateway(fields: &[&str]) -> Result<Option<IpAddr>, NotARoute> {
    let [_, _, gateway, flags, ..] = fields else {
        return Err(NotARoute);
    };
    let number = |text: &str| u32::from_str_radix(text, 16).map_err(|_| NotARoute);
    let address = Ipv4Addr::from(number(gateway)?.to_ne_bytes());
    let has_gateway = number(flags)? & GATEWAY_FLAG != 0 && !address.is_unspecified();
    Ok(has_gateway.then_some(address.into()))
}

/// Destination, source, next hop: each address as its bytes, each network with its length.
fn ipv6_gateway(fields: &[&str]) -> Result<Option<IpAddr>, NotARoute> {
    let [_, _, _, _, next_hop, ..] = fields else {
        return Err(NotARoute);
    };
    let address = u128::from_str_radix(next_hop, 16).map_err(|_| NotARoute)?;
    let address = Ipv6Addr::from(address);
    Ok((!address.is_unspecified()).then_some(address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container with two networks, of which one has the default route, and a route by way of a
    /// VPN in the other one. From Linux on a machine with little-endian numbers.
    const TWO_NETWORKS: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth1\t0000000A\t090013AC\t0003\t0\t0\t0\t000000FF\t0\t0\t0
eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth1\t000013AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
";
    const IPV6: &str = "\
fd890000000000000000000000000000 40 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fd890000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fe800000000000000000000000000001 00000400 00000002 00000000 00450003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    fn ipv4(text: &str) -> Vec<IpAddr> {
        gateways(ROUTES, text, ipv4_gateway).unwrap()
    }

    fn attached(interfaces: &[&str], gateways: Vec<IpAddr>) -> AttachedNetworks {
        let interfaces = interfaces.iter().map(|it| it.parse().unwrap());
        AttachedNetworks::new(interfaces, gateways)
    }

    fn contains(networks: &[IpNet], address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        networks.iter().any(|it| it.contains(&address))
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn routers_are_the_next_hops_of_all_routes() {
        let expected: [IpAddr; 2] = [[172, 18, 0, 1].into(), [172, 19, 0, 9].into()];
        assert_eq!(ipv4(TWO_NETWORKS), expected);
        let heading = TWO_NETWORKS.lines().next().unwrap();
        for none in ["", heading, "\n"] {
            assert_eq!(ipv4(none), [] as [IpAddr; 0], "{none}");
        }
        let ipv6 = gateways(IPV6_ROUTES, IPV6, ipv6_gateway).unwrap();
        let expected: [IpAddr; 2] = ["fd89::1".parse().unwrap(), "fe80::1".parse().unwrap()];
        assert_eq!(ipv6, expected);
    }

    #[test]
    fn a_line_that_is_not_a_route_is_an_error() {
        for line in [
            "eth0",
            "eth0 00000000 x 0003",
            "eth0 0 010012AC",
            "eth0 0 1 -",
        ] {
            let error = gateways(ROUTES, line, ipv4_gateway).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
        let error = gateways(IPV6_ROUTES, "0 0 0 0", ipv6_gateway);
        assert!(error.is_err());
    }

    #[test]
    fn neighbours_are_everyone_but_routers_and_this_machine() {
        let networks = attached(
            &[
                "127.0.0.1/8",
                "::1/128",
                "172.18.0.3/16",
                "172.19.0.2/16",
                "fd89::3/64",
                "fe80::42/64",
                "192.0.2.7/32",
            ],
            [
                "172.18.0.1",
                "172.19.0.9",
                "fd89::1",
                "fe80::1",
                "203.0.113.1",
            ]
            .map(|it| it.parse().unwrap())
            .into(),
        );
        let neighbours = networks.neighbours();
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "172.18.0.0",
            "172.18.0.2",
            "172.18.0.4",
            "172.18.255.255",
            "172.19.0.1",
            "fd89::2",
            "fd89::ffff:1",
            "fe80::2",
        ] {
            assert!(contains(&neighbours, near), "{near}");
        }
        for far in [
            "172.18.0.1",
            "172.18.0.3",
            "172.19.0.2",
            "172.19.0.9",
            "172.20.0.1",
            "fd89::1",
            "fd89::3",
            "fe80::1",
            "fe80::42",
            "192.0.2.7",
            "203.0.113.1",
        ] {
            assert!(!contains(&neighbours, far), "{far}");
        }
        assert_eq!(
            networks.to_string(),
            "127.0.0.0/8, 172.18.0.0/16, 172.19.0.0/16, 192.0.2.7/32, ::1/128, fd89::/64, \
             fe80::/64 without 172.18.0.1, 172.18.0.3, 172.19.0.2, 172.19.0.9, 192.0.2.7, fd89::1, \
             fd89::3, fe80::1, fe80::42"
        );
    }

    #[test]
    fn nothing_else_is_taken_from_a_network() {
        let network: IpNet = "10.89.0.0/28".parse().unwrap();
        let forwarders: [IpAddr; 2] = [[10, 89, 0, 1].into(), [10, 89, 0, 6].into()];
        let rest = without(network, &forwarders);
        for address in network.hosts() {
            let is_in = rest.iter().any(|it| it.contains(&address));
            assert_eq!(is_in, !forwarders.contains(&address), "{address}");
        }
    }

    #[test]
    fn this_machine_has_networks() {
        let networks = AttachedNetworks::read().unwrap();
        assert!(contains(&networks.neighbours(), "127.0.0.1"), "{networks}");
    }
}
