//! A real Chromium, without a window.

use std::process::{Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gates::process::{Process, free_port};

/// What keeps it to itself: no sandbox for root, no calls to its maker.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser with one window, and its driver.
pub struct Chromium {
    pub page: Client,
    _driver: Process,
    _profile: TempDir,
}

impl Chromium {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).arg("--log-level=OFF");
        command.stdout(Stdio::null());
        let driver = Process::start(&mut command, port).await;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let options = json!({"args": flags});
        let capabilities = [("goog:chromeOptions".to_owned(), options)];
        let mut builder =
            ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(capabilities.into_iter().collect());
        let page = builder.connect(&driver.url).await.unwrap();
        Self {
            page,
            _driver: driver,
            _profile: profile,
        }
    }

    /// Runs a function's body in the page, and waits for what it answers. Null
    /// while the page makes place for the next: what is waited for there never
    /// comes.
    pub async fn run(&self, script: &str) -> Value {
        if !script.contains("await ") {
            let answer = self.page.execute(script, Vec::new()).await;
            return answer.unwrap_or_default();
        }
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             (async () => {{ {script} }})().then(done, (error) => done(String(error)));"
        );
        self.page.execute_async(&script, Vec::new()).await.unwrap()
    }

    /// Waits until a function's body answers `expected`.
    pub async fn until(&self, script: &str, expected: &Value) {
        let mut seen = Value::Null;
        for _ in 0..500 {
            seen = self.run(script).await;
            if seen == *expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{script}: {seen}, not {expected}");
    }

    pub async fn end(self) {
        self.page.close().await.unwrap();
    }
}
