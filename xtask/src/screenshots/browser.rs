//! A real headless browser, driven by `WebDriver`
//! (w3.org/TR/webdriver2).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::program::{answers, ask_for, free_port, now, stop};

/// No sandbox for root, no calls to the browser's vendor.
const FLAGS: [&str; 10] = [
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
];
const WIDTH: u32 = 1180;

pub(super) struct Browser {
    port: u16,
    driver: Child,
    session: String,
}

impl Browser {
    pub(super) fn start(profile: &str) -> Result<Self> {
        let port = free_port()?;
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut browser = Self {
            port,
            driver,
            session: String::new(),
        };
        wait_for(port)?;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={profile}"));
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}});
        let session = browser.tell("POST", "/session", &wanted)?;
        browser.session = session["sessionId"]
            .as_str()
            .context("the browser did not start")?
            .to_owned();
        Ok(browser)
    }

    pub(super) fn open(&self, address: &str) -> Result<()> {
        self.of_session("POST", "url", &json!({ "url": address }))?;
        Ok(())
    }

    /// Runs the body of a function in the page.
    pub(super) fn run(&self, script: &str) -> Result<Value> {
        let body = json!({"script": script, "args": []});
        self.of_session("POST", "execute/sync", &body)
    }

    /// Waits until the body of a function returns true.
    pub(super) fn until(&self, script: &str) -> Result<()> {
        let start = now();
        // There is no answer while the page changes.
        while !self.run(script).is_ok_and(|answer| answer == true) {
            ensure!(
                start.elapsed() < Duration::from_secs(10),
                "the page never returned true for: {script}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Takes a screenshot of the top of the page.
    pub(super) fn picture(&self, file: &Path, height: u32) -> Result<()> {
        let rect = json!({"width": WIDTH, "height": height});
        self.of_session("POST", "window/rect", &rect)?;
        let picture = self.of_session("GET", "screenshot", &Value::Null)?;
        let picture = picture
            .as_str()
            .context("the browser returned no picture")?;
        std::fs::write(file, STANDARD.decode(picture)?)?;
        println!("   {}", file.display());
        Ok(())
    }

    fn of_session(&self, method: &str, command: &str, body: &Value) -> Result<Value> {
        let path = format!("/session/{}/{command}", self.session);
        self.tell(method, &path, body)
    }

    fn tell(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = ask_for(self.port, method, path, &[], &body)?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        Ok(answer["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Stops the browser before its driver.
        let path = format!("/session/{}", self.session);
        let ended = self.tell("DELETE", &path, &Value::Null);
        for error in [ended.err(), stop(&mut self.driver).err()]
            .into_iter()
            .flatten()
        {
            eprintln!("warning: {error}");
        }
    }
}

/// Waits until a port accepts connections.
pub(super) fn wait_for(port: u16) -> Result<()> {
    let start = now();
    while !answers(port) {
        ensure!(
            start.elapsed() < Duration::from_secs(10),
            "nothing listens on port {port}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
