//! Memory of the License Client: idle, under load, for each connection and for each event
//! subscriber.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::clients::licensed;
use super::events::subscribe;
use super::plan::Plan;
use super::process::resident_kib;
use super::results::{Line, Plot, Results};
use super::throughput::{CHECK, CHECK_BODY};
use super::wrk::{CONNECTIONS, Question};
use crate::http::{connect, head_and_body, read_answer};
use crate::program::output;
use crate::stage::{Running, Size, Stage};

/// The numbers of idle connections; loopback is trusted, so one address may open them all.
const IDLE: [u32; 5] = [1, 10, 100, 1_000, 10_000];
/// The numbers of event subscribers; a License Client accepts 4,096.
const SUBSCRIBERS: [u32; 5] = [1, 10, 100, 1_000, 4_000];
/// Open files of this command.
const MAX_FILES: u32 = 12_000;

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    raise_max_files()?;
    let (mut idle, mut subscribers) = (Line::new("License Client"), Line::new("License Client"));
    for round in 1..=plan.growth().1 {
        let stage = Stage::new(Size::Small, plan.profile)?;
        let (client, _server) = licensed(&stage, &[])?;
        results.add("idle-memory", mib(&client)?)?;
        results.add("busy-memory", under_load(&stage, &client, plan)?)?;

        let stage = Stage::new(Size::Small, plan.profile)?;
        let (client, _server) = licensed(&stage, &[("MAX_CONNECTIONS", "11000")])?;
        let counts = &IDLE[..plan.sized(3, IDLE.len())];
        let each = grow(&client, counts, &mut idle, idle_connection)?;
        println!("round {round}  {each:.2} KiB for each idle connection");
        results.add("connection-memory", each)?;

        let stage = Stage::new(Size::Small, plan.profile)?;
        let (client, _server) = licensed(&stage, &[])?;
        let counts = &SUBSCRIBERS[..plan.sized(3, SUBSCRIBERS.len())];
        let each = grow(&client, counts, &mut subscribers, subscribe)?;
        println!("round {round}  {each:.2} KiB for each event subscriber");
        results.add("subscriber-memory", each)?;
    }
    results.plots.extend([
        plot(
            "connections-memory",
            "Memory with idle connections",
            "idle connections",
            idle,
        ),
        plot(
            "subscribers-memory",
            "Memory with event subscribers",
            "event subscribers",
            subscribers,
        ),
    ]);
    Ok(())
}

fn plot(id: &str, title: &str, x: &str, line: Line) -> Plot {
    Plot {
        id: id.to_owned(),
        title: title.to_owned(),
        x: x.to_owned(),
        y: "MiB".to_owned(),
        lines: vec![line],
    }
}

/// Every connection needs a file.
fn raise_max_files() -> Result<()> {
    let pid = std::process::id().to_string();
    let soft = format!("--nofile={MAX_FILES}:");
    output(Command::new("prlimit").args(["--pid", &pid, &soft]))
        .map(drop)
        .with_context(|| format!("cannot open {MAX_FILES} files; raise the limit: ulimit -Hn"))
}

fn mib(client: &Running) -> Result<f64> {
    Ok(resident_kib(client.pid())? as f64 / 1024.0)
}

/// At the end of a load, while its connections are open.
fn under_load(stage: &Stage, client: &Running, plan: &Plan) -> Result<f64> {
    let question = Question::new(stage, "memory", client, CHECK, CHECK_BODY)?;
    let seconds = plan.sized(1, 3);
    let mut load = question.load(CONNECTIONS, seconds);
    let mut load = load.stdout(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(seconds * 900));
    let used = mib(client);
    let status = load.wait()?;
    ensure!(status.success(), "wrk failed ({status})");
    used
}

/// Opens more and more connections with `open`; returns the KiB that each of them takes.
fn grow(
    client: &Running,
    counts: &[u32],
    line: &mut Line,
    open: fn(u16) -> Result<TcpStream>,
) -> Result<f64> {
    let mut held = Vec::new();
    let mut used = Vec::new();
    for count in counts {
        while held.len() < *count as usize {
            held.push(open(client.port).with_context(|| format!("connection {}", held.len()))?);
        }
        std::thread::sleep(Duration::from_millis(300));
        let kib = resident_kib(client.pid())?;
        line.add(f64::from(*count), kib as f64 / 1024.0);
        used.push((*count, kib));
    }
    let ends = used.first().zip(used.last());
    let ((few, least), (many, most)) = ends.context("no connections")?;
    Ok(most.saturating_sub(*least) as f64 / f64::from(many - few))
}

/// A connection whose request was answered, and that waits for the next one.
fn idle_connection(port: u16) -> Result<TcpStream> {
    let mut stream = connect(port)?;
    stream.write_all(head_and_body("POST", CHECK, &[], CHECK_BODY).as_bytes())?;
    let answer = read_answer(&mut stream)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    Ok(stream)
}
