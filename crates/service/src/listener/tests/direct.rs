use axum::http::{HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::direct::{ByHead, DirectResponse, Head};

/// Answers `/direct`, also with the body of a `POST`.
#[derive(Debug)]
struct Echo;

impl Direct for Echo {
    fn by_head(&self, head: &Head<'_>, _: SocketAddr) -> ByHead {
        let tier = HeaderValue::from_static("tier");
        match (head.method, head.path) {
            ("GET", "/direct") => ByHead::Response(DirectResponse {
                headers: vec![(HeaderName::from_static("x-tier"), tier)],
                ..DirectResponse::empty(StatusCode::OK)
            }),
            ("GET", "/not-modified") => {
                ByHead::Response(DirectResponse::empty(StatusCode::NOT_MODIFIED))
            }
            ("GET", "/big") => {
                let body = "x".repeat(16 * 1024).into();
                ByHead::Response(DirectResponse::json(StatusCode::OK, body))
            }
            ("POST", "/body") => ByHead::Body,
            _ => ByHead::Router,
        }
    }

    fn by_body(&self, _: &Head<'_>, body: &[u8]) -> Option<DirectResponse> {
        let body = Bytes::copy_from_slice(body);
        (body != "routed").then(|| DirectResponse::json(StatusCode::OK, body))
    }
}

async fn scene(limits: Limits) -> Scene {
    let mut scene = Scene::new(limits).await;
    let router = scene.answers.router.clone();
    let direct = Arc::new(Echo);
    scene.answers = Arc::new(Answers { direct, router });
    scene
}

fn request(line: &str, headers: &str, body: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}")
}

/// One response, whose body has this length.
async fn response(client: &mut TcpStream, body: usize) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(client.read_u8().await.unwrap());
    }
    let head = bytes.len();
    bytes.resize(head + body, 0);
    client.read_exact(&mut bytes[head..]).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The lines of a response in alphabetical order: the order of headers has no meaning.
fn sorted(response: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = response.split("\r\n").collect();
    lines.retain(|line| !line.starts_with("date: "));
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_do_not_depend_on_who_reads_the_request() {
    let scene = scene(Limits::default()).await;
    for (line, headers, body, length) in [
        ("GET /direct?a=b", "", "", 0),
        ("GET /not-modified", "", "", 0),
        ("GET /big", "", "", 16 * 1024),
        ("GET /small", "", "", 5),
    ] {
        let whole = request(line, headers, body);
        let (mut client, started) = scene.send("192.0.2.1", whole.as_bytes()).await;
        started.unwrap();
        let first = response(&mut client, length).await;
        // The library also reads a request that does not arrive at once, or with something else.
        let by_library = request(line, &format!("{headers}te: a\r\nexpect: \r\n"), body);
        client.write_all(by_library.as_bytes()).await.unwrap();
        let second = response(&mut client, length).await;
        assert_eq!(sorted(&first), sorted(&second), "{line}");
        client.write_all(whole.repeat(2).as_bytes()).await.unwrap();
        for _ in 0..2 {
            let pipelined = response(&mut client, length).await;
            assert_eq!(sorted(&pipelined), sorted(&first), "{line}");
        }
        assert_eq!(first.matches("date: ").count(), 1, "{first}");
        assert!(first.contains("x-content-type-options: nosniff"), "{first}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_has_arrived_is_answered_without_the_router() {
    let scene = scene(Limits::default()).await;
    let post = |body: &str| {
        request(
            "POST /body",
            &format!("content-length: {}\r\n", body.len()),
            body,
        )
    };
    let (mut client, started) = scene.send("192.0.2.1", post("abc").as_bytes()).await;
    started.unwrap();
    let answer = response(&mut client, 3).await;
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
    // On the same connection: one that the router answers, then one that arrives in two parts.
    client.write_all(post("routed").as_bytes()).await.unwrap();
    let answer = response(&mut client, 4).await;
    assert!(answer.ends_with("\r\n\r\nread"), "{answer}");
    let (first, second) = ("POST /body HTTP/1.1\r\ncontent-len", "gth: 3\r\n\r\nabc");
    client.write_all(first.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    client.write_all(second.as_bytes()).await.unwrap();
    let answer = response(&mut client, 4).await;
    assert!(
        answer.ends_with("\r\n\r\nread") || answer.ends_with("abc"),
        "{answer}"
    );
    client.write_all(post("abc").as_bytes()).await.unwrap();
    let answer = response(&mut client, 3).await;
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
}

/// A peer that asks and does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_response_waits_for_its_peer_within_bounds() {
    let scene = scene(Limits {
        write_timeout: Duration::from_millis(400),
        ..Limits::default()
    })
    .await;
    let (mut client, started) = scene.send("192.0.2.1", b"").await;
    started.unwrap();
    let one = request("GET /big", "", "");
    let asking = async {
        loop {
            if client.write_all(one.as_bytes()).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking)
        .await
        .expect("it is reset");
    scene.server.connections.close();
    scene.server.connections.wait().await;
    assert_eq!(scene.refused("timeout"), 1);
}
