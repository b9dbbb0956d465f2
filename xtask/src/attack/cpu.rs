//! The cost of gateway checks.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::Outcome;
use crate::http::{connect, head_and_body, read_answer};
use crate::program::now;
use crate::stage::{Profile, Running, Stage, UNTRUSTED};

/// Maximum CPU time of one check of up to 4 KiB.
const MAX_CPU: Duration = Duration::from_micros(200);
/// How much slower an unoptimised build may be.
const DEV_FACTOR: u32 = 40;
/// Time for each kind of check.
const TIME: Duration = Duration::from_millis(500);
/// Checks of each kind.
const MAX_QUESTIONS: u32 = 2000;

const ROUTES: &str = r#"
default = "allow"

[[route]]
path = "/api/cameras/*/export"
methods = ["POST"]
feature = "module.map_view"

[[route]]
path = "/a/**"
feature = "module.nope"
"#;

pub(super) fn gate_questions(stage: &Stage) -> Result<Outcome> {
    let routes = stage.path("routes.toml");
    fs::write(&routes, ROUTES)?;
    let mut command = stage.command("license-client", "client");
    command
        .envs(UNTRUSTED.iter().copied())
        .env("GATE_ROUTES", &routes);
    let client = stage.serve(command)?;
    let bound = match stage.profile {
        Profile::Release => MAX_CPU,
        Profile::Dev => MAX_CPU * DEV_FACTOR,
    };
    let mut worst = (Duration::ZERO, "");
    for (name, question) in questions() {
        let cost = cost(&client, &question)?;
        if cost > worst.0 {
            worst = (cost, name);
        }
    }
    let seen = format!(
        "at most {} µs ({}); the limit is {} µs",
        worst.0.as_micros(),
        worst.1,
        bound.as_micros()
    );
    Ok(Outcome::new(worst.0 <= bound, seen))
}

/// Checks with request heads of up to 4 KiB.
fn questions() -> Vec<(&'static str, String)> {
    let path = |text: &str, count: usize| format!("/{}", text.repeat(count));
    let mut questions = Vec::new();
    for (name, path) in [
        ("slashes", path("/", 3800)),
        ("dots", path("../", 1260)),
        ("dots in escapes", path("%2e%2e/", 540)),
        ("escapes within escapes", path("%25", 1260)),
        ("escaped slashes", path("%2f", 1260)),
        ("parameters", path(";a", 1900)),
        ("segments with parameters", path("a;b/", 940)),
        ("mixed", path("%25%32%66/..;/\\", 250)),
        ("query", format!("/a?{}", "feature=x&".repeat(370))),
    ] {
        for method in [Some("GET"), None] {
            let mut headers = vec![("X-Original-URI", path.as_str())];
            headers.extend(method.map(|method| ("X-Original-Method", method)));
            let question = head_and_body("GET", "/api/license/authorize", &headers, "");
            questions.push((name, question));
        }
    }
    let short = path("/..;/%2f", 9);
    let many: Vec<(&str, &str)> = (0..40)
        .map(|at| match at % 2 {
            0 => ("X-Original-URI", short.as_str()),
            _ => ("X-Forwarded-Uri", short.as_str()),
        })
        .collect();
    let question = head_and_body("GET", "/api/license/authorize", &many, "");
    questions.push(("40 headers", question));
    let features = format!(
        "/api/license/authorize?{}",
        "feature=module.nope&".repeat(190)
    );
    questions.push(("features", head_and_body("GET", &features, &[], "")));
    let appended = format!("/api/license/authorize{}", path("%2e%2e;/", 470));
    questions.push(("appended", head_and_body("GET", &appended, &[], "")));
    questions
}

/// The License Client's CPU time per check, on a connection that is kept open unless the
/// client closes it.
fn cost(client: &Running, question: &str) -> Result<Duration> {
    let mut stream = connect(client.port)?;
    let (start, before) = (now(), cpu(client.pid())?);
    let mut asked = 0;
    while asked < MAX_QUESTIONS && start.elapsed() < TIME {
        let answered = stream
            .write_all(question.as_bytes())
            .map_err(Into::into)
            .and_then(|()| read_answer(&mut stream));
        asked += 1;
        match answered {
            Ok(answer) if answer.header("connection") != Some("close") => {}
            _ => stream = connect(client.port)?,
        }
    }
    Ok(cpu(client.pid())?.saturating_sub(before) / asked)
}

/// The CPU time of a process, over all its threads, from `schedstat` in nanoseconds (Linux,
/// `sched-stats.rst`).
fn cpu(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // A thread may end in the meantime.
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let count = text
            .split_whitespace()
            .next()
            .and_then(|it| it.parse().ok());
        nanoseconds += count.unwrap_or(0_u64);
    }
    Ok(Duration::from_nanos(nanoseconds))
}
