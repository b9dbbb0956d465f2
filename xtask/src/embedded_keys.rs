//! `cargo xtask embedded-keys`: checks that no setting replaces or extends the keys of a
//! vendor's build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{cargo, free_port, now, output, root, step, stop};

pub(crate) fn run() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let target = root().join("target/embedded-keys");
    step(
        "building License Server",
        &mut cargo(&["build", "--locked", "-p", "license-server"]),
    )?;
    let vendor = Vendor::new(directory.path(), "vendor")?;
    let other_vendor = Vendor::new(directory.path(), "other-vendor")?;
    // The name of the file differs in each run, which forces a rebuild: the tested program is
    // the one built here.
    step(
        "building a License Client with embedded keys",
        cargo(&["build", "--locked", "-p", "license-client"])
            .arg("--target-dir")
            .arg(&target)
            .env("LICENSE_EMBEDDED_KEYS", &vendor.keys),
    )?;
    let program = target.join("debug/license-client");

    println!("── no setting replaces or adds a key");
    for setting in [None, Some(&other_vendor.keys)] {
        let mut settings = vec![];
        if let Some(file) = setting {
            settings.push(("LICENSE_TRUSTED_KEYS", file.display().to_string()));
        }
        let named = setting.map_or("none", |_| "another vendor's");
        let client = Client::start(&program, &vendor.url(), &settings)?;
        ensure!(
            client.status()?["trust"] == "signed",
            "the client is not in signed mode"
        );
        client.run(&["activate", &vendor.key]).with_context(|| {
            format!("LICENSE_TRUSTED_KEYS: {named}; the vendor's license was not activated")
        })?;
        println!("   LICENSE_TRUSTED_KEYS: {named} → the vendor's license is activated");
        let client = Client::start(&program, &other_vendor.url(), &settings)?;
        let Err(error) = client.run(&["activate", &other_vendor.key]) else {
            bail!("LICENSE_TRUSTED_KEYS: {named}; a license of another vendor was activated");
        };
        let said = error.to_string();
        ensure!(
            said.contains("not a trusted key"),
            "rejected for another reason: {said}"
        );
        println!("   LICENSE_TRUSTED_KEYS: {named} → a license of another vendor is rejected");
    }
    Ok(())
}

/// A License Server with its own keys.
struct Vendor {
    keys: PathBuf,
    key: String,
    port: u16,
    server: Child,
}

impl Vendor {
    fn new(directory: &Path, name: &str) -> Result<Self> {
        let state_dir = directory.join(name);
        let port = free_port()?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(root().join("target/debug/license-server"));
            command
                .args(arguments)
                .env_clear()
                .env("STATE_DIR", &state_dir)
                .env("PORT", port.to_string())
                .current_dir(directory)
                .stdin(Stdio::null());
            command
        };
        output(&mut command(&["init"]))?;
        let keys = directory.join(format!("{name}-keys.json"));
        fs::write(&keys, output(&mut command(&["keys", "export"]))?)?;
        let issued = output(&mut command(&["issue", "--tier", "professional", "--json"]))?;
        let issued: Value = serde_json::from_str(&issued)?;
        let key = issued["licenseKey"].as_str().context("no key was issued")?;
        let server = command(&["serve"]).stderr(Stdio::null()).spawn()?;
        let vendor = Self {
            keys,
            key: key.to_owned(),
            port,
            server,
        };
        wait(|| output(&mut command(&["health"])).is_ok())?;
        Ok(vendor)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.port)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        if let Err(error) = stop(&mut self.server) {
            eprintln!("warning: {error}");
        }
    }
}

/// A fresh License Client.
struct Client {
    program: PathBuf,
    directory: TempDir,
    port: u16,
    service: Child,
}

impl Client {
    fn start(program: &Path, server: &str, settings: &[(&str, String)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = free_port()?;
        let service = Command::new(program)
            .arg("serve")
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("PORT", port.to_string())
            .env("LICENSE_API_URL", server)
            // All of them are the machine with the seat.
            .env("LICENSE_HARDWARE_ID", "one-machine")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let client = Self {
            program: program.to_owned(),
            directory,
            port,
            service,
        };
        wait(|| client.run(&["health"]).is_ok())?;
        Ok(client)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env("PORT", self.port.to_string())
            .current_dir(self.directory.path());
        output(&mut command)
    }

    fn status(&self) -> Result<Value> {
        let mut status = Command::new(&self.program);
        status.args(["status", "--json"]).env_clear();
        let status = status.env("PORT", self.port.to_string()).output()?;
        Ok(serde_json::from_slice(&status.stdout)?)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Err(error) = stop(&mut self.service) {
            eprintln!("warning: {error}");
        }
    }
}

fn wait(has_come: impl Fn() -> bool) -> Result<()> {
    let start = now();
    while !has_come() {
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "not running after 10 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
