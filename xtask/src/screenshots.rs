//! `cargo xtask screenshots`: the pictures of the documents, taken of the real
//! programs with a real browser.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::packages;
use crate::program::{answers, ask, cargo, exists, free_port, now, output, root, step, stop};

/// No sandbox for root, no calls to the browser's maker.
const BROWSER: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--timeout=3000",
];

pub(crate) fn run() -> Result<()> {
    packages::ensure("chromium", || exists("chromium"))?;
    let packages = ["-p", "license-server", "-p", "license-client"];
    step(
        "building License Server and License Client",
        cargo(&["build", "--locked"]).args(packages),
    )?;
    let mut scene = Scene::new()?;
    let pictures = root().join("docs/pictures");
    std::fs::create_dir_all(&pictures)?;
    let take = |scene: &Scene, name: &str, path: &str, height: u32| {
        picture(scene, &pictures.join(name), path, height)
    };

    scene.start_server()?;
    let keys = scene.path("keys.json");
    output(
        scene
            .program("license-server")
            .args(["keys", "export", "--output", &keys]),
    )?;
    let issue = [
        "issue",
        "--tier",
        "professional",
        "--customer",
        "Harbour Ltd",
        "--json",
    ];
    let issued = output(scene.program("license-server").args(issue))?;
    let issued: Value = serde_json::from_str(&issued)?;
    let key = issued["licenseKey"]
        .as_str()
        .context("no key is issued")?
        .to_owned();
    scene.start_client()?;
    output(scene.program("license-client").args(["activate", &key]))?;
    let usage = "{\"source\":\"recorder-1\",\"cameras\":52,\"users\":6,\"storageGb\":7800,\"expiresInSeconds\":600}";
    ask(scene.client_port, "PUT", "/api/license/usage", usage)?;
    take(&scene, "active.png", "/", 1180)?;
    take(&scene, "offline.png", "/console/offline", 880)?;

    scene.stop_server()?;
    output(scene.program("license-client").arg("validate")).ok();
    take(&scene, "grace.png", "/", 640)?;

    scene.start_server()?;
    let words = "The invoice was not paid; call your vendor";
    output(
        scene
            .program("license-server")
            .args(["revoke", &key, "--message", words]),
    )?;
    output(scene.program("license-client").arg("validate")).ok();
    take(&scene, "lapsed.png", "/", 640)?;
    println!("Look at docs/pictures.");
    Ok(())
}

/// Both programs, in a directory of their own.
struct Scene {
    directory: tempfile::TempDir,
    server_port: u16,
    client_port: u16,
    server: Option<Child>,
    client: Option<Child>,
}

impl Scene {
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

    /// A program whose settings come from here alone.
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
        let mut server = self.server.take().context("no License Server runs")?;
        stop(&mut server).map(|_| ())
    }

    fn start_client(&mut self) -> Result<()> {
        self.client = Some(serve(self.program("license-client"), self.client_port)?);
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in [&mut self.client, &mut self.server].into_iter().flatten() {
            if let Err(error) = stop(child) {
                eprintln!("warning: {error}");
            }
        }
    }
}

fn serve(mut command: Command, port: u16) -> Result<Child> {
    let quiet = command.arg("serve").stdout(Stdio::null());
    let child = quiet.stderr(Stdio::null()).spawn()?;
    let start = now();
    while !answers(port) {
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "nobody listens on {port}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(child)
}

fn picture(scene: &Scene, file: &Path, path: &str, height: u32) -> Result<()> {
    let profile = scene.path("browser");
    let mut browser = Command::new("chromium");
    browser
        .args(BROWSER)
        .arg(format!("--user-data-dir={profile}"))
        .arg(format!("--window-size=1180,{height}"))
        .arg(format!("--screenshot={}", file.display()))
        .arg(format!("http://127.0.0.1:{}{path}", scene.client_port));
    output(&mut browser)?;
    ensure!(file.is_file(), "the browser has taken no picture");
    println!("   {}", file.display());
    Ok(())
}
