//! A running License Client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use license_client::config::Settings;
use license_client::serve::serve;
use license_service::clock::{Clock as _, ManualClock};
use license_service::database::Timeouts;
use license_service::listener::Limits;
use license_service::request_body::BodyLimits;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::{Engine, TestDatabase};

/// The ids of the recorded installation.
pub const INSTALLATION_ID: &str = "b5684f06-7c6a-4b44-bfbd-68bd127e7617";
pub const HARDWARE_ID: &str = "42aac9ae7f559498944c2f70daee1d98877b695d52072845a93173f78cf670ae";
pub const KEY: &str = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
/// The instant at which tests begin.
pub const START: &str = "2026-11-23T20:58:10.710449Z";

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    settings: Settings,
}

/// A License Client on its own port, with its database and its clock.
pub struct Site {
    pub url: String,
    pub clock: Arc<ManualClock>,
    pub database: TestDatabase,
    pub http: reqwest::Client,
    settings: Settings,
    directory: TempDir,
    running: Option<Running>,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Site {
    /// Starts against `cloud_url`, with further settings as flags.
    pub async fn start(engine: Engine, cloud_url: &str, flags: &[&str]) -> Self {
        let database = TestDatabase::new(engine).await;
        Self::start_on(database, cloud_url, flags).await
    }

    /// The same on a database that is already there.
    pub async fn start_on(database: TestDatabase, cloud_url: &str, flags: &[&str]) -> Self {
        let (limits, body_limits) = Default::default();
        Self::begin(database, cloud_url, flags, limits, body_limits).await
    }

    /// The same, with its own timeouts.
    pub async fn start_with_timeouts(
        database: TestDatabase,
        cloud_url: &str,
        timeouts: Timeouts,
    ) -> Self {
        let mut site = Self::start_on(database, cloud_url, &[]).await;
        site.stop().await;
        site.settings.database_timeouts = timeouts;
        site.run().await;
        site
    }

    /// The same within other bounds of connections and bodies.
    pub async fn start_within(
        engine: Engine,
        cloud_url: &str,
        flags: &[&str],
        limits: Limits,
        body_limits: BodyLimits,
    ) -> Self {
        let database = TestDatabase::new(engine).await;
        Self::begin(database, cloud_url, flags, limits, body_limits).await
    }

    async fn begin(
        database: TestDatabase,
        cloud_url: &str,
        flags: &[&str],
        limits: Limits,
        body_limits: BodyLimits,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(&database, directory.path(), cloud_url, flags);
        settings.limits = limits;
        settings.body_limits = body_limits;
        let now: DateTime<Utc> = START.parse().unwrap();
        let mut site = Self {
            url: String::new(),
            clock: Arc::new(ManualClock::at(now)),
            database,
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            settings,
            directory,
            running: None,
        };
        site.run().await;
        site
    }

    /// Starts it again, and answers how long it took until it said that it is alive.
    pub async fn start_again(&mut self) -> Duration {
        self.run().await
    }

    async fn run(&mut self) -> Duration {
        log_to_file();
        // Who knows the address finds the service there again.
        let address = self.url.strip_prefix("http://").unwrap_or("127.0.0.1:0");
        let listener = TcpListener::bind(address).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        self.url = format!("http://{address}");
        let shutdown = CancellationToken::new();
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let stop = shutdown.clone();
        let start = tokio::time::Instant::now();
        let mut alive = Duration::ZERO;
        let mut task = tokio::spawn(async move { serve(&settings, clock, listener, stop).await });
        // The port is open before the service answers: wait for an answer.
        tokio::select! {
            ended = &mut task => panic!("the service did not start: {ended:?}"),
            () = async {
                while self.get("/livez").await.0 != StatusCode::OK {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                alive = start.elapsed();
                // It answers before it has tried to open its database.
                for _ in 0..400 {
                    let (status, readiness) = self.get("/readyz").await;
                    let database = readiness["database"].as_str().unwrap();
                    let is_tried = !["the database has not been reached yet", "unavailable"]
                        .contains(&database);
                    if status == StatusCode::OK || is_tried {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
        self.running = Some(Running { shutdown, task });
        alive
    }

    /// Stops the service and starts it again on the same database.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.run().await;
    }

    /// Stops the service, which has to end well and in time.
    pub async fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), running.task)
            .await
            .expect("the service stops within 10 s")
            .unwrap()
            .unwrap();
    }

    /// Stops the service and removes the database.
    pub async fn end(mut self) {
        self.stop().await;
        self.database.drop_database().await;
    }

    /// What the service was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A file in the site's `STATE_DIR`.
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::PUT, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let bytes = response.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text.into_owned()));
        (status, body)
    }

    pub async fn activate(&self, key: &str) -> (StatusCode, Value) {
        self.post("/api/license/activate", Some(json!({ "licenseKey": key })))
            .await
    }

    pub async fn validate(&self) -> Value {
        let (status, body) = self.post("/api/license/validate", None).await;
        assert_eq!(status, StatusCode::OK);
        body
    }

    pub async fn status(&self) -> Value {
        let (status, body) = self.get("/api/license/status").await;
        assert_eq!(status, StatusCode::OK);
        body
    }

    /// The value of a metric without labels; `None` if it is absent.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, metrics) = self.get("/metrics").await;
        let mut lines = metrics.as_str().unwrap().lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    pub async fn standing(&self) -> String {
        self.status().await["standing"].as_str().unwrap().to_owned()
    }

    pub async fn is_available(&self, feature: &str) -> bool {
        let body = json!({ "featureKey": feature });
        let (status, body) = self.post("/api/license/feature/check", Some(body)).await;
        assert_eq!(status, StatusCode::OK);
        body["available"].as_bool().unwrap()
    }

    /// Waits until the background has brought something about; fails after
    /// 10 s.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut holds: impl FnMut() -> F) {
        for _ in 0..1000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came about: {what}");
    }

    /// Waits until this many processes receive the notifications of the site's PostgreSQL database.
    pub async fn until_listening(&self, processes: usize) {
        let listening = "SELECT pid::text FROM pg_stat_activity WHERE state = 'idle' \
                         AND datname = current_database() AND query LIKE 'LISTEN %'";
        self.until("all processes listen", async || {
            self.database.texts(listening).await.len() == processes
        })
        .await;
    }
}

/// Everything that is logged goes to `TEST_LOGS`, where `cargo xtask test`
/// looks for secrets in it.
#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn log_to_file() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        if let Some(directory) = std::env::var_os("TEST_LOGS") {
            let file = std::fs::File::create(Path::new(&directory).join("client")).unwrap();
            tracing_subscriber::fmt()
                .with_env_filter("trace,hyper=debug,h2=debug,mio=info")
                .with_ansi(false)
                .with_writer(std::sync::Mutex::new(file))
                .init();
        }
    });
}

pub fn settings(
    database: &TestDatabase,
    directory: &Path,
    cloud_url: &str,
    flags: &[&str],
) -> Settings {
    let directory = directory.display().to_string();
    let usual = [
        "license-client",
        "--license-api-url",
        cloud_url,
        "--database-url",
        &database.url,
        "--state-dir",
        &directory,
        "--installation-id",
        INSTALLATION_ID,
        "--license-hardware-id",
        HARDWARE_ID,
    ];
    Line::try_parse_from(usual.iter().chain(flags))
        .unwrap()
        .settings
}
