//! Running other programs.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// `cargo`, in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    command
}

/// Runs a step with its output shown; prints how long it took.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    println!("── {name}");
    let start = now();
    let status = command
        .status()
        .with_context(|| format!("{name}: cannot start {}", show(command)))?;
    if !status.success() {
        bail!("{name} failed: {}", show(command));
    }
    println!("── {name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a command and returns its output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", show(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            show(command),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Stops a program with SIGTERM and waits for it; kills it after 12 s.
pub(crate) fn stop(child: &mut Child) -> Result<Duration> {
    let start = now();
    if child.try_wait()?.is_none() {
        output(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
    }
    while start.elapsed() < Duration::from_secs(12) {
        if child.try_wait()?.is_some() {
            return Ok(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    bail!("process {} did not end within 12 s of SIGTERM", child.id());
}

/// A free port.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether a port accepts connections.
pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Sends JSON to a service on this machine; fails unless it answers 200.
pub(crate) fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<()> {
    ask_for(port, method, path, &[], body).map(|_| ())
}

/// The same with headers; returns the answer and also accepts 201.
pub(crate) fn ask_for(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let length = body.len();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )?;
    // Some services keep the connection open regardless of the headers.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), None);
    while !head.ends_with("\r\n\r\n") {
        let from = head.len();
        ensure!(stream.read_line(&mut head)? > 0, "{method} {path}: {head}");
        let line = head[from..].split_once(':');
        if let Some((name, value)) = line
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let mut answer = String::new();
    let length = length.unwrap_or(u64::MAX);
    stream.take(length).read_to_string(&mut answer)?;
    let is_good = ["200", "201"].map(|code| head.starts_with(&format!("HTTP/1.1 {code}")));
    ensure!(is_good.contains(&true), "{method} {path}: {head}{answer}");
    Ok(answer)
}

/// Whether a program is on the path.
pub(crate) fn exists(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status();
    found.is_ok_and(|status| status.success())
}

/// Whether Debian's Python has these modules.
pub(crate) fn has_modules(names: &str) -> bool {
    let import = format!("import {names}");
    output(Command::new("/usr/bin/python3").args(["-c", &import])).is_ok()
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0")
}

/// For measuring how long things take.
#[expect(
    clippy::disallowed_methods,
    reason = "these commands measure real time"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Maximum number of arguments that an error shows.
const MAX_SHOWN: usize = 20;

fn show(command: &Command) -> String {
    let arguments = command.get_args();
    let more = arguments.len().saturating_sub(MAX_SHOWN);
    let mut words: Vec<_> = std::iter::once(command.get_program())
        .chain(arguments.take(MAX_SHOWN))
        .map(OsStr::to_string_lossy)
        .collect();
    if more > 0 {
        words.push(format!("… ({more} more arguments)").into());
    }
    words.join(" ")
}
