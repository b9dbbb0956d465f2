//! The two programs of the demo, and what each step does with them.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{answers, free_port, now, output, root, stop};

/// Both programs in a temporary directory.
pub(super) struct Stage {
    directory: TempDir,
    programs: PathBuf,
    pub(super) server_port: u16,
    client_port: u16,
    server: Option<Child>,
    client: Option<Child>,
    /// Whether leases and intervals are seconds, as the steps need them.
    is_fast: bool,
    pub(super) steps: u32,
}

/// Leases of six seconds instead of four days …
const LEASE_HOURS: &str = "0.0017";
/// … grace of a minute instead of three days …
const GRACE_HOURS: &str = "0.0167";
/// … and a heartbeat every two seconds instead of every four hours.
const HEARTBEAT_HOURS: &str = "0.00056";

/// For the demo's own License Server.
const ADMIN_TOKEN: &str = "only-for-this-demo";

impl Stage {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            programs: root().join("target/debug"),
            server_port: free_port()?,
            client_port: free_port()?,
            server: None,
            client: None,
            is_fast: true,
            steps: 0,
        })
    }

    pub(super) fn act(&mut self, what: &str) {
        self.steps += 1;
        println!("\n{:>2}. {what}", self.steps);
    }

    pub(super) fn answer(&self, what: &str) {
        println!("    → {what}");
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A program with only the settings of the demo.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::null());
        command
    }

    fn server_program(&self) -> Command {
        let mut command = self.program("license-server");
        command
            .env("STATE_DIR", self.path("server"))
            .env("PORT", self.server_port.to_string());
        if self.is_fast {
            command
                .env("LEASE_HOURS", LEASE_HOURS)
                .env("GRACE_HOURS", GRACE_HOURS);
        }
        command
    }

    fn client_program(&self) -> Command {
        let mut command = self.program("license-client");
        command
            .env("STATE_DIR", self.path("client"))
            .env("PORT", self.client_port.to_string())
            .env(
                "LICENSE_API_URL",
                format!("http://127.0.0.1:{}/api", self.server_port),
            )
            .env("LICENSE_TRUSTED_KEYS", self.path("trusted-keys.json"));
        if self.is_fast {
            command.env("HEARTBEAT_INTERVAL_HOURS", HEARTBEAT_HOURS);
        }
        command
    }

    pub(super) fn server(&self, arguments: &[&str]) -> Result<String> {
        output(self.server_program().args(arguments))
    }

    pub(super) fn client(&self, arguments: &[&str]) -> Result<String> {
        output(self.client_program().args(arguments))
    }

    /// The client's answer as JSON; exit code 3 is also an answer.
    fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .client_program()
            .args(arguments)
            .arg("--json")
            .output()?;
        ensure!(
            matches!(output.status.code(), Some(0 | 3)),
            "license-client {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(super) fn status(&self) -> Result<Value> {
        self.ask(&["status"])
    }

    pub(super) fn standing(&self) -> Result<String> {
        let status = self.status()?;
        let standing = status["standing"].as_str().context("no standing")?;
        Ok(standing.to_owned())
    }

    pub(super) fn last_validated(&self) -> Result<Value> {
        Ok(self.status()?["lastValidated"].clone())
    }

    pub(super) fn expect_standing(&self, expected: &str) -> Result<()> {
        let standing = self.standing()?;
        self.answer(&format!("standing: {standing}"));
        ensure!(
            standing == expected,
            "the standing is {standing}, expected {expected}"
        );
        Ok(())
    }

    pub(super) fn expect_available(&self, feature: &str, expected: bool) -> Result<()> {
        let answer = &self.ask(&["check", feature])?[0];
        let available = answer["available"] == true;
        self.answer(&format!(
            "{feature}: {} ({})",
            if available { "on" } else { "off" },
            answer["reason"].as_str().unwrap_or("?")
        ));
        ensure!(
            available == expected,
            "{feature} should be {}",
            if expected { "on" } else { "off" }
        );
        Ok(())
    }

    pub(super) fn start_server(&mut self) -> Result<()> {
        let log = self.path("server.log");
        let mut command = self.server_program();
        command.arg("serve").env("ADMIN_TOKEN", ADMIN_TOKEN);
        self.server = Some(start(command, &log)?);
        let port = self.server_port;
        self.wait("the License Server to listen", |_| Ok(answers(port)))
    }

    pub(super) fn stop_server(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no License Server is running")?;
        let took = stop(&mut server)?;
        self.answer(&format!("stopped in {} ms", took.as_millis()));
        Ok(())
    }

    pub(super) fn start_client(&mut self) -> Result<()> {
        let log = self.path("client.log");
        let mut command = self.client_program();
        command.arg("serve");
        self.client = Some(start(command, &log)?);
        self.wait("the License Client to answer", |stage| {
            Ok(stage.client(&["health"]).is_ok())
        })
    }

    pub(super) fn kill_client(&mut self) -> Result<()> {
        let mut client = self.client.take().context("no License Client is running")?;
        client.kill()?;
        client.wait()?;
        Ok(())
    }

    /// Waits for a condition, and shows that it is waiting.
    pub(super) fn wait(
        &mut self,
        what: &str,
        mut has_come: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let start = now();
        let terminal = std::io::stdout().is_terminal();
        loop {
            if has_come(self)? {
                if terminal {
                    print!("\r\x1b[K");
                }
                return Ok(());
            }
            for (name, program) in [("server", &mut self.server), ("client", &mut self.client)] {
                if let Some(child) = program
                    && let Some(status) = child.try_wait()?
                {
                    bail!(
                        "the license-{name} ended ({status}); its log:\n{}",
                        tail(&self.directory.path().join(format!("{name}.log")))
                    );
                }
            }
            let waited = start.elapsed();
            if waited > Duration::from_secs(30) {
                let status = self.status().map(|it| it.to_string());
                bail!(
                    "timed out after 30 s waiting for {what}; the client's status: {}; its log:\n{}",
                    status.unwrap_or_else(|error| error.to_string()),
                    tail(&self.directory.path().join("client.log"))
                );
            }
            if terminal {
                print!("\r    … waiting for {what} ({:.0} s)", waited.as_secs_f64());
                std::io::stdout().flush()?;
            }
            std::thread::sleep(Duration::from_millis(150));
        }
    }

    pub(super) fn clean_up(mut self) -> Result<()> {
        for child in [self.client.take(), self.server.take()]
            .iter_mut()
            .flatten()
        {
            stop(child)?;
        }
        Ok(())
    }

    /// Restarts both programs with their default intervals, and leaves them and the
    /// directory.
    pub(super) fn keep(mut self) -> Result<()> {
        for child in [self.client.take(), self.server.take()]
            .iter_mut()
            .flatten()
        {
            stop(child)?;
        }
        self.is_fast = false;
        self.start_server()?;
        self.start_client()?;
        let pids: Vec<String> = [self.client.take(), self.server.take()]
            .iter()
            .flatten()
            .map(|child| child.id().to_string())
            .collect();
        let client = self.programs.join("license-client");
        let server = self.programs.join("license-server");
        let server_state = self.path("server");
        println!("\nBoth programs are still running, with default intervals.");
        println!("  License Client  http://127.0.0.1:{}/", self.client_port);
        println!(
            "  License Server  http://127.0.0.1:{}/  (administrator token: {ADMIN_TOKEN})",
            self.server_port
        );
        println!(
            "Ask the client:   {} status --port {}",
            client.display(),
            self.client_port
        );
        println!(
            "Issue a license:  {} issue --tier enterprise --state-dir {server_state}",
            server.display()
        );
        println!("Stop both:        kill {}", pids.join(" "));
        println!("Then remove:      {}", self.directory.path().display());
        self.directory.disable_cleanup(true);
        Ok(())
    }
}

/// Stops the programs if a step fails.
impl Drop for Stage {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server].into_iter().flatten() {
            if let Err(error) = stop(child) {
                eprintln!("warning: {error}");
            }
        }
    }
}

fn start(mut command: Command, log: &str) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command.stdout(log.try_clone()?).stderr(log);
    command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
