//! Opening a port, and why one cannot be opened.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;
use rustix::io::Errno;
use tokio::net::TcpListener;

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

/// Why a port cannot be opened, and what to do about it. `setting` names the port.
#[must_use]
pub fn why_not(setting: &str, address: SocketAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "another program is using the port; stop it, or choose another port with {setting}"
        ),
        ErrorKind::AddrNotAvailable => {
            "this machine does not have the address; set HOST to one of its addresses or to \
             0.0.0.0, or start the program once the network is up"
                .to_owned()
        }
        ErrorKind::PermissionDenied => format!(
            "the user that runs the program is not allowed to open this port; set {setting} to a \
             port above 1023, or grant CAP_NET_BIND_SERVICE"
        ),
        _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            "this machine does not support addresses of this kind; set HOST to another one"
                .to_owned()
        }
        _ => format!("check HOST and {setting}"),
    };
    format!("cannot listen on {address}: {error}; {advice}")
}
