//! One site and its vendor: active, by file, in grace, lapsed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::browser::{Browser, wait_for};
use crate::program::{ask, free_port, output, root, stop};

pub(super) fn take(browser: &Browser, pictures: &Path) -> Result<()> {
    let mut site = Site::new()?;
    let take = |site: &Site, name: &str, height: u32| {
        browser.open(&format!("http://127.0.0.1:{}/", site.client_port))?;
        browser.picture(&pictures.join(name), height)
    };

    site.start_server()?;
    let keys = site.path("keys.json");
    let export = ["keys", "export", "--output", &keys];
    output(site.program("license-server").args(export))?;
    let issue = "issue --tier professional --customer Harbour --json";
    let issued = output(site.program("license-server").args(issue.split(' ')))?;
    let issued: Value = serde_json::from_str(&issued)?;
    let key = issued["licenseKey"].as_str().context("no key was issued")?;

    site.start_client()?;
    let offline = format!("http://127.0.0.1:{}/console/offline", site.client_port);
    browser.open(&offline)?;
    browser.run(&format!(
        "document.getElementById('key').value = '{key}'; document.querySelector('main form').submit()"
    ))?;
    browser.until("return !!document.querySelector('.qr svg')")?;
    browser.picture(&pictures.join("offline.png"), 1120)?;

    output(site.program("license-client").args(["activate", key]))?;
    let usage = "{\"source\":\"recorder-1\",\"cameras\":52,\"users\":6,\"storageGb\":7800,\"expiresInSeconds\":600}";
    ask(site.client_port, "PUT", "/api/license/usage", usage)?;
    take(&site, "active.png", 1320)?;

    site.stop_server()?;
    output(site.program("license-client").arg("validate")).ok();
    take(&site, "grace.png", 780)?;

    site.start_server()?;
    let words = "The invoice was not paid; call your vendor";
    let revoke = ["revoke", key, "--message", words];
    output(site.program("license-server").args(revoke))?;
    output(site.program("license-client").arg("validate")).ok();
    take(&site, "lapsed.png", 780)
}

/// Both programs in a temporary directory.
struct Site {
    directory: tempfile::TempDir,
    server_port: u16,
    client_port: u16,
    server: Option<Child>,
    client: Option<Child>,
}

impl Site {
    fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            server_port: free_port()?,
            client_port: free_port()?,
            server: None,
            client: None,
        })
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// A program with only the settings given here.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(root().join("target/debug").join(name));
        let (state, port) = match name {
            "license-server" => ("server", self.server_port),
            _ => ("client", self.client_port),
        };
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("STATE_DIR", self.path(state))
            .env("PORT", port.to_string())
            .env("INSTALLATION_NAME", "Harbour terminal, gate 4")
            .env(
                "LICENSE_API_URL",
                format!("http://127.0.0.1:{}/api", self.server_port),
            )
            .env("LICENSE_TRUSTED_KEYS", self.path("keys.json"))
            .stdin(Stdio::null());
        command
    }

    fn start_server(&mut self) -> Result<()> {
        self.server = Some(serve(self.program("license-server"), self.server_port)?);
        Ok(())
    }

    fn stop_server(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no License Server is running")?;
        stop(&mut server).map(|_| ())
    }

    fn start_client(&mut self) -> Result<()> {
        self.client = Some(serve(self.program("license-client"), self.client_port)?);
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server].into_iter().flatten() {
            if let Err(error) = stop(child) {
                eprintln!("warning: {error}");
            }
        }
    }
}

/// Starts a program's service, and waits until it listens.
pub(super) fn serve(mut command: Command, port: u16) -> Result<Child> {
    let quiet = command.arg("serve").stdout(Stdio::null());
    let child = quiet.stderr(Stdio::null()).spawn()?;
    wait_for(port)?;
    Ok(child)
}
