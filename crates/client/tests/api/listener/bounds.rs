//! Connections, bodies and heads are bounded together.

use std::time::Duration;

use futures_util::future::join_all;
use license_service::listener::Limits;
use license_service::request_body::BodyLimits;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{CHECK, from_outside, metric};
use crate::database::Engine;
use crate::harness::Site;
use crate::program::Program;
use crate::raw_http::{ON_EVERY_RESPONSE, connect, exchange, read_head, read_to_end};
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_a_slow_or_idle_one_makes_room() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &["--max-connections", "16"]).await;
    // The harness keeps one, which is idle.
    let mut busy = Vec::new();
    for _ in 0..16 {
        let mut stream = connect(&site.url).await;
        let half = from_outside(CHECK, "expect: 100-continue\r\ncontent-length: 5\r\n");
        stream.write_all(half.as_bytes()).await.unwrap();
        // The request is in flight.
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 100"));
        busy.push(stream);
    }
    // The request that its caller has delayed the longest makes room.
    let (status, _) = site.get("/livez").await;
    assert_eq!(status, StatusCode::OK);
    busy[0].write_all(b"{").await.unwrap();
    let refused = read_to_end(&mut busy[0]).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    for header in ON_EVERY_RESPONSE {
        assert!(refused.contains(header), "{refused}");
    }

    // Those that have finished are idle. The harness's connection has been idle the longest, and
    // the first of them makes room next.
    for stream in &mut busy[1..] {
        stream.write_all(b"{   }").await.unwrap();
        assert!(read_head(stream).await.starts_with("HTTP/1.1 422"));
    }
    let _newcomers = [connect(&site.url).await, connect(&site.url).await];
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(10), busy[1].read_to_end(&mut rest));
    closed.await.expect("it makes room").unwrap();
    let last = busy[15].try_read(&mut [0; 1]);
    assert_eq!(last.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let refused = "foxsight_license_connections_refused_total{reason=\"total\"}";
    assert_eq!(metric(&site, refused).await, 0);
    assert!(metric(&site, "foxsight_license_connections ").await <= 16);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_flight_are_bounded_and_a_trusted_caller_gets_through() {
    let cloud = ScriptedCloud::start().await;
    let bodies = BodyLimits {
        open_bytes: 512 * 1024,
        reserved_bytes: 3 * 1024 * 1024,
        ..BodyLimits::default()
    };
    let site = Site::start_within(Engine::Sqlite, &cloud.url, &[], Limits::default(), bodies).await;
    let held: usize = 60 * 1024;
    let hold = async || {
        let mut stream = connect(&site.url).await;
        let head = from_outside(CHECK, "content-length: 65536\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; held]).await.unwrap();
        stream
    };
    let mut streams = join_all((0..40).map(|_| hold())).await;
    let used = "foxsight_license_request_body_bytes";
    site.until("the budget is used up", async || {
        metric(&site, used).await > 400 * 1024
    })
    .await;
    assert!(metric(&site, used).await <= 512 * 1024);

    // One more is refused, but not for trusted callers.
    let mut refused = hold().await;
    refused.write_all(&vec![b' '; 65536 - held]).await.unwrap();
    let refused = read_head(&mut refused).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    let file = json!({"file": "x".repeat(1024 * 1024)});
    let (status, answer) = site.post("/api/license/offline/import", Some(file)).await;
    // It has been read.
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let keys = json!({"featureKeys": ["module.live_view"], "more": " ".repeat(50_000)});
    let (status, answer) = site.post(CHECK, Some(keys)).await;
    assert_eq!(
        (status, &answer["features"][0]["available"]),
        (StatusCode::OK, &json!(true))
    );
    assert!(site.is_available("module.live_view").await);

    // Short requests of others still get through as well.
    let body = r#"{"featureKeys":["module.live_view"]}"#;
    let head = format!("content-length: {}\r\nconnection: close\r\n", body.len());
    let short = from_outside(CHECK, &head) + body;
    let answer = exchange(&site.url, short.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    streams.clear();
    site.until("the bytes are given back", async || {
        metric(&site, used).await == 0
    })
    .await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_are_for_trusted_imports() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let long = json!({"featureKey": "x".repeat(70_000), "file": ""});
    for (path, most) in [
        (CHECK, 65_536),
        ("/api/license/activate", 65_536),
        ("/api/license/feature/check", 8_192),
        ("/api/license/limits/check", 8_192),
        ("/ofrep/v1/evaluate/flags", 8_192),
    ] {
        let (status, answer) = site.post(path, Some(long.clone())).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        let detail = answer["detail"].as_str().unwrap();
        assert_eq!(
            detail,
            format!("The request body is too large. The limit is {most} bytes.")
        );
    }
    let form = site.http.post(format!("{}/console/sign-in", site.url));
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body("a&".repeat(4_097)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    errors_repeat_the_beginning(&site).await;
    let (status, _) = site
        .post("/api/license/offline/import", Some(long.clone()))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let longest = json!({"file": "x".repeat(1_200_000)});
    let (status, _) = site
        .post("/api/license/offline/import", Some(longest))
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let untrusted = site
        .http
        .post(format!("{}/api/license/offline/import", site.url))
        .header("x-forwarded-for", "192.0.2.1")
        .json(&json!({"file": ""}))
        .send();
    assert_eq!(untrusted.await.unwrap().status(), StatusCode::UNAUTHORIZED);

    // A body that is too long by its own words is not asked for.
    let head = "expect: 100-continue\r\ncontent-length: 70000\r\n";
    let mut stream = connect(&site.url).await;
    stream
        .write_all(from_outside(CHECK, head).as_bytes())
        .await
        .unwrap();
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    // Tiny chunks are read, but not any number of them: each costs as much as a large one.
    for (chunks, status) in [(1_000, "422"), (60_000, "400")] {
        let chunks = "1\r\n \r\n".repeat(chunks) + "2\r\n{}\r\n0\r\n\r\n";
        let head = "transfer-encoding: chunked\r\nconnection: close\r\n";
        let request = from_outside(CHECK, head) + &chunks;
        let answer = exchange(&site.url, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
    }
    site.end().await;
}

/// An error repeats the beginning of what was sent.
async fn errors_repeat_the_beginning(site: &Site) {
    for (path, field) in [
        ("/api/license/feature/check", "featureKey"),
        ("/api/license/limits/check", "resource"),
        (CHECK, "featureKeys"),
    ] {
        for length in [4_000, 8_000, 60_000] {
            let (status, answer) = site
                .post(path, Some(json!({field: {"a": "x".repeat(length)}})))
                .await;
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                assert!(length > 8_000 && path != CHECK, "{path}: {length}");
                continue;
            }
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
            assert_eq!(answer["detail"][0]["loc"], json!(["body", field]));
            let input = answer["detail"][0]["input"].as_str().unwrap();
            assert!(input.ends_with('…') && input.len() < 1_030, "{input}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_heads_are_bounded_together() {
    let cloud = ScriptedCloud::start().await;
    let limits = Limits {
        large_heads_bytes: 64 * 1024,
        ..Limits::default()
    };
    let site = Site::start_within(
        Engine::Sqlite,
        &cloud.url,
        &[],
        limits,
        BodyLimits::default(),
    )
    .await;
    // One head for all callers, and one more for trusted networks.
    let long = format!(
        "GET /livez HTTP/1.1\r\nhost: a\r\nx: {}",
        "x".repeat(20_000)
    );
    let complete = format!("{long}\r\nconnection: close\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&site.url).await;
        stream.write_all(long.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let refused = "foxsight_license_connections_refused_total{reason=\"memory\"}";
    let is_refused = async || metric(&site, refused).await == 1;
    site.until("the third is refused", is_refused).await;
    assert_eq!(exchange(&site.url, complete.as_bytes()).await, "");

    // Those that are gone make room.
    held.clear();
    let is_answered = async || {
        let answer = exchange(&site.url, complete.as_bytes()).await;
        answer.starts_with("HTTP/1.1 200")
    };
    site.until("there is room again", is_answered).await;
    site.end().await;
}

/// Memory that the program uses, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_callers_that_send_half_cost_little_memory() {
    let program = Program::start(&[]).await;
    let before = resident(program.pid());
    let address = program.url("");
    // A body one byte short of the maximum import, one byte short of the maximum body, and a head
    // one byte short of the maximum.
    let long = |path, length, headers: &str| {
        let head = from_outside(path, headers);
        [head.into_bytes(), vec![b' '; length]].concat()
    };
    let import = long(CHECK, 1_179_647, "content-length: 1179648\r\n");
    let body = long(CHECK, 65_535, "content-length: 65536\r\n");
    let head = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}",
        "x".repeat(65_400)
    );
    let hold = async |bytes: &[u8]| -> TcpStream {
        let mut stream = connect(&address).await;
        // One that is refused early is not read to its end.
        drop(timeout(Duration::from_secs(1), stream.write_all(bytes)).await);
        stream
    };
    let mut held = Vec::new();
    for bytes in [&import[..], &body, head.as_bytes()] {
        held.extend(join_all((0..400).map(|_| hold(bytes))).await);
    }
    // Nothing shows when the program has read what was sent: this is time to read it.
    sleep(Duration::from_millis(200)).await;
    let grown = resident(program.pid()).saturating_sub(before);
    assert!(grown < 120 * 1024, "{grown} KiB more, from {before} KiB");
    let answer = program.text("/livez").await;
    assert_eq!(answer, "ok");
    drop(held);
}
