//! A TCP port, with limits, and a way to close it.

use std::any::Any;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use ipnet::IpNet;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, MAX_LEAVING, Maxima, Refusal};
use crate::byte_budget::ByteBudget;
use crate::byte_shares::ByteShares;
use crate::connection::activity::Activity;
use crate::connection::http2::Http2Connection;
use crate::connection::{Connection, End, Timeouts};
use crate::{clock, jobs, lingering_close, response_headers, supervisor};

/// Connections that a service accepts unless told otherwise.
pub const DEFAULT_MAX_CONNECTIONS: usize = 8192;
/// Files that a service opens in addition to its connections.
const OTHER_FILES: usize = 256;
/// Connections that are refused, or closed for others, and get an answer without a reset; more of
/// them at the same time may be reset.
const MAX_REFUSED: usize = 64;
/// The system keeps so many bytes in each direction of a connection (and as many
/// again for its own data, `socket(7)`). Without this, it lets a peer that sends
/// or asks and does not read occupy several MiB.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;
/// How long to wait when the system has no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bounds of a listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of open connections. A quarter of them is reserved for
    /// `trusted_networks`, and another address may have a sixteenth.
    pub max_connections: usize,
    /// Where gateways and proxies connect from: one address for many callers.
    pub trusted_networks: Vec<IpNet>,
    /// Timeout for the head of a request.
    pub head_timeout: Duration,
    /// Timeout for the next request on a connection: longer than any gateway keeps its own end
    /// (nginx 60 s, Envoy an hour), so that no gateway sends a request into a closing connection.
    pub idle_timeout: Duration,
    /// Within this time a caller reads `min_write_bytes` of an answer, or all
    /// there is.
    pub write_timeout: Duration,
    /// In bytes.
    pub min_write_bytes: u64,
    /// Maximum size of a request's head, in bytes.
    pub max_head_bytes: usize,
    /// Bytes for heads longer than 8 KiB, of all connections together; as many
    /// again are for `trusted_networks`. Another address may have a ninth.
    pub large_heads_bytes: usize,
    /// Bytes for requests of HTTP/2 until their answers are sent, of all connections
    /// together; as many again are for `trusted_networks`. Another address may have a
    /// ninth.
    pub http2_requests_bytes: usize,
    /// Bytes for what is longer than 16 KiB of answers that wait for their callers
    /// to read, of all connections together; as many again are for
    /// `trusted_networks`.
    pub large_answers_bytes: usize,
    /// Requests in flight get this long to finish when the service stops;
    /// SIGTERM to exit takes at most 10 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: DEFAULT_MAX_CONNECTIONS,
            trusted_networks: Vec::new(),
            head_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(3630),
            write_timeout: Duration::from_secs(30),
            min_write_bytes: 8 * 1024,
            max_head_bytes: 64 * 1024,
            large_heads_bytes: 8 * 1024 * 1024,
            http2_requests_bytes: 16 * 1024 * 1024,
            large_answers_bytes: 16 * 1024 * 1024,
            drain_timeout: Duration::from_secs(8),
        }
    }
}

impl Limits {
    fn maxima(&self, max_files: usize) -> Maxima {
        let total = self.max_connections.min(max_files).max(1);
        Maxima {
            total,
            reserved: total / 4,
            per_address: (total / 16).max(1),
        }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let networks = &self.trusted_networks;
        peer.is_loopback() || networks.iter().any(|network| network.contains(&peer))
    }
}

/// What a listener counts.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    open: AtomicU64,
    refused: [AtomicU64; REASONS.len()],
}

/// Why connections are refused or ended, as metrics name it: all are in use, all
/// of an address are, no memory for a long head, too slow.
const REASONS: [&str; 4] = ["total", "address", "memory", "timeout"];

