//! Event subscribers: memory per subscriber, and how long a change takes to reach all of
//! them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Bench;
use super::measure::{median, resident_kib};
use super::programs::{Program, build, license_client, ours};
use crate::program::{ask, free_port, now, output};

/// Threads that read for all subscribers.
const LISTENERS: usize = 8;
const FEATURE: &str = "module.map_view";

pub(super) fn run(command: &Bench) -> Result<()> {
    build()?;
    let directory = tempfile::tempdir()?;
    let vendor = |arguments: &[&str]| {
        let mut command = ours("license-server");
        command
            .arg("--state-dir")
            .arg(directory.path().join("server"));
        command.args(arguments);
        command
    };
    let port = free_port()?;
    let server = Program::start(
        vendor(&["serve", "--log", "warn", "--port", &port.to_string()]),
        port,
    )?;
    let issued = output(&mut vendor(&["issue", "--tier", "professional", "--json"]))?;
    let issued: Value = serde_json::from_str(&issued)?;
    let key = issued["licenseKey"]
        .as_str()
        .context("no license is issued")?;
    let url = format!("http://127.0.0.1:{}/api", server.port);
    let client = license_client(directory.path(), &["--license-api-url", &url])?;
    let body = format!("{{\"licenseKey\":\"{key}\"}}");
    ask(client.port, "POST", "/api/license/activate", &body)?;

    let before = resident_kib(client.pid())?;
    let mut subscribers = Vec::new();
    for _ in 0..command.subscribers {
        subscribers.push(subscribe(client.port)?);
    }
    std::thread::sleep(Duration::from_millis(500));
    let count = u64::from(command.subscribers);
    let added = resident_kib(client.pid())?.saturating_sub(before);
    println!(
        "{count} subscribers: {added} KiB more than {before}, {:.1} KiB each",
        added as f64 / f64::from(command.subscribers)
    );

    let mut first = Vec::new();
    let mut last = Vec::new();
    for round in 1..=command.rounds {
        for switch in ["false", "true"] {
            let (soonest, latest) = change(&mut subscribers, client.port, switch)?;
            println!(
                "round {round}  one change: the first subscriber gets it after {soonest:.1} ms, \
                 the last after {latest:.1} ms"
            );
            first.push(soonest);
            last.push(latest);
        }
    }
    println!(
        "median of {}: the first after {:.1} ms, the last after {:.1} ms",
        first.len(),
        median(first),
        median(last)
    );
    Ok(())
}

/// Makes a change and waits until every subscriber has received it; returns the milliseconds
/// since the request.
fn change(subscribers: &mut [TcpStream], port: u16, on: &str) -> Result<(f64, f64)> {
    let share = subscribers.len().div_ceil(LISTENERS);
    let start = now();
    std::thread::scope(|scope| {
        let listeners: Vec<_> = subscribers
            .chunks_mut(share)
            .map(|mine| scope.spawn(move || hear(mine, start)))
            .collect();
        let body = format!("{{\"systemEnabled\":{on}}}");
        ask(
            port,
            "PUT",
            &format!("/api/license/features/{FEATURE}"),
            &body,
        )?;
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

fn subscribe(port: u16) -> Result<TcpStream> {
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
