//! Opening a port, and why one cannot be opened.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;
use rustix::io::Errno;
use tokio::net::TcpListener;

use crate::loopback;

/// Opens a port.
///
/// # Errors
/// If it cannot be opened, with advice.
pub async fn bind(host: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    bind_port_of("PORT", host, port).await
}

/// The same for a port that is set with a variable other than `PORT`.
///
/// # Errors
/// If it cannot be opened, with advice.
pub async fn bind_port_of(setting: &str, host: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| anyhow!(why_not(setting, address, &error)))
}

/// Opens the other address of `localhost` at the port of `listener`. Programs try both addresses of
/// this name, so another user who listens on one of them would receive their requests. `None` if the
/// listener needs no other address, and if it cannot be opened; the latter is logged unless the
/// machine does not have the address.
pub(super) async fn bind_other_localhost(listener: &TcpListener) -> Option<TcpListener> {
    let own = listener.local_addr().ok()?;
    let other = SocketAddr::new(loopback::other_localhost(own.ip())?, own.port());
    match TcpListener::bind(other).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            let is_missing = error.kind() == ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error());
            if !is_missing {
                tracing::warn!(
                    address = %other,
                    %error,
                    "cannot listen on the other address of localhost: programs that connect to \
                     localhost may reach another program; stop that program, and let gateways \
                     connect to an IP address instead of localhost"
                );
            }
            None
        }
    }
}

/// Why a port cannot be opened, and what to do about it. `setting` names the port.
#[must_use]
pub fn why_not(setting: &str, address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program is using the port; stop it, or choose another port with {setting}"
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine does not have the address; set HOST to one of its addresses or to \
             0.0.0.0, or start the program after the network is up"
                .to_owned()
        }
        ErrorKind::PermissionDenied => format!(
            "the user that runs the program is not allowed to open this port; set {setting} to a \
             port above 1023, or grant CAP_NET_BIND_SERVICE"
        ),
        _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            "this machine does not support addresses of this kind; set HOST to another address"
                .to_owned()
        }
        _ => format!("check HOST and {setting}"),
    };
    format!("cannot listen on {address}: {error}; {advice}")
}
