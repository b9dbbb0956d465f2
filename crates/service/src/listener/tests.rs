mod direct;
mod half_closed;
mod http1;
mod http2;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures_util::Stream;
use rustix::io::Errno;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use super::*;

const BIG_BYTES: usize = 64 * 1024;
const LONG_BYTES: usize = 1024 * 1024;

/// A long answer without a length.
fn parts() -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures_util::stream::iter((0..4).map(|_| Ok(Bytes::from("x".repeat(LONG_BYTES)))))
}

/// An event stream without events.
fn endless() -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    futures_util::stream::pending()
}

async fn later() -> &'static str {
    tokio::time::sleep(Duration::from_millis(50)).await;
    "later"
}

async fn refused() -> (StatusCode, String) {
    (StatusCode::CONFLICT, "x".repeat(LONG_BYTES))
}

struct Scene {
    server: Server,
    answers: Arc<Answers>,
    listener: TcpListener,
    big_answers: Arc<AtomicU64>,
}

fn streamed(
    pieces: impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static,
) -> Body {
    Body::from_stream(pieces)
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
            .route(
                "/change",
                post(|| std::future::ready("x".repeat(LONG_BYTES))),
            )
            .route("/refused", post(refused))
            .route("/shared", get(async move || shared.clone()))
            .route("/parts", get(async || streamed(parts())))
            .route("/endless", get(async || streamed(endless())))
            .route("/small", get(|| std::future::ready("small")))
            .route("/later", get(later))
            .route("/never", get(std::future::pending::<()>))
            .route("/body", post(|_: Bytes| std::future::ready("read")));
        Self {
            server: Server::new(limits, Arc::default()),
            answers: Arc::new(Answers {
                direct: Arc::new(NoDirect),
                router,
            }),
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
        let (client, stream) = self.dial(bytes).await;
        (client, self.start(protocol, peer, stream))
    }

    /// Both ends of a connection over which a client has sent `bytes`.
    async fn dial(&self, bytes: &[u8]) -> (TcpStream, TcpStream) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let address = self.listener.local_addr().unwrap();
        let mut client = socket.connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let (stream, _) = self.listener.accept().await.unwrap();
        (client, stream)
    }

    fn start(&self, protocol: Protocol, peer: &str, stream: TcpStream) -> Result<(), Refusal> {
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        self.server.start(stream, peer, protocol, &self.answers)
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

const ENDLESS: &[u8] = b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n";

async fn read_to_end(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    let reading = client.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), reading).await;
    read.expect("it ends").expect("it is not reset");
    answer
}

/// The status of a response, whose beginning is read.
async fn read_status(client: &mut TcpStream) -> String {
    let mut line = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(20), client.read_exact(&mut line)).await;
    read.expect("it is answered").expect("it is not closed");
    String::from_utf8_lossy(&line[9..]).into_owned()
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_comes_with_advice_about_its_reason() {
    let local = IpAddr::from([127, 0, 0, 1]);
    let taken = bind_port_of("EXT_AUTHZ_PORT", local, 0).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = bind_port_of("EXT_AUTHZ_PORT", local, port)
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "cannot listen on 127.0.0.1:{port}: Address already in use (os error 98); another program \
             is using the port; stop it, or choose another port with EXT_AUTHZ_PORT"
        )
    );
    // An address for documents (RFC 5737).
    let refused = bind([192, 0, 2, 1].into(), 0)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("does not have the address; set HOST to one of its addresses"),
        "{refused}"
    );
    let address = SocketAddr::from(([0, 0, 0, 0], 80));
    for (errno, expected) in [
        (
            Errno::ACCESS,
            "set PORT to a port above 1023, or grant CAP_NET_BIND_SERVICE",
        ),
        (
            Errno::AFNOSUPPORT,
            "does not support addresses of this kind; set HOST",
        ),
        (Errno::MFILE, "check HOST and PORT"),
    ] {
        let said = why_not("PORT", address, &errno.into());
        assert!(said.contains(expected), "{said}");
    }
}
