use super::*;

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
    let (mut client, started) = scene.send("192.0.2.3", HEAD.as_bytes()).await;
    assert_eq!(started, Err(Refusal::Address));
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    for line in [
        "retry-after: 1\r\n",
        "connection: close\r\n",
        "referrer-policy: same-origin\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert!(answer.contains(line), "{answer}");
    }

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
    // Whoever may have changed something is not told to repeat it.
    for (path, is_known) in [("/change", false), ("/refused", true)] {
        let post = get(path).replace("GET", "POST");
        let (mut client, started) = scene.send("198.51.100.1", post.as_bytes()).await;
        started.unwrap();
        let answer = read_to_end(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
        assert_eq!(answer.contains("\r\nretry-after: 1\r\n"), is_known);
        assert_eq!(answer.contains("\"code\":\"outcome_unknown\""), !is_known);
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

/// A runtime with one thread: the service reads nothing until the test waits.
#[tokio::test]
async fn a_connection_that_makes_room_begins_no_request() {
    let scene = Scene::new(Limits {
        max_connections: 32,
        ..Limits::default()
    })
    .await;
    let (mut stream, started) = scene.send("192.0.2.1", ENDLESS).await;
    started.unwrap();
    assert_eq!(read_status(&mut stream).await, "200");
    // An address may have two connections.
    let (mut first, of_first) = scene.dial(ENDLESS).await;
    let (mut second, of_second) = scene.dial(ENDLESS).await;
    for accepted in [of_first, of_second] {
        let started = scene.start(Protocol::Http1, "192.0.2.1", accepted);
        assert_eq!(started, Ok(()));
    }
    let answer = read_to_end(&mut first).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert_eq!(read_status(&mut second).await, "200");
    assert_eq!(scene.server.counts.open(), 2);
}

/// It may have begun a response, or continue one, in the moment in which it is chosen.
#[tokio::test]
async fn a_connection_that_makes_room_ends_in_bounded_time() {
    let scene = Scene::new(Limits::default()).await;
    let (mut stream, started) = scene.send("192.0.2.1", ENDLESS).await;
    started.unwrap();
    assert_eq!(read_status(&mut stream).await, "200");
    scene.server.admission.for_each(Activity::dismiss);
    scene.server.connections.close();
    let ended = tokio::time::timeout(Duration::from_secs(20), scene.server.connections.wait());
    ended.await.expect("it ends");
}
