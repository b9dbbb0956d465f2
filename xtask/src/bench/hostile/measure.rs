//! The CPU time of a request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use crate::bench::process::cpu_ns;
use crate::stage::Running;

/// The program's CPU time per request over so many requests, in µs.
pub(super) fn cpu_us(client: &Running, request: &[u8], requests: u32) -> Result<f64> {
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
    send(requests.min(5))?;
    let before = cpu_ns(client.pid())?;
    send(requests)?;
    let spent = cpu_ns(client.pid())?.saturating_sub(before);
    Ok(spent as f64 / f64::from(requests) / 1_000.0)
}

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
