//! A TCP port, with limits, and a way to close it.

use std::any::Any;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use ipnet::IpNet;
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
use crate::connection::http2::Http2Connection;
use crate::connection::{Activity, Connection, End, Timeouts};
use crate::{clock, jobs, lingering_close, response_headers};

/// Connections that a service accepts unless told otherwise.
pub const DEFAULT_MAX_CONNECTIONS: usize = 8192;
/// Files that a service opens besides its connections.
const OTHER_FILES: usize = 256;
/// Connections that are refused, or closed for others, and are told why without a
/// reset; more of them at the same time may be reset.
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
    /// Longest wait for the head of a request.
    pub head_timeout: Duration,
    /// Longest wait for the next request on a connection: longer than any
    /// gateway keeps its own end (nginx 60 s, Envoy an hour), so that no gateway
    /// sends a request into a closing connection.
    pub idle_timeout: Duration,
    /// Within this time a caller reads `min_write_bytes` of an answer, or all
    /// there is.
    pub write_timeout: Duration,
    /// In bytes.
    pub min_write_bytes: u64,
    /// Longest head of a request, in bytes.
    pub max_head_bytes: usize,
    /// Bytes for heads longer than 8 KiB, of all connections together; as many
    /// again are for `trusted_networks`.
    pub large_heads_bytes: usize,
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
    TcpListener::bind((host, port)).await.with_context(|| {
        format!(
            "cannot listen on {host}:{port}; is another service using the port? Choose one with {setting}"
        )
    })
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
    tell_supervisor(NotifyState::Ready);
    let accepting = ports.iter().map(|port| server.accept_all(port));
    shutdown
        .run_until_cancelled(futures_util::future::join_all(accepting))
        .await;
    drop(ports);
    tell_supervisor(NotifyState::Stopping);
    tracing::info!("stopping: finishing the requests in flight");
    server.drain().await;
}

struct Server {
    limits: Limits,
    timeouts: Arc<Timeouts>,
    large_heads: Arc<ByteBudget>,
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
        let large_heads = ByteBudget::new(limits.large_heads_bytes, limits.large_heads_bytes);
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
        let activity = Arc::new(Activity::new(
            self.large_heads.clone(),
            self.large_answers.clone(),
            self.limits.max_head_bytes,
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
            tracing::warn!(%error, "cannot bound the buffers of a connection");
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
            tracing::debug!(%error, "a refused connection was not told why");
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

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
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
        tracing::warn!(%error, ?limit, "the limit of open files was not raised");
    }
    let limit = is_raised.map_or(limit.current, |()| limit.maximum);
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Tells systemd, where it has started us (`sd_notify(3)`).
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor of this process could not be told");
    }
}

