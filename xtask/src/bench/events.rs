//! Event subscribers: how long a change takes to reach all of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::clients::licensed;
use super::plan::Plan;
use super::results::Results;
use crate::program::now;
use crate::stage::{FEATURE, Running, Size, Stage};

/// Threads that read for all subscribers.
const LISTENERS: usize = 8;

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let (client, _server) = licensed(&stage, &[])?;
    let mut subscribers = Vec::new();
    for _ in 0..plan.subscribers {
        subscribers.push(subscribe(client.port)?);
    }
    for round in 1..=plan.rounds {
        for switch in [false, true] {
            let (first, last) = change(&mut subscribers, &client, switch)?;
            println!(
                "round {round}  one change, {} subscribers: the first receives it after {first:.1} \
                 ms, the last after {last:.1} ms",
                subscribers.len()
            );
            results.add("first-event", first)?;
            results.add("last-event", last)?;
        }
    }
    Ok(())
}

/// Makes a change and waits until every subscriber has received it; returns the milliseconds
/// since the request.
fn change(subscribers: &mut [TcpStream], client: &Running, on: bool) -> Result<(f64, f64)> {
    let share = subscribers.len().div_ceil(LISTENERS);
    let start = now();
    std::thread::scope(|scope| {
        let listeners: Vec<_> = subscribers
            .chunks_mut(share)
            .map(|mine| scope.spawn(move || hear(mine, start)))
            .collect();
        let path = format!("/api/license/features/{FEATURE}");
        let answer = client.ask("PUT", &path, &json!({"systemEnabled": on}))?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        let mut heard = Vec::new();
        for listener in listeners {
            let listener = listener.join().ok().context("a subscriber failed")?;
            heard.extend(listener?);
        }
        heard.sort_by(f64::total_cmp);
        let ends = heard.first().zip(heard.last());
        let (first, last) = ends.context("no subscribers are connected")?;
        Ok((*first, *last))
    })
}

fn hear(subscribers: &mut [TcpStream], start: Instant) -> Result<Vec<f64>> {
    let mut heard = Vec::new();
    for subscriber in subscribers {
        until_event(subscriber)?;
        heard.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(heard)
}

/// A subscriber that has received its first event.
pub(super) fn subscribe(port: u16) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /api/license/events HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    until_event(&mut stream)?;
    Ok(stream)
}

/// Reads to the end of the next event, skipping comments.
fn until_event(stream: &mut TcpStream) -> Result<()> {
    let mut text = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the License Client closed a stream");
        text.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&text);
        if text.contains("data:") && text.trim_end_matches("\r\n").ends_with("\n\n") {
            return Ok(());
        }
    }
}
