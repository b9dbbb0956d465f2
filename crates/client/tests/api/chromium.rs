//! A real Chromium, without a window.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::gates::process::{Process, free_port};
use crate::gates::shipped;

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

/// A command of Chromium's own protocol, passed on by its driver.
#[derive(Debug)]
struct DevTools(Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}

/// A browser with one window, and its driver.
pub struct Chromium {
    pub page: Client,
    _driver: Process,
    _profile: TempDir,
}

impl Chromium {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further flags.
    pub async fn start_with(further: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).arg("--log-level=OFF");
        command.stdout(Stdio::null());
        let driver = Process::start(&mut command, port).await;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.extend(further.iter().map(|&flag| flag.to_owned()));
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

    pub async fn open(&self, address: &str) {
        self.page.goto(address).await.unwrap();
    }

    /// Waits until the page has this headline.
    pub async fn shows(&self, title: &str) {
        let headline = "return document.querySelector('h1').textContent";
        self.until(headline, &json!(title)).await;
    }

    /// Waits until the page says that something is wrong, and answers what.
    pub async fn trouble(&self) -> String {
        let error = "return (document.getElementById('error') || {}).textContent || ''";
        self.until(
            &format!("return ({{ get: () => {{ {error} }} }}).get() !== ''"),
            &json!(true),
        )
        .await;
        self.run(error)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub async fn click(&self, selector: &str) {
        let element = self.page.find(Locator::Css(selector)).await;
        element.unwrap().click().await.unwrap();
    }

    /// Clicks on the button or link whose words begin so.
    pub async fn press(&self, words: &str) {
        let path = format!(
            "//main//*[self::button or self::a][starts-with(normalize-space(.), '{words}')]"
        );
        let element = self.page.find(Locator::XPath(&path)).await;
        let element = element.unwrap_or_else(|error| panic!("{words}: {error}"));
        element.click().await.unwrap();
    }

    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.page.find(Locator::Css(selector)).await;
        let element = element.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element.clear().await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Puts a file into a field for files.
    pub async fn choose(&self, selector: &str, file: &Path) {
        let element = self.page.find(Locator::Css(selector)).await.unwrap();
        element
            .send_keys(&file.display().to_string())
            .await
            .unwrap();
    }

    /// The visible text.
    pub async fn text(&self) -> String {
        let text = self.run("return document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Opens a page, and looks at it as [`Self::examine_shown`] does.
    pub async fn examine(&self, address: &str) {
        self.open(address).await;
        self.examine_shown(address).await;
    }

    /// Looks at the page that is shown in three widths: nothing sticks out, and axe-core finds
    /// nothing.
    pub async fn examine_shown(&self, address: &str) {
        let axe = shipped::installed("pages/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(axe).unwrap();
        self.run(&axe).await;
        let find = "const found = await window.axe.run(document, { resultTypes: ['violations'] }); \
             return found.violations.map((it) => it.id + ': ' + it.nodes.map((n) => n.html).join(' | '))";
        for width in [360, 768, 1440] {
            self.page.set_window_size(width, 900).await.unwrap();
            let inner = "return window.innerWidth";
            self.until(inner, &json!(width)).await;
            let wide = "return document.documentElement.scrollWidth - window.innerWidth";
            let wide = self.run(wide).await.as_i64().unwrap();
            assert!(wide <= 0, "{address} at {width}: {wide} px too wide");
            assert_eq!(self.run(find).await, json!([]), "{address} at {width}");
        }
    }

    /// As if it were evening (Chromium's own protocol, `Emulation`).
    pub async fn go_dark(&self) {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        let command = DevTools(json!({
            "cmd": "Emulation.setEmulatedMedia",
            "params": {"features": features},
        }));
        self.page.issue_cmd(command).await.unwrap();
    }

    pub async fn end(self) {
        self.page.close().await.unwrap();
    }
}
