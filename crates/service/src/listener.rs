//! A TCP port with limits and graceful shutdown.

mod bind;
mod counts;
mod limits;

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::counts::Open;
use crate::admission::{Admission, MAX_LEAVING, Refusal};
use crate::byte_budget::ByteBudget;
use crate::byte_shares::ByteShares;
use crate::connection::activity::Activity;
use crate::connection::exchange::Answers;
use crate::connection::http2::Http2Connection;
use crate::connection::{Connection, Timeouts};
use crate::direct::{Direct, NoDirect};
use crate::{clock, jobs, lingering_close, response_headers, supervisor};

pub use bind::{bind, bind_port_of, why_not};
pub use counts::ConnectionCounts;
pub use limits::{DEFAULT_MAX_CONNECTIONS, Limits};

/// Number of files that a service opens in addition to its connections.
const OTHER_FILES: usize = 256;
/// Connections that are refused, or closed for others, and get an answer without a reset; more of
/// them at the same time may be reset.
const MAX_REFUSED: usize = 64;
/// Size of the system's buffer for each direction of a connection (it uses the same amount again
/// for its own data, `socket(7)`). Without this limit, a peer that sends requests and does not read
/// can occupy several MiB.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;
/// Delay after the system had no connection to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113, section 3.3).
    Http2,
}

/// A port, its protocol, and its router.
#[derive(Debug)]
pub struct Port {
    /// The open port.
    pub listener: TcpListener,
    /// Its protocol.
    pub protocol: Protocol,
    /// Answers the requests that need no router.
    pub direct: Arc<dyn Direct>,
    /// Its router.
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
        direct: Arc::new(NoDirect),
        router,
    };
    serve_ports(vec![port], limits, counts, shutdown).await;
}

/// The same on several ports, whose connections share `limits`.
pub async fn serve_ports(
    ports: Vec<Port>,
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    shutdown: CancellationToken,
) {
    let server = Server::new(limits, counts);
    // The ports have been open since `bind`; connections from now on are answered.
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
                "the limit on open files allows fewer connections than MAX_CONNECTIONS; raise it"
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
        let answers = Arc::new(Answers {
            direct: port.direct.clone(),
            router: port.router.clone(),
        });
        loop {
            match port.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(refusal) = self.start(stream, peer, port.protocol, &answers) {
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
        answers: &Arc<Answers>,
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
        let timeouts = self.timeouts.clone();
        let opened = self.started;
        let open = Open::new(self.counts.clone());
        let connection = match protocol {
            Protocol::Http1 => {
                let answers = answers.clone();
                Connection::new(stream, peer, answers, activity, place, timeouts, opened)
            }
            Protocol::Http2 => {
                let router = answers.router.clone();
                let connection =
                    Http2Connection::new(stream, peer, router, activity, place, timeouts, opened);
                self.connections.spawn(async move {
                    open.close(connection.await);
                });
                return Ok(());
            }
        };
        let refused = self.refused.clone();
        self.connections.spawn(async move {
            let (end, given_up) = connection.run().await;
            open.close(end);
            if let Some(stream) = given_up
                && let Ok(_permit) = refused.try_acquire()
            {
                lingering_close::close(stream).await;
            }
        });
        Ok(())
    }

    fn refuse(&self, stream: TcpStream) {
        // Nothing waits for the write: an empty buffer takes it, or it is lost.
        if let Err(error) = stream.try_write(self.refusal.as_bytes()) {
            tracing::debug!(%error, "failed to send 503 on a refused connection");
        } else if let Ok(permit) = self.refused.clone().try_acquire_owned() {
            self.connections.spawn(async move {
                lingering_close::close(stream).await;
                drop(permit);
            });
        }
    }

    /// Lets requests in flight finish.
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

/// Raises the limit on open files as far as allowed, and returns the new limit. A connection is an
/// open file, and the default limit of 1,024 exists for programs that use `select(2)`.
fn max_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let is_raised = setrlimit(Resource::Nofile, all);
    if let Err(error) = &is_raised {
        tracing::warn!(%error, ?limit, "failed to raise the limit on open files");
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
