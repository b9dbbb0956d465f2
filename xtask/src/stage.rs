//! The built programs, run by a command of the project, each with its own directory.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, request};
use crate::program::{answers, cargo, free_port, now, output, root, step, stop};

/// The License Server's and the License Client's token.
pub(crate) const TOKEN: &str = "attack-0123456789abcdef0123456789abcdef";
/// No network is trusted; the token is required.
pub(crate) const UNTRUSTED: &[(&str, &str)] = &[("TRUSTED_NETWORKS", "192.0.2.0/32")];
/// A licensed feature in every plan that is issued here.
pub(crate) const FEATURE: &str = "module.map_view";

/// How much to send.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Enough to see whether an attack works
    Small,
    /// The amount that was used when the attack was found
    Full,
}

/// Which build to run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// As shipped
    Release,
    /// Faster to build, with higher time limits
    Dev,
}

impl Profile {
    /// Where Cargo puts the programs.
    pub(crate) fn directory(self) -> PathBuf {
        root().join("target").join(match self {
            Self::Release => "release",
            Self::Dev => "debug",
        })
    }

    /// Builds the License Server and the License Client.
    pub(crate) fn build(self) -> Result<()> {
        let mut build = cargo(&["build", "--locked", "--bins"]);
        build.args(["-p", "license-server", "-p", "license-client"]);
        if self == Self::Release {
            build.arg("--release");
        }
        step("building License Server and License Client", &mut build)
    }
}

/// The directory and the programs of one run.
pub(crate) struct Stage {
    pub(crate) size: Size,
    pub(crate) profile: Profile,
    directory: TempDir,
    programs: PathBuf,
}

/// A running program, stopped when the value is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    log: PathBuf,
}

impl Stage {
    pub(crate) fn new(size: Size, profile: Profile) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join("token"), TOKEN)?;
        Ok(Self {
            size,
            profile,
            programs: profile.directory(),
            directory,
        })
    }

    /// A file of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The first value for the full size, otherwise the second.
    pub(crate) fn sized<T>(&self, small: T, full: T) -> T {
        match self.size {
            Size::Small => small,
            Size::Full => full,
        }
    }

    /// A program with only the settings given here. Programs with the same `state` share
    /// it.
    pub(crate) fn command(&self, program: &str, state: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env_clear()
            .env("NO_PROXY", "127.0.0.1")
            .env("STATE_DIR", self.path(state))
            .env("ADMIN_TOKEN_FILE", self.path("token"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs with a wall clock that shows `to`, as written for faketime(1); monotonic clocks are
    /// correct.
    pub(crate) fn fake_clock(&self, command: &mut Command, to: &str) -> Result<()> {
        let found = std::fs::read_dir("/usr/lib")?
            .flatten()
            .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .context("faketime is not installed; 'cargo xtask test' installs it")?;
        let name: String = to.chars().filter(char::is_ascii_alphanumeric).collect();
        let file = self.path(&format!("wall-{name}"));
        std::fs::write(&file, format!("{to}\n"))?;
        command
            .env("LD_PRELOAD", found)
            .env("FAKETIME_TIMESTAMP_FILE", file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Ok(())
    }

    /// Starts a service, and waits until it answers.
    pub(crate) fn serve(&self, mut command: Command) -> Result<Running> {
        let port = free_port()?;
        command.arg("serve").env("PORT", port.to_string());
        self.start(command, port)
    }

    /// Starts a program that listens on `port`.
    pub(crate) fn spawn(&self, mut command: Command, port: u16) -> Result<Running> {
        let log = self.path(&format!("log-{port}"));
        let file = File::create(&log)?;
        let child = command
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Running { child, port, log })
    }

    /// The same, and waits until it answers.
    pub(crate) fn start(&self, command: Command, port: u16) -> Result<Running> {
        let mut running = self.spawn(command, port)?;
        let start = now();
        while !answers(port) {
            if running.child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(20) {
                bail!("a program did not start; its log: {}", running.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// A License Server.
    pub(crate) fn server(&self, settings: &[(&str, &str)]) -> Result<Running> {
        let mut command = self.command("license-server", "server");
        command.envs(settings.iter().copied());
        self.serve(command)
    }

    /// A command of the License Server, which works directly on its database.
    pub(crate) fn vendor(&self, arguments: &[&str]) -> Result<String> {
        output(self.command("license-server", "server").args(arguments))
    }

    /// A new license key.
    pub(crate) fn issue(&self, arguments: &[&str]) -> Result<String> {
        let base = ["issue", "--tier", "professional", "--json"];
        let issued = self.vendor(&[&base, arguments].concat())?;
        let issued: Value = serde_json::from_str(&issued)?;
        Ok(issued["licenseKey"]
            .as_str()
            .context("no license key was issued")?
            .to_owned())
    }

    /// Settings of a License Client for this License Server, with trusted
    /// keys.
    pub(crate) fn client_command(&self, server: u16, state: &str) -> Result<Command> {
        let keys = self.path("trusted-keys.json");
        self.vendor(&["keys", "export", "--output", &keys.display().to_string()])?;
        let mut command = self.command("license-client", state);
        command
            .env("LICENSE_API_URL", format!("http://127.0.0.1:{server}/api"))
            .env("LICENSE_HARDWARE_ID", format!("machine-of-{state}"))
            .env("LICENSE_TRUSTED_KEYS", keys);
        Ok(command)
    }

    /// A running License Client of this License Server.
    pub(crate) fn client(
        &self,
        server: u16,
        state: &str,
        settings: &[(&str, &str)],
    ) -> Result<Running> {
        let mut command = self.client_command(server, state)?;
        command.envs(settings.iter().copied());
        self.serve(command)
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Makes a request with the token.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let token = format!("Bearer {TOKEN}");
        request(self.port, method, path, &[("Authorization", &token)], &body)
    }

    /// Activates a key on this License Client.
    pub(crate) fn activate(&self, key: &str) -> Result<()> {
        let answer = self.ask("POST", "/api/license/activate", &json!({"licenseKey": key}))?;
        if answer.status != 200 {
            bail!("the License Client was not activated: {}", answer.body);
        }
        Ok(())
    }

    /// The standing of this License Client's site.
    pub(crate) fn standing(&self) -> Result<String> {
        let status = self.ask("GET", "/api/license/status", &Value::Null)?.json();
        Ok(status["standing"].as_str().unwrap_or("?").to_owned())
    }

    /// Waits for this standing; returns the current standing after `wait` if it was not
    /// reached.
    pub(crate) fn until_standing(&self, wanted: &str, wait: Duration) -> Result<String> {
        let start = now();
        loop {
            let standing = self.standing()?;
            if standing == wanted || start.elapsed() > wait {
                return Ok(standing);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        stop(&mut self.child).map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An attack may have stopped it.
        if let Err(error) = stop(&mut self.child) {
            eprintln!("warning: {error}");
        }
    }
}

/// All output of a command.
pub(crate) fn printed(output: &Output) -> String {
    let texts = [&output.stdout, &output.stderr];
    texts.map(|text| String::from_utf8_lossy(text)).concat()
}