/// Logs a panic that ended a request.
pub fn log_panic(panic: &(dyn Any + Send)) {
    let what = jobs::words(panic);
    tracing::error!(what, "a request ended in a panic");
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use axum::routing::{get, post};
    use futures_util::Stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpSocket;

    use super::*;

    const BIG_BYTES: usize = 64 * 1024;
    const LONG_BYTES: usize = 1024 * 1024;

    /// A long answer without a length.
    fn parts() -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
        futures_util::stream::iter((0..4).map(|_| Ok(Bytes::from("x".repeat(LONG_BYTES)))))
    }

    struct Scene {
        server: Server,
        router: Router,
        listener: TcpListener,
        big_answers: Arc<AtomicU64>,
    }

    impl Scene {
        async fn new(limits: Limits) -> Self {
            let big_answers = Arc::new(AtomicU64::new(0));
            let made = big_answers.clone();
            let big = move || {
                made.fetch_add(1, Ordering::Relaxed);
                std::future::ready("x".repeat(BIG_BYTES))
            };
            let shared = Bytes::from("x".repeat(LONG_BYTES));
            let router = Router::new()
                .route("/big", get(big))
                .route("/long", get(|| std::future::ready("x".repeat(LONG_BYTES))))
                .route("/shared", get(async move || shared.clone()))
                .route("/parts", get(async || Body::from_stream(parts())))
                .route("/small", get(|| std::future::ready("small")))
                .route("/body", post(|_: Bytes| std::future::ready("read")));
            Self {
                server: Server::new(limits, Arc::default()),
                router,
                listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
                big_answers,
            }
        }

        /// A connection of `peer` that sends `bytes`, and whether it is refused.
        async fn send(&self, peer: &str, bytes: &[u8]) -> (TcpStream, Result<(), Refusal>) {
            self.send_in(Protocol::Http1, peer, bytes).await
        }

        async fn send_in(
            &self,
            protocol: Protocol,
            peer: &str,
            bytes: &[u8],
        ) -> (TcpStream, Result<(), Refusal>) {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(16 * 1024).unwrap();
            let address = self.listener.local_addr().unwrap();
            let mut client = socket.connect(address).await.unwrap();
            client.write_all(bytes).await.unwrap();
            let (stream, _) = self.listener.accept().await.unwrap();
            let peer = SocketAddr::new(peer.parse().unwrap(), 1);
            let started = self.server.start(stream, peer, protocol, &self.router);
            (client, started)
        }

        /// A connection whose request body has not arrived.
        async fn send_head(&self, peer: &str) -> TcpStream {
            let (mut client, started) = self.send(peer, HEAD.as_bytes()).await;
            started.unwrap();
            let mut answer = [0; 25];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
            client
        }

        fn refused(&self, reason: &str) -> u64 {
            let refused = self.server.counts.refused();
            refused.into_iter().find(|it| it.0 == reason).unwrap().1
        }
    }

    const HEAD: &str =
        "POST /body HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";

    async fn read_to_end(client: &mut TcpStream) -> String {
        let mut answer = String::new();
        let reading = client.read_to_string(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
        read.expect("it ends").expect("it is not reset");
        answer
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn answers_that_are_not_read_are_not_made() {
        let scene = Scene::new(Limits {
            write_timeout: Duration::from_millis(400),
            ..Limits::default()
        })
        .await;
        let requests = "GET /big HTTP/1.1\r\nhost: a\r\n\r\n".repeat(150);
        let (client, started) = scene.send("192.0.2.1", requests.as_bytes()).await;
        started.unwrap();
        scene.server.connections.close();
        scene.server.connections.wait().await;
        assert_eq!(scene.refused("timeout"), 1);
        let made = scene.big_answers.load(Ordering::Relaxed);
        let fits = (2 * SOCKET_BUFFER_BYTES + 32 * 1024).div_ceil(BIG_BYTES) as u64;
        assert!((1..=fits + 1).contains(&made), "{made} answers");
        drop(client);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn pipelined_requests_are_all_answered() {
        let scene = Scene::new(Limits::default()).await;
        for (path, times) in [("small", 20), ("big", 8)] {
            let request = format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n");
            let last = format!("GET /{path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let requests = request.repeat(times - 1) + &last;
            let (mut client, started) = scene.send("192.0.2.1", requests.as_bytes()).await;
            started.unwrap();
            let answers = read_to_end(&mut client).await;
            assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), times);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn slow_bodies_of_many_addresses_make_room_for_another_address() {
        let scene = Scene::new(Limits {
            max_connections: 64,
            ..Limits::default()
        })
        .await;
        let mut slow = Vec::new();
        for address in 0..12 {
            for _ in 0..4 {
                slow.push(scene.send_head(&format!("192.0.2.{address}")).await);
            }
        }
        let (_, started) = scene.send("192.0.2.3", HEAD.as_bytes()).await;
        assert_eq!(started, Err(Refusal::Address));

        let request = "POST /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                       content-length: 4\r\n\r\nbody";
        let (mut client, started) = scene.send("198.51.100.1", request.as_bytes()).await;
        assert_eq!(started, Ok(()));
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

        // The oldest of them made room, and is told so although it still sends.
        slow[0].write_all(b"b").await.unwrap();
        let answer = read_to_end(&mut slow[0]).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        for line in ["retry-after: 1\r\n", "connection: close\r\n"] {
            assert!(answer.contains(line), "{answer}");
        }
        for client in &mut slow[1..] {
            client.write_all(b"body").await.unwrap();
            let mut answer = [0; 15];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn unread_answers_of_many_addresses_make_room_for_another_address() {
        let scene = Scene::new(Limits {
            max_connections: 32,
            ..Limits::default()
        })
        .await;
        let requests = "GET /big HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20);
        let mut unread = Vec::new();
        for address in 0..12 {
            for _ in 0..2 {
                let peer = format!("192.0.2.{address}");
                let (client, started) = scene.send(&peer, requests.as_bytes()).await;
                started.unwrap();
                client.readable().await.unwrap();
                unread.push(client);
            }
        }
        let request = "GET /small HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let (mut client, started) = scene.send("198.51.100.1", request.as_bytes()).await;
        assert_eq!(started, Ok(()));
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        // The one that made room is reset, the others are read to their last answer.
        let mut resets = 0;
        for client in &mut unread {
            let mut answers = vec![0; 20 * BIG_BYTES];
            resets += usize::from(client.read_exact(&mut answers).await.is_err());
        }
        assert_eq!(resets, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_refused_caller_that_has_sent_its_request_is_not_reset() {
        let scene = Scene::new(Limits {
            max_connections: 16,
            ..Limits::default()
        })
        .await;
        let _slow = scene.send_head("192.0.2.1").await;
        let (mut client, started) = scene.send("192.0.2.1", HEAD.as_bytes()).await;
        assert_eq!(started, Err(Refusal::Address));
        client.readable().await.unwrap();
        client.write_all(b"body").await.unwrap();
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_caller_that_has_not_asked_yet_is_not_closed_for_many_others() {
        for network in ["192.0.2.", "2001:db8:0:"] {
            let scene = Scene::new(Limits {
                max_connections: 64,
                ..Limits::default()
            })
            .await;
            let attacker = |n: usize| match network.ends_with('.') {
                true => format!("{network}{}", n % 14),
                false => format!("{network}{:x}::1", n % 14),
            };
            let requests = "GET /big HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20);
            let mut held = Vec::new();
            for n in 0..48 {
                let (client, started) = scene.send(&attacker(n), requests.as_bytes()).await;
                started.unwrap();
                client.readable().await.unwrap();
                held.push(client);
            }
            let (mut honest, started) = scene.send("198.51.100.1", b"").await;
            assert_eq!(started, Ok(()));
            for n in 0..100 {
                let (client, _) = scene.send(&attacker(n), b"").await;
                held.push(client);
            }
            let request = "GET /small HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            honest.write_all(request.as_bytes()).await.unwrap();
            let answer = read_to_end(&mut honest).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{network}: {answer}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn answers_that_are_not_read_hold_bounded_memory() {
        let scene = Scene::new(Limits {
            large_answers_bytes: 3 * LONG_BYTES,
            ..Limits::default()
        })
        .await;
        let get =
            |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let mut unread = Vec::new();
        let mut begun = 0;
        for n in 0..8 {
            let (mut client, started) = scene
                .send(&format!("192.0.2.{n}"), get("/long").as_bytes())
                .await;
            started.unwrap();
            let mut status = [0; 12];
            client.read_exact(&mut status).await.unwrap();
            match &status {
                b"HTTP/1.1 200" => begun += 1,
                other => assert_eq!(other, b"HTTP/1.1 503"),
            }
            unread.push(client);
        }
        assert_eq!(begun, 3);
        assert!(scene.server.large_answers.used() <= 3 * LONG_BYTES);
        // A trusted network has as much again; shared and short answers need none.
        for (peer, path, is_whole) in [
            ("127.0.0.1", "/long", true),
            ("198.51.100.1", "/long", false),
            ("198.51.100.1", "/shared", true),
            ("198.51.100.1", "/small", true),
        ] {
            let (mut client, started) = scene.send(peer, get(path).as_bytes()).await;
            started.unwrap();
            let answer = read_to_end(&mut client).await;
            let status = if is_whole { "200" } else { "503" };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{peer} {path}"
            );
            assert_eq!(answer.contains("\r\nretry-after: 1\r\n"), !is_whole);
        }
        // What is made in parts ends where there is no memory for the next one.
        let (mut client, started) = scene.send("198.51.100.1", get("/parts").as_bytes()).await;
        started.unwrap();
        let answer = read_to_end(&mut client).await;
        assert!(!answer.ends_with("0\r\n\r\n") && answer.len() < LONG_BYTES);

        drop(unread);
        for _ in 0..1000 {
            if scene.server.large_answers.used() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (mut client, started) = scene.send("198.51.100.1", get("/parts").as_bytes()).await;
        started.unwrap();
        let answer = read_to_end(&mut client).await;
        assert!(answer.ends_with("0\r\n\r\n"), "{}", answer.len());
        scene.server.connections.close();
        scene.server.connections.wait().await;
        assert_eq!(scene.server.large_answers.used(), 0);
    }

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const END_STREAM: u8 = 1;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The headers of a request, without its body.
    fn http2_request(stream: u32, method: u8, path: &str, flags: u8) -> Vec<u8> {
        let length = u8::try_from(path.len()).unwrap();
        let start = [method, 0x86, 0x41, 1, b'a', 0x04, length];
        let block = [&start, path.as_bytes()].concat();
        frame(HEADERS, flags | 4, stream, &block)
    }

    fn http2(settings: &[u8], requests: &[Vec<u8>]) -> Vec<u8> {
        let settings = frame(SETTINGS, 0, 0, settings);
        [PREFACE, &settings, &requests.concat()].concat()
    }

    const GET: u8 = 0x82;
    const POST: u8 = 0x83;

    /// Reads until there is such a frame. Its flags; `None` where the connection ends
    /// before.
    async fn flags_of(client: &mut TcpStream, kind: u8, stream: u32) -> Option<u8> {
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            client.read_exact(&mut payload).await.ok()?;
            let found = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if (head[3], found) == (kind, stream) {
                return Some(head[4]);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_of_both_protocols_are_bounded_together() {
        let scene = Scene::new(Limits {
            max_connections: 32,
            ..Limits::default()
        })
        .await;
        // A body that does not arrive, and an answer that shows that it is awaited.
        let requests = [
            http2_request(1, POST, "/body", 0),
            http2_request(3, GET, "/small", END_STREAM),
        ];
        let bytes = http2(&[], &requests);
        let (mut held, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &bytes).await;
        assert_eq!(started, Ok(()));
        assert!(flags_of(&mut held, HEADERS, 3).await.is_some());
        let _slow = scene.send_head("192.0.2.1").await;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let (mut refused, started) = scene.send_in(protocol, "192.0.2.1", b"").await;
            assert_eq!(started, Err(Refusal::Address), "{protocol:?}");
            let mut answer = String::new();
            refused.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer.is_empty(), protocol == Protocol::Http2, "{answer}");
            let (_, started) = scene.send_in(protocol, "192.0.2.2", b"").await;
            assert_eq!(started, Ok(()), "{protocol:?}");
        }
    }

    /// A peer that sends nothing, one that asks no more, and one that never lets the
    /// answer be sent.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn http2_connections_wait_for_their_peers_within_bounds() {
        let short = Duration::from_millis(200);
        let long = Duration::from_secs(600);
        let get = [http2_request(1, GET, "/small", END_STREAM)];
        let no_window = [0, 4, 0, 0, 0, 0];
        for (bytes, head_timeout, idle_timeout, write_timeout) in [
            (Vec::new(), short, long, long),
            (http2(&[], &[]), short, long, long),
            (http2(&[], &get), long, short, long),
            (http2(&no_window, &get), long, long, short),
            (
                http2(&[], &[http2_request(1, POST, "/body", 0)]),
                long,
                long,
                short,
            ),
        ] {
            let scene = Scene::new(Limits {
                head_timeout,
                idle_timeout,
                write_timeout,
                ..Limits::default()
            })
            .await;
            let (_client, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &bytes).await;
            started.unwrap();
            scene.server.connections.close();
            let ended = tokio::time::timeout(long, scene.server.connections.wait()).await;
            ended.expect("it ends");
            assert_eq!(scene.refused("timeout"), 1);
            assert_eq!(scene.server.counts.open(), 0);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn headers_beyond_the_bound_are_refused_and_http_1_is_not_spoken() {
        let scene = Scene::new(Limits::default()).await;
        // 290 bytes each, as HTTP/2 counts them.
        for (headers, fits) in [(25, true), (35, false)] {
            let mut block = http2_request(1, GET, "/small", 0)[9..].to_vec();
            for _ in 0..headers {
                block.extend([0, 2, b'x', b'y', 0x7f, 0x81, 1]);
                block.extend([b'z'; 256]);
            }
            let bytes = http2(&[], &[frame(HEADERS, END_STREAM | 4, 1, &block)]);
            let (mut client, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &bytes).await;
            started.unwrap();
            let flags = flags_of(&mut client, HEADERS, 1).await.unwrap();
            // A refusal has no body.
            assert_eq!(flags & END_STREAM == 0, fits, "{headers}");
        }
        let get = b"GET /small HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let (mut client, started) = scene.send_in(Protocol::Http2, "192.0.2.1", get).await;
        started.unwrap();
        let mut answer = Vec::new();
        let reading = client.read_to_end(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
        assert!(read.is_ok(), "it ends");
        assert!(!answer.windows(5).any(|it| it == b"small"), "{answer:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_in_flight_share_memory_whichever_connection_they_are_on() {
        let scene = Scene::new(Limits {
            large_heads_bytes: 3 * 12 * 1024,
            ..Limits::default()
        })
        .await;
        let held = |stream| http2_request(stream, POST, "/body", 0);
        let answered = http2_request(99, GET, "/small", END_STREAM);
        let two = http2(&[], &[held(1), held(3), answered.clone()]);
        let (mut first, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &two).await;
        started.unwrap();
        assert!(flags_of(&mut first, HEADERS, 99).await.is_some());
        let one = http2(&[], &[held(1), held(3), answered.clone()]);
        let (mut second, started) = scene.send_in(Protocol::Http2, "192.0.2.2", &one).await;
        started.unwrap();
        // The third request is refused as the second one is, without a body.
        let flags = flags_of(&mut second, HEADERS, 99).await.unwrap();
        assert_eq!(flags & END_STREAM, END_STREAM);
        // A trusted network has as much again.
        let trusted = http2(&[], &[held(1), answered]);
        let (mut third, started) = scene.send_in(Protocol::Http2, "127.0.0.1", &trusted).await;
        started.unwrap();
        let flags = flags_of(&mut third, HEADERS, 99).await.unwrap();
        assert_eq!(flags & END_STREAM, 0);
        drop((first, second, third));
        scene.server.connections.close();
        scene.server.connections.wait().await;
        for _ in 0..1000 {
            if scene.server.large_heads.used() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{} bytes are held", scene.server.large_heads.used());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn http2_connections_close_when_the_service_stops() {
        let scene = Scene::new(Limits {
            drain_timeout: Duration::from_secs(600),
            ..Limits::default()
        })
        .await;
        let get = http2(&[], &[http2_request(1, GET, "/small", END_STREAM)]);
        let (mut idle, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &get).await;
        started.unwrap();
        assert!(flags_of(&mut idle, HEADERS, 1).await.is_some());
        let draining = tokio::time::timeout(Duration::from_secs(20), scene.server.drain());
        draining
            .await
            .expect("a peer that is silent holds nothing up");
        assert!(flags_of(&mut idle, GOAWAY, 0).await.is_some());
    }
}
