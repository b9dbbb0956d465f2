//! `TRUSTED_NETWORKS`: who may make changes without a token.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::attached_networks::{AttachedNetworks, AttachedNetworksError};

/// An entry of `TRUSTED_NETWORKS`: a network whose hosts may make changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedNetwork {
    /// This machine.
    Loopback,
    /// The subnets of this machine's interfaces at startup, without the addresses from which callers
    /// from outside may arrive: see [`AttachedNetworks`].
    Attached,
    /// The addresses that `Attached` leaves out.
    Gateway,
    /// One network.
    Cidr(IpNet),
    /// No network; the only entry then.
    None,
}

impl TrustedNetwork {
    /// The networks of this machine, if one of these entries stands for some of them.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn attached(
        entries: &[Self],
    ) -> Result<Option<AttachedNetworks>, AttachedNetworksError> {
        let needs = |entry: &Self| matches!(entry, Self::Attached | Self::Gateway);
        let is_needed = entries.iter().any(needs);
        is_needed.then(AttachedNetworks::read).transpose()
    }
}

impl FromStr for TrustedNetwork {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "loopback" => Ok(Self::Loopback),
            "attached" => Ok(Self::Attached),
            "gateway" => Ok(Self::Gateway),
            "none" => Ok(Self::None),
            other => other
                .parse()
                .or_else(|_| other.parse::<IpAddr>().map(IpNet::from))
                .map(|network| Self::Cidr(canonical(network)))
                .map_err(|_| {
                    "expected loopback, attached, gateway, none or a network such as 10.1.0.0/16"
                        .into()
                }),
        }
    }
}

impl fmt::Display for TrustedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Attached => f.write_str("attached"),
            Self::Gateway => f.write_str("gateway"),
            Self::Cidr(network) => network.fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

/// IPv4 networks that are written as IPv6, such as `::ffff:10.1.0.0/112`, are compared as IPv4.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let address = mapped.addr().to_ipv4_mapped();
    let length = mapped.prefix_len().checked_sub(96);
    match (address, length) {
        (Some(address), Some(length)) => Ipv4Net::new(address, length).map_or(network, IpNet::V4),
        _ => network,
    }
}
