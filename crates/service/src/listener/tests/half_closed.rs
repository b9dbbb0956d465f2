//! Peers that close their sending side after their last request.

use super::*;
use crate::connection::HALF_CLOSED_TIMEOUT;

fn request(path: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// A peer that has sent everything that it will send.
async fn send_all(scene: &Scene, requests: &str) -> TcpStream {
    let (mut client, stream) = scene.dial(requests.as_bytes()).await;
    client.shutdown().await.unwrap();
    scene.start(Protocol::Http1, "192.0.2.1", stream).unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn complete_requests_are_answered_completely() {
    let scene = Scene::new(Limits::default()).await;
    let body = "POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabcd";
    for _ in 0..50 {
        let mut client = send_all(&scene, body).await;
        assert!(read_to_end(&mut client).await.ends_with("read"));
    }
    for (path, bytes) in [
        ("small", 5),
        ("later", 5),
        ("big", BIG_BYTES),
        ("long", LONG_BYTES),
        ("shared", LONG_BYTES),
        ("parts", 4 * LONG_BYTES),
    ] {
        for times in [1, 3] {
            let mut client = send_all(&scene, &request(path).repeat(times)).await;
            // The response fills all buffers before the peer reads.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answers = read_to_end(&mut client).await;
            let heads = answers.matches("HTTP/1.1 200 OK").count();
            assert_eq!(heads, times, "{path}");
            assert!(answers.len() > times * bytes, "{path} {}", answers.len());
        }
    }
    scene.server.connections.close();
    scene.server.connections.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_side_may_be_closed_while_the_response_is_created() {
    let scene = Scene::new(Limits::default()).await;
    let (mut client, started) = scene.send("192.0.2.1", request("later").as_bytes()).await;
    started.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    client.shutdown().await.unwrap();
    assert!(read_to_end(&mut client).await.ends_with("later"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn part_of_a_request_is_not_waited_for_long() {
    let scene = Scene::new(Limits::default()).await;
    for part in [
        "",
        "GET /small HTTP/1.1\r\n",
        "POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nabc",
        "POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabc",
    ] {
        let start = Instant::now();
        let mut client = send_all(&scene, part).await;
        let answer = read_to_end(&mut client).await;
        assert!(!answer.contains(" 200 "), "{part:?}: {answer}");
        assert!(start.elapsed() < 2 * HALF_CLOSED_TIMEOUT, "{part:?}");
    }
    scene.server.connections.close();
    let ended = scene.server.connections.wait();
    let ended = tokio::time::timeout(HALF_CLOSED_TIMEOUT / 2, ended).await;
    ended.expect("no connection is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_without_progress_ends() {
    let scene = Scene::new(Limits::default()).await;
    let mut ended = Vec::new();
    for path in ["endless", "never"] {
        let start = Instant::now();
        let mut client = send_all(&scene, &request(path)).await;
        let answer = read_to_end(&mut client).await;
        ended.push((answer.contains(" 200 "), start.elapsed()));

        let (client, started) = scene.send("192.0.2.1", request(path).as_bytes()).await;
        started.unwrap();
        drop(client);
    }
    assert_eq!([ended[0].0, ended[1].0], [true, false]);
    for (_, took) in ended {
        assert!(took >= HALF_CLOSED_TIMEOUT, "{took:?}");
        assert!(took < 2 * HALF_CLOSED_TIMEOUT, "{took:?}");
    }
    // A peer that is gone does not keep its place.
    scene.server.connections.close();
    let ended = tokio::time::timeout(2 * HALF_CLOSED_TIMEOUT, scene.server.connections.wait());
    ended.await.expect("no connection is left");
    assert_eq!(scene.refused("timeout"), 0);
}
