//! Secrets that others can read.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::program::{now, root};
use crate::stage::{Stage, TOKEN, printed};

/// Must not appear anywhere.
const SECRET: &str = "hunter2secret";
/// Commands that run at the same time: they mostly wait.
const WORKERS: usize = 16;

/// Settings with a password at a position where parsers do not expect it.
fn odd_settings() -> Vec<(&'static str, String)> {
    let mut settings = Vec::new();
    for (variable, scheme, host) in [
        ("HTTPS_PROXY", "", "proxy.example:3128"),
        ("HTTPS_PROXY", "http://", "proxy.example:3128"),
        ("HTTP_PROXY", "", "proxy.example:3128"),
        ("ALL_PROXY", "socks5://", "proxy.example:1080"),
        ("DATABASE_URL", "postgresql://", "127.0.0.1:9/vms"),
        ("DATABASE_URL", "postgres://", "127.0.0.1:9/vms"),
        ("LICENSE_API_URL", "http://", "127.0.0.1:9/api"),
        ("LICENSE_API_URL", "https://", "127.0.0.1:9/api"),
    ] {
        for password in [
            SECRET.to_owned(),
            format!("2024/{SECRET}"),
            format!("{SECRET}/2024"),
            format!("a#{SECRET}"),
            format!("a?{SECRET}"),
            format!("{SECRET}@b"),
            format!("a@b@{SECRET}"),
            format!("a%{SECRET}"),
            format!("a\\{SECRET}"),
        ] {
            settings.push((variable, format!("{scheme}user:{password}@{host}")));
        }
    }
    for url in [
        format!("http://127.0.0.1:9/api?token={SECRET}"),
        format!("http://127.0.0.1:9/api#{SECRET}"),
        format!("http://127.0.0.1:9/{SECRET}:x@api"),
        format!("htp://user:{SECRET}@127.0.0.1:9/api"),
    ] {
        settings.push(("LICENSE_API_URL", url));
    }
    for url in [
        format!("postgresql://127.0.0.1:9/vms?password={SECRET}"),
        format!("postgresql://user:{SECRET}@127.0.0.1:99999/vms"),
        format!("user:{SECRET}@127.0.0.1/vms"),
        format!("postgresql:user:{SECRET}@127.0.0.1/vms"),
        format!("mysql://user:{SECRET}@127.0.0.1/vms"),
    ] {
        settings.push(("DATABASE_URL", url));
    }
    settings
}

pub(super) fn odd_urls(stage: &Stage) -> Result<Outcome> {
    let settings = odd_settings();
    let doctor_every = stage.sized(3, 1);
    let mut tries = Vec::new();
    for (number, (variable, value)) in settings.iter().enumerate() {
        let is_database = *variable == "DATABASE_URL";
        // Waits for a database that does not answer.
        let patient = Duration::from_secs(7);
        let quick = Duration::from_secs(1);
        let serve = if is_database { patient } else { quick };
        let mut attempt = |program: &'static str, argument: &'static str, at_most| {
            let mut command = stage.command(program, &format!("{program}-{argument}-{number}"));
            command
                .arg(argument)
                .env("PORT", "0")
                .env("LICENSE_API_TIMEOUT", "0.2")
                .env_remove("NO_PROXY")
                .env(variable, value);
            tries.push((
                format!("{program} {argument}: {variable}"),
                command,
                at_most,
            ));
        };
        attempt("license-client", "config", quick);
        attempt("license-client", "serve", serve);
        attempt("license-server", "list", serve);
        if number % doctor_every == 0 {
            attempt("license-client", "doctor", patient);
        }
    }
    let tried = tries.len();
    let tries = Mutex::new(tries);
    let shown = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let worker = || -> Result<()> {
            loop {
                let next = tries.lock().ok().and_then(|mut it| it.pop());
                let Some((name, command, at_most)) = next else {
                    return Ok(());
                };
                let printed = run_for(command, at_most)?;
                if printed.contains(SECRET)
                    && let Ok(mut shown) = shown.lock()
                {
                    shown.push(name);
                }
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            worker.join().ok().context("a worker thread failed")??;
        }
        anyhow::Ok(())
    })?;
    let shown = shown.into_inner().unwrap_or_default();
    let seen = match shown.first() {
        None => format!("shown by none of {tried} commands"),
        Some(first) => format!(
            "shown by {} of {tried} commands, such as {first}",
            shown.len()
        ),
    };
    Ok(Outcome::new(shown.is_empty(), seen))
}

/// The output of a command until it ends or is stopped.
fn run_for(mut command: Command, at_most: Duration) -> Result<String> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let start = now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > at_most {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(printed(&child.wait_with_output()?))
}

pub(super) fn command_lines(stage: &Stage) -> Result<Outcome> {
    let mut works = Vec::new();
    let server = stage.server(&[])?;
    let key = stage.issue(&[])?;
    let client = stage.client(server.port, "site", &[])?;

    // A key on standard input does not appear in the list of processes.
    let mut command = stage.client_command(server.port, "site")?;
    let mut activating = command
        .args(["activate", "-"])
        .env("PORT", client.port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = activating.stdin.take().context("no standard input")?;
    // A program that does not read the key ends without it.
    let _ = writeln!(input, "{key}");
    drop(input);
    let activated = activating.wait_with_output()?.status.success();
    if !activated || client.standing()? != "active" {
        works.push("'activate -' does not read the key");
    }

    for program in ["license-client", "license-server"] {
        let mut command = stage.command(program, "arguments");
        command
            .env_remove("ADMIN_TOKEN_FILE")
            .env("PORT", "0")
            .args(["serve", "--admin-token", TOKEN]);
        let printed = run_for(command, Duration::from_secs(2))?.to_lowercase();
        let warns = printed
            .lines()
            .any(|line| line.contains("warn") && line.contains("admin"));
        let is_gone = printed.starts_with("error:") && printed.contains("--admin-token-file");
        if !warns && !is_gone {
            works.push("a token as an argument is accepted without a warning");
        }
    }
    let compose = std::fs::read_to_string(root().join("deploy/compose/compose.yaml"))?;
    if ["644", "0644", "a+r", "666"]
        .iter()
        .any(|mode| compose.contains(mode))
    {
        works.push("compose.yaml creates token files that anyone can read");
    }
    works.dedup();
    let seen = match works.as_slice() {
        [] => "keys on standard input, warnings, files that only one user can read".to_owned(),
        works => works.join("; "),
    };
    Ok(Outcome::new(works.is_empty(), seen))
}
