//! Callers that start something and never finish it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::{WAIT, connect};

/// Runs all stalls together against a service with the short waits.
pub async fn every_stall_ends(url: &str, post: &str) {
    let stalls = stalls(post);
    join_all(stalls.iter().map(|stall| ends(url, stall))).await;
    does_not_wait_for_a_caller_that_does_not_read(url).await;
}

/// Something a caller does and never finishes.
struct Stall {
    name: &'static str,
    /// Sent together.
    sends: Vec<u8>,
    /// Sent after it, one byte at a time, for ever.
    drips: Option<u8>,
    /// What the answers begin with; nothing where there is no answer.
    answer: &'static str,
    /// When the connection is closed, at the earliest …
    after: Duration,
    /// … and at the latest, apart from [`SLACK`].
    within: Duration,
}

/// A request that is answered.
const GET: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// Nothing ends before this.
const EARLY: Duration = WAIT.saturating_mul(3).checked_div(4).unwrap();
/// A stall ends within its bound and so much for a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// `post` is a path that takes a body.
fn stalls(post: &str) -> Vec<Stall> {
    [
        unfinished_heads(),
        unfinished_bodies(post),
        unfinished_followers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn stall(
    name: &'static str,
    sends: impl Into<Vec<u8>>,
    answer: &'static str,
    after: Duration,
    within: Duration,
) -> Stall {
    Stall {
        name,
        sends: sends.into(),
        drips: None,
        answer,
        after,
        within,
    }
}

fn drip(byte: u8, stall: Stall) -> Stall {
    Stall {
        drips: Some(byte),
        ..stall
    }
}

fn unfinished_heads() -> Vec<Stall> {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = "\0\0\0\x04\0\0\0\0\0";
    let (none, head) = (Duration::ZERO, WAIT);
    vec![
        stall("nothing", "", "", EARLY, head),
        stall("one byte", "G", "", EARLY, head),
        stall(
            "half a preface",
            "PRI * HTTP/2.0\r\n",
            "HTTP/1.1 400",
            none,
            head,
        ),
        stall(
            "a preface in two pieces",
            "PRI * HTTP/2.0\r\n\r\nSM",
            "HTTP/1.1 400",
            none,
            head,
        ),
        stall("HTTP/2", format!("{preface}{settings}"), "", none, head),
        stall("an unfinished head", GET.trim_end(), "", EARLY, head),
        drip(b'a', stall("a dripping head", "GET /", "", none, head)),
        drip(b'\n', stall("dripping lines", "", "", none, head)),
    ]
}

fn unfinished_bodies(post: &str) -> Vec<Stall> {
    let post = |rest: &str| format!("POST {post} HTTP/1.1\r\nhost: localhost\r\n{rest}");
    let (too_slow, body) = ("HTTP/1.1 408", WAIT * 2);
    vec![
        stall(
            "no body",
            post("content-length: 9\r\n\r\n"),
            too_slow,
            EARLY,
            body,
        ),
        stall(
            "half a body",
            post("content-length: 9\r\n\r\n{\"a\""),
            too_slow,
            EARLY,
            body,
        ),
        drip(
            b' ',
            stall(
                "a dripping body",
                post("content-length: 9999\r\n\r\n{"),
                too_slow,
                EARLY,
                body,
            ),
        ),
        stall(
            "an unfinished chunk",
            post("transfer-encoding: chunked\r\n\r\n9\r\n{"),
            too_slow,
            EARLY,
            body,
        ),
        drip(
            b'0',
            stall(
                "an endless length of a chunk",
                post("transfer-encoding: chunked\r\n\r\n0"),
                too_slow,
                EARLY,
                body,
            ),
        ),
        drip(
            b'x',
            stall(
                "an endless extension of a chunk",
                post("transfer-encoding: chunked\r\n\r\n1;"),
                too_slow,
                EARLY,
                body,
            ),
        ),
        drip(
            b'x',
            stall(
                "an endless trailer",
                post("transfer-encoding: chunked\r\n\r\n0\r\nx: "),
                too_slow,
                EARLY,
                body,
            ),
        ),
        stall(
            "a body that is not sent after 100 Continue",
            post("expect: 100-continue\r\ncontent-length: 9\r\n\r\n"),
            "HTTP/1.1 100",
            EARLY,
            body,
        ),
    ]
}

/// What follows a request that was answered.
fn unfinished_followers() -> Vec<Stall> {
    let head = WAIT;
    vec![
        stall("no second request", GET, "HTTP/1.1 200", WAIT * 4, WAIT * 5),
        stall(
            "an unfinished head behind a request",
            format!("{GET}GET /"),
            "HTTP/1.1 200",
            EARLY,
            head * 2,
        ),
        stall(
            "an unfinished head behind a long request",
            format!(
                "GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\nGET /",
                "x".repeat(20_000)
            ),
            "HTTP/1.1 200",
            EARLY,
            head * 2,
        ),
    ]
}

async fn ends(url: &str, stall: &Stall) {
    let mut stream = connect(url).await;
    let begun = Instant::now();
    stream.write_all(&stall.sends).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let drip = async {
        if let Some(byte) = stall.drips {
            while writer.write_all(&[byte]).await.is_ok() {
                sleep(WAIT / 20).await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // A reset is an end as well.
        _ = reader.read_to_end(&mut answer) => {}
        () = drip => {}
        () = sleep(stall.within + SLACK) => panic!("{}: still open", stall.name),
    }
    let (elapsed, name) = (begun.elapsed(), stall.name);
    let answer = String::from_utf8_lossy(&answer);
    assert!(elapsed >= stall.after, "{name}: closed after {elapsed:?}");
    // Unread bytes make a close a reset, which may take the answer with it.
    if stall.drips.is_none() || !answer.is_empty() {
        assert!(answer.starts_with(stall.answer), "{name}: {answer}");
        assert_eq!(
            answer.is_empty(),
            stall.answer.is_empty(),
            "{name}: {answer}"
        );
    }
    assert!(!answer.contains('\0'), "{name}: HTTP/2 is answered");
}

/// Hundreds of requests whose answers are not read.
async fn does_not_wait_for_a_caller_that_does_not_read(url: &str) {
    let mut stream = connect(url).await;
    let request = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(&request.repeat(50)).await.unwrap();
    let ends = async {
        while stream.write_all(b" ").await.is_ok() {
            sleep(WAIT / 10).await;
        }
    };
    timeout(WAIT + SLACK, ends)
        .await
        .expect("a caller that does not read is cut off");
}
