//! The CPU time of a request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bench::programs::Program;

/// The program's CPU time per request over [`REQUESTS`], in µs.
pub(super) fn measure(client: &Program, request: &[u8]) -> Result<f64> {
    let mut connection = None;
    let mut send = |times: u32| -> Result<()> {
        for _ in 0..times {
            let mut open = match connection.take() {
                Some(open) => open,
                None => connect(client.port)?,
            };
            // A refused head may be answered before it was read completely.
            let written = open.get_mut().write_all(request);
            if written.is_ok() && is_kept(&mut open).unwrap_or_default() {
                connection = Some(open);
            }
        }
        Ok(())
    };
    send(5)?;
    let before = cpu_ns(client.pid())?;
    send(REQUESTS)?;
    let spent = cpu_ns(client.pid())? - before;
    Ok(spent as f64 / f64::from(REQUESTS) / 1_000.0)
}

/// Requests per measurement.
const REQUESTS: u32 = 100;

fn connect(port: u16) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(BufReader::new(stream))
}

/// Reads a response; returns whether the connection stays open.
fn is_kept(stream: &mut BufReader<TcpStream>) -> Result<bool> {
    let (mut is_kept, mut length) = (true, None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<u64>()?);
        }
        is_kept &= line != "connection: close";
    }
    let Some(length) = length else {
        return Ok(false);
    };
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    Ok(is_kept)
}

/// CPU time of all threads of a process, in ns (proc(5), `schedstat`).
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        sum += on_cpu(&task?.path().join("schedstat"))?;
    }
    Ok(sum)
}

fn on_cpu(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let first = text.split(' ').next().context("an unexpected schedstat")?;
    Ok(first.parse()?)
}
