//! The measured programs: release builds on separate ports.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::program::{answers, cargo, free_port, now, root, step, stop};

/// A running program.
pub(super) struct Program {
    child: Child,
    pub(super) port: u16,
}

/// Builds the measured programs.
pub(super) fn build() -> Result<()> {
    let release = ["build", "--release", "--locked", "--bins", "--examples"];
    let packages = ["-p", "license-client", "-p", "license-server"];
    step("release build", cargo(&release).args(packages))
}

/// One of our programs.
pub(super) fn ours(name: &str) -> Command {
    let mut command = Command::new(root().join("target/release").join(name));
    command.env_clear();
    command
}

/// A running License Client with its state below `directory`.
pub(super) fn license_client(directory: &Path, flags: &[&str]) -> Result<Program> {
    let mut command = ours("license-client");
    command.args(["serve", "--log", "warn"]).args(flags);
    command.arg("--state-dir").arg(directory.join("client"));
    let port = free_port()?;
    command.args(["--port", &port.to_string()]);
    Program::start(command, port)
}

/// A running License Server with its state below `directory`.
pub(super) fn license_server(directory: &Path) -> Result<Program> {
    let state = directory.join("server");
    let mut command = ours("license-server");
    command
        .args(["serve", "--log", "warn", "--state-dir"])
        .arg(&state);
    let port = free_port()?;
    command.args(["--port", &port.to_string()]);
    Program::start(command, port)
}

/// The minimal axum server.
pub(super) fn bare_axum() -> Result<Program> {
    let port = free_port()?;
    let mut command = ours("examples/bare_axum");
    command.arg(port.to_string());
    Program::start(command, port)
}

impl Program {
    /// Starts the program, and waits until it listens.
    pub(super) fn start(mut command: Command, port: u16) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let program = Self { child, port };
        let start = now();
        while !answers(port) && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(program)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Err(error) = stop(&mut self.child) {
            eprintln!("warning: {error}");
        }
    }
}
