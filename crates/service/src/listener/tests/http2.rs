use super::*;

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
