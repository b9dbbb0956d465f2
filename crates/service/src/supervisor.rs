//! Notifies systemd, or another supervisor with the same protocol, about this process
//! (`sd_notify(3)`). The library composes the messages, but cannot send them to an abstract socket.

use std::convert::Infallible;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::{Clock as _, SystemClock};
use crate::jobs::Jobs;

/// Minimum time between two watchdog notifications.
const MIN_WATCHDOG_INTERVAL: Duration = Duration::from_millis(10);

/// Notifies the supervisor, if a supervisor has started this process.
pub(crate) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = send(states) {
        tracing::warn!(%error, "failed to notify the supervisor of this process");
    }
}

fn send(states: &[NotifyState<'_>]) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "no setting of ours")]
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&socket)?,
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Reloads settings with `reload` when the supervisor requests it.
pub fn reload(reload: impl FnOnce()) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "failed to read the clock for the supervisor"),
    }
    reload();
    tell(&[NotifyState::Ready]);
}

/// Notifies the supervisor's watchdog regularly, if it is enabled (`WatchdogSec=`), as long as all
/// jobs are running or about to be restarted.
pub fn start_watchdog(jobs: &Arc<Jobs>) {
    if let Some(timeout) = sd_notify::watchdog_enabled() {
        let interval = MIN_WATCHDOG_INTERVAL.max(timeout / 2);
        let watched = jobs.clone();
        jobs.run("watchdog", move || report_life(watched.clone(), interval));
    }
}

async fn report_life(jobs: Arc<Jobs>, interval: Duration) -> Infallible {
    loop {
        if jobs.are_alive() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                "a background job has ended; the supervisor's watchdog will restart this process"
            );
        }
        SystemClock.sleep(interval).await;
    }
}
