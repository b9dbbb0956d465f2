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

    // The oldest of them made room, and gets an answer although it is still sending.
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
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
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
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
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

/// The peer may send 100 bytes more of an answer.
fn window_update(stream: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 100])
}

fn http2(settings: &[u8], requests: &[Vec<u8>]) -> Vec<u8> {
    let settings = frame(SETTINGS, 0, 0, settings);
    [PREFACE, &settings, &requests.concat()].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// The kind, flags and stream of the next frame; `None` where the connection ends
/// before.
async fn next_frame(client: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    client.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], stream))
}

/// Reads until there is such a frame. Its flags; `None` where the connection ends
/// before.
async fn flags_of(client: &mut TcpStream, kind: u8, stream: u32) -> Option<u8> {
    loop {
        let (found, flags, of) = next_frame(client).await?;
        if (found, of) == (kind, stream) {
            return Some(flags);
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

/// What one request takes.
const REQUEST_BYTES: usize = 12 * 1024;

/// Asks in HTTP/2; whether the answer has a body, which a refusal does not.
async fn is_answered_in_http2(scene: &Scene, peer: &str) -> bool {
    let bytes = http2(&[], &[http2_request(1, GET, "/small", END_STREAM)]);
    let (mut client, started) = scene.send_in(Protocol::Http2, peer, &bytes).await;
    started.unwrap();
    let flags = flags_of(&mut client, HEADERS, 1).await.unwrap();
    flags & END_STREAM == 0
}

async fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// Requests of `peer` whose bodies do not arrive, on eight connections.
async fn hold_http2_requests(scene: &Scene, peer: &str) -> Vec<TcpStream> {
    let mut requests: Vec<_> = (0..120)
        .map(|n| http2_request(2 * n + 1, POST, "/body", 0))
        .collect();
    requests.push(http2_request(999, GET, "/small", END_STREAM));
    let bytes = http2(&[], &requests);
    let mut held = Vec::new();
    for _ in 0..8 {
        let (mut client, started) = scene.send_in(Protocol::Http2, peer, &bytes).await;
        started.unwrap();
        assert!(flags_of(&mut client, HEADERS, 999).await.is_some());
        held.push(client);
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_leaves_memory_for_http2_requests_of_others() {
    let scene = Scene::new(Limits::default()).await;
    let mut held = hold_http2_requests(&scene, "192.0.2.1").await;
    // A ninth of 16 MiB.
    assert_eq!(scene.server.http2_requests.used(), 151 * REQUEST_BYTES);
    assert!(!is_answered_in_http2(&scene, "192.0.2.1").await);
    for n in 2..=6 {
        held.extend(hold_http2_requests(&scene, &format!("192.0.2.{n}")).await);
    }
    for peer in ["198.51.100.1", "2001:db8::1", "127.0.0.1"] {
        assert!(is_answered_in_http2(&scene, peer).await, "{peer}");
    }
    drop(held);
    let used = || scene.server.http2_requests.used();
    wait_for("all is given back", || used() == 0).await;
    assert!(is_answered_in_http2(&scene, "192.0.2.1").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_heads_of_one_address_leave_memory_for_others_and_for_http2() {
    let scene = Scene::new(Limits::default()).await;
    let start = format!("GET /small HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(8400));
    let mut held = Vec::new();
    for _ in 0..140 {
        let (client, started) = scene.send("192.0.2.1", start.as_bytes()).await;
        started.unwrap();
        held.push(client);
    }
    // A ninth of 8 MiB.
    wait_for("all but 14 are closed", || scene.refused("memory") == 126).await;
    assert_eq!(scene.server.large_heads.used(), 14 * 64 * 1024);
    assert_eq!(scene.server.http2_requests.used(), 0);
    for peer in ["192.0.2.1", "198.51.100.1"] {
        assert!(is_answered_in_http2(&scene, peer).await, "{peer}");
    }
    let whole = format!("{start}\r\nconnection: close\r\n\r\n");
    let (mut client, started) = scene.send("198.51.100.1", whole.as_bytes()).await;
    started.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// A peer that never lets answers be sent, and one that lets one byte of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_http2_requests_take_memory_until_their_answers_are_sent() {
    for window in [0, 1] {
        let scene = Scene::new(Limits::default()).await;
        let used = || scene.server.http2_requests.used();
        let requests: Vec<_> = (0..100)
            .map(|n| http2_request(2 * n + 1, GET, "/small", END_STREAM))
            .collect();
        let bytes = http2(&[0, 4, 0, 0, 0, window], &requests);
        let (mut client, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &bytes).await;
        started.unwrap();
        let last = if window == 0 { HEADERS } else { DATA };
        let mut unsent = 0;
        while unsent < 100 {
            let (kind, flags, _) = next_frame(&mut client).await.unwrap();
            if kind == last {
                assert_eq!(flags & END_STREAM, 0, "{kind}");
                unsent += 1;
            }
        }
        assert_eq!(used(), 100 * REQUEST_BYTES, "{window}");
        let reset: Vec<_> = (0..60)
            .map(|n| frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]))
            .collect();
        client.write_all(&reset.concat()).await.unwrap();
        wait_for("40 are left", || used() == 40 * REQUEST_BYTES).await;
        let sent: Vec<_> = (60..100).map(|n| window_update(2 * n + 1)).collect();
        client.write_all(&sent.concat()).await.unwrap();
        wait_for("all are sent", || used() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_http2_request_bounds_the_time_of_its_connection() {
    for (first, method, flags) in [("/small", GET, END_STREAM), ("/body", POST, 0)] {
        let scene = Scene::new(Limits {
            write_timeout: Duration::from_millis(500),
            ..Limits::default()
        })
        .await;
        let bytes = http2(
            &[0, 4, 0, 0, 0, 0],
            &[http2_request(1, method, first, flags)],
        );
        let (mut client, started) = scene.send_in(Protocol::Http2, "192.0.2.1", &bytes).await;
        started.unwrap();
        // Others end one after the other.
        for n in 1..200 {
            let next = http2_request(2 * n + 1, GET, "/small", END_STREAM);
            let next = [next, window_update(2 * n + 1)].concat();
            if client.write_all(&next).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
            if scene.refused("timeout") == 1 {
                break;
            }
        }
        assert_eq!(scene.refused("timeout"), 1, "{first}");
        assert_eq!(scene.server.counts.open(), 0);
    }
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
