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
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::counts::Open;
use crate::admission::{Admission, NEW, Refusal};
use crate::byte_budget::ByteBudget;
use crate::byte_shares::ByteShares;
use crate::connection::activity::Activity;
use crate::connection::exchange::Answers;
use crate::connection::http2::Http2Connection;
use crate::connection::{self, Connection, Timeouts};
use crate::direct::{Direct, NoDirect};
use crate::{clock, jobs, lingering_close, supervisor};

pub use bind::{bind, bind_port_of, why_not};
pub use counts::ConnectionCounts;
pub use limits::{DEFAULT_MAX_CONNECTIONS, Limits, max_connections};

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

/// The same on several ports, whose connections share `limits`. A port of one address of `localhost`
/// is also opened at the other one.
pub async fn serve_ports(
    ports: Vec<Port>,
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    shutdown: CancellationToken,
) {
    let server = Server::new(limits.within_open_files(), counts);
    let mut listeners = Vec::new();
    for port in ports {
        let other = bind::bind_other_localhost(&port.listener).await;
        let answers = Arc::new(Answers {
            direct: port.direct,
            router: port.router,
        });
        let protocol = port.protocol;
        listeners.extend(other.map(|listener| (listener, protocol, answers.clone())));
        listeners.push((port.listener, protocol, answers));
    }
    // The ports have been open since `bind`; connections from now on are answered.
    supervisor::tell(&[NotifyState::Ready]);
    let accepting = listeners
        .iter()
        .map(|(listener, protocol, answers)| server.accept_all(listener, *protocol, answers));
    shutdown
        .run_until_cancelled(futures_util::future::join_all(accepting))
        .await;
    drop(listeners);
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
    refused: Arc<Semaphore>,
}

impl Server {
    fn new(limits: Limits, counts: Arc<ConnectionCounts>) -> Self {
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
            admission: Arc::new(Admission::new(limits.maxima())),
            limits,
            counts,
            connections: TaskTracker::new(),
            started: clock::ticks(),
            refused: Arc::new(Semaphore::new(MAX_REFUSED)),
        }
    }

    async fn accept_all(&self, listener: &TcpListener, protocol: Protocol, answers: &Arc<Answers>) {
        loop {
            // The requests on the accepted connections are read first: a new connection may close
            // one of them.
            tokio::task::yield_now().await;
            self.admission.let_leave().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(refusal) = self.start(stream, peer, protocol, answers) {
                        self.counts.refuse(refusal);
                        tracing::warn!(
                            "connection refused: too many connections are open; raise \
                             MAX_CONNECTIONS if this load is expected"
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
        let place = match self.admission.admit(peer.ip(), is_trusted, &activity, NEW) {
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
        connection::refuse(&stream);
        if let Ok(permit) = self.refused.clone().try_acquire_owned() {
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

/// Logs a panic that ended a request.
pub fn log_panic(panic: &(dyn Any + Send)) {
    let what = jobs::words(panic);
    tracing::error!(what, "a request ended in a panic");
}

#[cfg(test)]
mod tests;