impl ConnectionCounts {
    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that were refused or ended since the start, by reason:
    /// `total`, `address`, `memory`, `timeout`.
    #[must_use]
    pub fn refused(&self) -> [(&'static str, u64); REASONS.len()] {
        std::array::from_fn(|reason| {
            let count = self.refused[reason].load(Ordering::Relaxed);
            (REASONS[reason], count)
        })
    }

    fn refuse(&self, refusal: Refusal) {
        let reason = match refusal {
            Refusal::Total => 0,
            Refusal::Address => 1,
        };
        self.refused[reason].fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, end: End) {
        let reason = match end {
            End::Closed => return,
            End::NoMemory => 2,
            End::TimedOut => 3,
        };
        self.refused[reason].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a connection while it is open.
struct Open(Arc<ConnectionCounts>);

impl Open {
    fn new(counts: Arc<ConnectionCounts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a port.
///
/// # Errors
/// When it cannot be opened, with what to do about it.
pub async fn bind(host: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    bind_port_of("PORT", host, port).await
}

/// The same for a port that another setting than `PORT` names.
///
/// # Errors
/// When it cannot be opened, with what to do about it.
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
             0.0.0.0, or start the program after the network"
                .to_owned()
        }
        ErrorKind::PermissionDenied => format!(
            "the user of the program may not open this port; set {setting} to a port above 1023, \
             or grant CAP_NET_BIND_SERVICE"
        ),
        _ if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
            "this machine does not support addresses of this kind; set HOST to another one"
                .to_owned()
        }
        _ => format!("check HOST and {setting}"),
    };
    format!("cannot listen on {address}: {error}; {advice}")
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, which the peer knows in advance (RFC 9113, section 3.3).
    Http2,
}

/// A port, and what is served on it.
#[derive(Debug)]
pub struct Port {
    /// The open port.
    pub listener: TcpListener,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// What is served.
    pub router: Router,
}

/// Serves `router` until `shutdown` is cancelled. Handlers find the caller's
/// address as `ConnectInfo<SocketAddr>`.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    shutdown: CancellationToken,
) {
    let port = Port {
        listener,
        protocol: Protocol::Http1,
        router,
    };
    serve_ports(vec![port], limits, counts, shutdown).await;
}

/// The same on several ports, whose connections `limits` bounds together.
pub async fn serve_ports(
    ports: Vec<Port>,
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    shutdown: CancellationToken,
) {
    let server = Server::new(limits, counts);
    // The ports have been open since `bind`; what connects now is answered.
    supervisor::tell(&[NotifyState::Ready]);
    let accepting = ports.iter().map(|port| server.accept_all(port));
    shutdown
        .run_until_cancelled(futures_util::future::join_all(accepting))
        .await;
    drop(ports);
    supervisor::tell(&[NotifyState::Stopping]);
    tracing::info!("stopping: finishing the requests in flight");
    server.drain().await;
}

struct Server {
    limits: Limits,
    timeouts: Arc<Timeouts>,
    large_heads: Arc<ByteShares>,
    http2_requests: Arc<ByteShares>,
    large_answers: Arc<ByteBudget>,
    admission: Arc<Admission>,
    counts: Arc<ConnectionCounts>,
    connections: TaskTracker,
    started: Instant,
    refusal: String,
    refused: Arc<Semaphore>,
}

impl Server {
    fn new(limits: Limits, counts: Arc<ConnectionCounts>) -> Self {
        let other_files = OTHER_FILES + MAX_LEAVING + MAX_REFUSED;
        let maxima = limits.maxima(max_files().saturating_sub(other_files));
        if maxima.total < limits.max_connections {
            tracing::warn!(
                connections = maxima.total,
                configured = limits.max_connections,
                "fewer connections than MAX_CONNECTIONS; raise the limit of open files"
            );
        }
        let large_heads = ByteShares::new(limits.large_heads_bytes, limits.large_heads_bytes);
        let http2_requests = limits.http2_requests_bytes;
        let http2_requests = ByteShares::new(http2_requests, http2_requests);
        let large_answers = limits.large_answers_bytes;
        let large_answers = ByteBudget::new(large_answers, large_answers);
        Self {
            timeouts: Arc::new(Timeouts {
                head: limits.head_timeout,
                idle: limits.idle_timeout,
                write: limits.write_timeout,
                min_write_bytes: limits.min_write_bytes,
            }),
            large_heads: Arc::new(large_heads),
            http2_requests: Arc::new(http2_requests),
            large_answers: Arc::new(large_answers),
            admission: Arc::new(Admission::new(maxima)),
            limits,
            counts,
            connections: TaskTracker::new(),
            started: clock::ticks(),
            refusal: format!(
                "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
                 content-length: 0\r\n{}\r\n",
                response_headers::lines()
            ),
            refused: Arc::new(Semaphore::new(MAX_REFUSED)),
        }
    }

