//! The addresses of this machine for its own programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The networks of callers on the same machine.
pub const NETWORKS: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
];
/// Timeout of connecting to an address of this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The address at which programs on the same machine reach a service that listens on `host`. If
/// `host` is the IPv6 wildcard, this is the IPv6 loopback address if something listens there,
/// otherwise the IPv4 one: IPv6 may be disabled on the machine.
#[must_use]
pub fn reachable(host: IpAddr, port: u16) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(_) => address.ip(),
                Err(_) => Ipv4Addr::LOCALHOST.into(),
            }
        }
        other => other,
    }
}

/// The address by which callers are counted, in one spelling: one for all programs of this machine,
/// each of which can call from any address of 127.0.0.0/8.
#[must_use]
pub fn counted(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    match address.is_loopback() {
        true => Ipv4Addr::LOCALHOST.into(),
        false => address,
    }
}

/// The other address of `localhost`, if a service that listens on `host` does not have it.
#[must_use]
pub(crate) fn other_localhost(host: IpAddr) -> Option<IpAddr> {
    match host {
        IpAddr::V4(Ipv4Addr::LOCALHOST | Ipv4Addr::UNSPECIFIED) => Some(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Some(Ipv4Addr::LOCALHOST.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_service_on_all_addresses_is_reached_by_a_loopback_that_answers() {
        let only_ipv4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = only_ipv4.local_addr().unwrap().port();
        for (host, expected) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "127.0.0.1"),
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
        ] {
            let host: IpAddr = host.parse().unwrap();
            assert_eq!(reachable(host, port), expected.parse::<IpAddr>().unwrap());
        }
        if let Ok(ipv6) = TcpListener::bind("[::1]:0") {
            let port = ipv6.local_addr().unwrap().port();
            let all: IpAddr = Ipv6Addr::UNSPECIFIED.into();
            assert_eq!(reachable(all, port), IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
    }
}