    async fn accept_all(&self, port: &Port) {
        loop {
            match port.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(refusal) = self.start(stream, peer, port.protocol, &port.router) {
                        self.counts.refuse(refusal);
                        tracing::warn!(
                            "connection refused: too many are open; raise MAX_CONNECTIONS if this load is expected"
                        );
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        protocol: Protocol,
        router: &Router,
    ) -> Result<(), Refusal> {
        let is_trusted = self.limits.trusts(peer.ip());
        let heads = match protocol {
            Protocol::Http1 => &self.large_heads,
            Protocol::Http2 => &self.http2_requests,
        };
        let activity = Arc::new(Activity::new(
            heads.clone(),
            self.large_answers.clone(),
            self.limits.max_head_bytes,
            peer.ip(),
            is_trusted,
        ));
        let now = clock::ticks().saturating_duration_since(self.started);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - 1);
        let place = match self.admission.admit(peer.ip(), is_trusted, &activity, now) {
            Ok(place) => place,
            Err(refusal) => {
                if protocol == Protocol::Http1 {
                    self.refuse(stream);
                }
                return Err(refusal);
            }
        };
        if let Err(error) = set_options(&stream) {
            tracing::warn!(%error, "cannot limit the buffers of a connection");
            return Ok(());
        }
        let (router, timeouts) = (router.clone(), self.timeouts.clone());
        let opened = self.started;
        let open = Open::new(self.counts.clone());
        let connection = match protocol {
            Protocol::Http1 => {
                Connection::new(stream, peer, router, activity, place, timeouts, opened)
            }
            Protocol::Http2 => {
                let connection =
                    Http2Connection::new(stream, peer, router, activity, place, timeouts, opened);
                self.connections.spawn(async move {
                    open.0.ended(connection.await);
                    drop(open);
                });
                return Ok(());
            }
        };
        let refused = self.refused.clone();
        self.connections.spawn(async move {
            let (end, given_up) = connection.run().await;
            open.0.ended(end);
            drop(open);
            if let Some(stream) = given_up
                && let Ok(_permit) = refused.try_acquire()
            {
                lingering_close::close(stream).await;
            }
        });
        Ok(())
    }

    fn refuse(&self, stream: TcpStream) {
        // Nothing waits for it: an empty buffer takes it, or it is lost.
        if let Err(error) = stream.try_write(self.refusal.as_bytes()) {
            tracing::debug!(%error, "failed to send 503 on a refused connection");
        } else if let Ok(permit) = self.refused.clone().try_acquire_owned() {
            self.connections.spawn(async move {
                lingering_close::close(stream).await;
                drop(permit);
            });
        }
    }

    /// Lets the requests in flight finish.
    async fn drain(&self) {
        self.connections.close();
        self.admission.for_each(Activity::close);
        let drained = tokio::time::timeout(self.limits.drain_timeout, self.connections.wait());
        if drained.await.is_err() {
            self.admission.for_each(Activity::end);
            self.connections.wait().await;
        }
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_send_buffer_size(stream, SOCKET_BUFFER_BYTES)?;
    sockopt::set_socket_recv_buffer_size(stream, SOCKET_BUFFER_BYTES)?;
    Ok(())
}

/// A connection is an open file, and the default limit of 1,024 is there for
/// programs that know no more (`select(2)`). Raises it as far as is allowed, and
/// answers how far that is.
fn max_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let is_raised = setrlimit(Resource::Nofile, all);
    if let Err(error) = &is_raised {
        tracing::warn!(%error, ?limit, "failed to raise the limit of open files");
    }
    let limit = is_raised.map_or(limit.current, |()| limit.maximum);
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Logs a panic that ended a request.
pub fn log_panic(panic: &(dyn Any + Send)) {
    let what = jobs::words(panic);
    tracing::error!(what, "a request ended in a panic");
}

#[cfg(test)]
mod tests;
