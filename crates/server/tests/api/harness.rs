//! A running License Server, and a site that asks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use license_core::document::{verify_denial, verify_license};
use license_core::keyring::Keyring;
use license_core::license_key::{LicenseKey, fingerprint};
use license_core::offline::{OfflineRequest, Purpose};
use license_core::signing_clock::SigningTime;
use license_server::app::App;
use license_server::audit::Actor;
use license_server::config::{Storage, Terms, TrialSettings};
use license_server::http::access::Access;
use license_server::licensing::issue::{IssueRequest, issue};
use license_server::licensing::look_up::look_up;
use license_server::licensing::seats::{FreeError, ReleaseError, free, release};
use license_server::licensing::status::set_status;
use license_server::serve::{Bounds, serve_within};
use license_server::store::licenses::Status;
use license_server::store::seats::{self, Seat};
use license_service::admin_token::AdminToken;
use license_service::clock::{Clock as _, ManualClock, SystemClock};
use license_service::database::Timeouts;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::{Engine, TestDatabase};
use crate::told::Told;

pub const NONCE: &str = "bm9uY2Utb2YtdGhpcy1yZXF1ZXN0LXdpdGgtMzItYnk";
pub const ADMIN_TOKEN: &str = "a-token-of-sixteen-characters";
pub const INSTALLATION: &str = "b5684f06-7c6a-4b44-bfbd-68bd127e7617";

/// A License Server on its own port.
pub struct Vendor {
    pub url: String,
    pub clock: Arc<ManualClock>,
    pub app: Arc<App>,
    pub http: reqwest::Client,
    pub database: Arc<TestDatabase>,
    directory: Arc<TempDir>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Vendor {
    pub async fn start(engine: Engine) -> Self {
        Self::start_with_leases(engine, TimeDelta::days(90)).await
    }

    /// The same with the clock of this machine, by which commands go.
    pub async fn in_the_present(engine: Engine) -> Self {
        let vendor = Self::start(engine).await;
        vendor.to_the_present();
        vendor
    }

    /// The same within other bounds of connections and bodies.
    pub async fn start_within(engine: Engine, bounds: Bounds) -> Self {
        Self::begin(engine, TimeDelta::days(90), bounds).await
    }

    /// The same, with leases by file that are so long.
    pub async fn start_with_leases(engine: Engine, by_file: TimeDelta) -> Self {
        Self::begin(engine, by_file, Bounds::default()).await
    }

    async fn begin(engine: Engine, by_file: TimeDelta, bounds: Bounds) -> Self {
        let database = Arc::new(TestDatabase::new(engine).await);
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let now: DateTime<Utc> = "2026-11-24T12:00:00.5Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(now));
        Self::start_on(database, directory, clock, by_file, bounds).await
    }

    /// On an existing database, with its own timeouts.
    pub async fn start_before(database: TestDatabase, timeouts: Timeouts) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let now: DateTime<Utc> = "2026-11-24T12:00:00.5Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(now));
        let mut storage = storage(&database, directory.path());
        storage.database_timeouts = timeouts;
        let database = Arc::new(database);
        let by_file = TimeDelta::days(90);
        Self::start_with(
            storage,
            database,
            directory,
            clock,
            by_file,
            Bounds::default(),
        )
        .await
    }

    /// A second process on the same database and keys.
    pub async fn twin(&self) -> Self {
        self.twin_with(self.clock.clone()).await
    }

    /// The same, on a machine with its own clock.
    pub async fn twin_with(&self, clock: Arc<ManualClock>) -> Self {
        let (database, directory) = (self.database.clone(), self.directory.clone());
        let by_file = self.app.terms.offline_days;
        let bounds = Bounds::default();
        Self::start_on(database, directory, clock, by_file, bounds).await
    }

    async fn start_on(
        database: Arc<TestDatabase>,
        directory: Arc<TempDir>,
        clock: Arc<ManualClock>,
        by_file: TimeDelta,
        bounds: Bounds,
    ) -> Self {
        let storage = storage(&database, directory.path());
        Self::start_with(storage, database, directory, clock, by_file, bounds).await
    }

    async fn start_with(
        storage: Storage,
        database: Arc<TestDatabase>,
        directory: Arc<TempDir>,
        clock: Arc<ManualClock>,
        by_file: TimeDelta,
        bounds: Bounds,
    ) -> Self {
        let terms = Terms {
            issuer: "test".to_owned(),
            lease_hours: TimeDelta::hours(24),
            grace_hours: TimeDelta::hours(72),
            offline_days: by_file,
            site_hosts: Vec::new(),
            trials: TrialSettings::default(),
        };
        let app = App::open(&storage, terms, clock.clone()).await.unwrap();
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let token = AdminToken::new(&ADMIN_TOKEN.into());
        let access = Access::new(
            Some(token),
            &["licenses.example".parse().unwrap()],
            clock.clone(),
        );
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve_within(
            app.clone(),
            access,
            listener,
            bounds,
            shutdown.clone(),
        ));
        Self {
            url,
            clock,
            app,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            database,
            directory,
            shutdown,
            task,
        }
    }

    /// Stops the service, and starts it again.
    pub async fn restarted(self) -> Self {
        self.restarted_after(|| ()).await
    }

    /// The same with a change of its files in between.
    pub async fn restarted_after(self, change: impl FnOnce()) -> Self {
        let (database, directory) = (self.database.clone(), self.directory.clone());
        let clock = self.clock.clone();
        self.stop().await;
        change();
        let (by_file, bounds) = (TimeDelta::days(90), Bounds::default());
        Self::start_on(database, directory, clock, by_file, bounds).await
    }

    /// Changes the key directory while the service is stopped and has no record of it, and
    /// starts it again.
    pub async fn with_other_keys(self, change: impl FnOnce(&Path)) -> Self {
        let (database, directory) = (self.database.clone(), self.directory.clone());
        let (clock, keys) = (self.clock.clone(), self.keys_dir());
        self.stop().await;
        database.execute("DELETE FROM key_record").await;
        change(&keys);
        let (by_file, bounds) = (TimeDelta::days(90), Bounds::default());
        Self::start_on(database, directory, clock, by_file, bounds).await
    }

    /// Copies the database while the service is stopped, and starts it again; answers the
    /// copy.
    pub async fn backed_up(self) -> (Self, TestDatabase) {
        let (database, directory) = (self.database.clone(), self.directory.clone());
        let clock = self.clock.clone();
        self.stop().await;
        let copy = copy_of(&database).await;
        let (by_file, bounds) = (TimeDelta::days(90), Bounds::default());
        let vendor = Self::start_on(database, directory, clock, by_file, bounds).await;
        (vendor, copy)
    }

    /// Stops the service, and starts it on a copy from before.
    pub async fn restored(self, copy: TestDatabase) -> Self {
        let (directory, clock) = (self.directory.clone(), self.clock.clone());
        self.end().await;
        let (by_file, bounds) = (TimeDelta::days(90), Bounds::default());
        Self::start_on(Arc::new(copy), directory, clock, by_file, bounds).await
    }

    /// Where its database and its keys are.
    pub fn storage(&self) -> Storage {
        storage(&self.database, self.directory.path())
    }

    pub fn keys_dir(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// Sets the clock to that of this machine, by which commands go: what the vendor has signed by its
    /// own clock may have ended by then. To be called before anything is signed.
    pub fn to_the_present(&self) {
        let now = self.clock.now();
        self.clock.advance(SystemClock.now() - now);
    }

    /// Flags that make a command work on this database.
    pub fn flags(&self) -> Vec<String> {
        let state_dir = self.directory.path().display().to_string();
        let flags = [
            "--database-url",
            &self.database.url,
            "--state-dir",
            &state_dir,
        ];
        flags.map(str::to_owned).to_vec()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    pub async fn end(self) {
        let database = self.database.clone();
        self.stop().await;
        database.drop_database().await;
    }

    /// What a program with the administrator's token is answered.
    pub async fn admin(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self
            .http
            .request(method, format!("{}/api/admin{path}", self.url))
            .bearer_auth(ADMIN_TOKEN);
        let request = match body {
            Value::Null => request,
            body => request.json(&body),
        };
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// The same, read-only.
    pub async fn look(&self, path: &str) -> Value {
        let (status, answer) = self.admin(Method::GET, path, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// Entries of the audit log, newest first. `query` begins with a `?`.
    pub async fn audit(&self, query: &str) -> Value {
        let mut page = self.look(&format!("/audit{query}")).await;
        page["entries"].take()
    }

    pub async fn heartbeat(&self, key: &str, hardware_id: &str, cameras: u64) -> Told {
        let body = json!({
            "licenseKey": key,
            "hardwareId": hardware_id,
            "installationId": INSTALLATION,
            "usageMetrics": {"camerasInUse": cameras, "usersActive": 2, "storageUsedGb": 100},
            "systemInfo": system_info(),
        });
        self.told("heartbeat", body).await
    }

    /// The time by the clock, which is trusted.
    pub fn permitted(&self) -> SigningTime {
        self.app.signing_clock.permit(self.clock.now()).unwrap()
    }

    pub async fn issue(&self, request: IssueRequest) -> String {
        let change = self.app.permitted_change(Actor::CommandLine).unwrap();
        issue(&self.app.store, request, &change)
            .await
            .unwrap()
            .license_key
    }

    pub async fn set_status(&self, key: &str, status: Status) {
        let change = self.app.change(Actor::CommandLine);
        set_status(&self.app.store, key, status, None, &change)
            .await
            .unwrap();
    }

    pub async fn free(&self, key: &str, hardware_id: &str) -> Result<Seat, FreeError> {
        let change = self.app.change(Actor::CommandLine);
        free(&self.app.store, key, hardware_id, &change).await
    }

    /// Releases a freed seat, with any overlap.
    pub async fn release(&self, key: &str, hardware_id: &str) -> Result<Seat, ReleaseError> {
        let change = self.app.change(Actor::CommandLine);
        let until = Some(change.at + TimeDelta::days(4000));
        release(&self.app.store, key, hardware_id, until, &change).await
    }

    /// The machine's stored seat.
    pub async fn seat(&self, key: &str, hardware_id: &str) -> Option<Seat> {
        let license = look_up(&self.app.store, key).await.unwrap();
        let db = self.app.store.reader();
        seats::find(db, &license.id, hardware_id).await.unwrap()
    }

    pub fn keyring(&self) -> Keyring {
        Keyring::from_jwk_set(self.app.keys().public()).unwrap()
    }

    pub async fn post(&self, call: &str, body: Value) -> (StatusCode, Value) {
        let response = self
            .http
            .post(format!("{}/api/licenses/{call}", self.url))
            .header("x-installation-id", INSTALLATION)
            .header("x-license-nonce", NONCE)
            .json(&body)
            .send()
            .await
            .unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn activate(&self, key: &str, hardware_id: &str) -> Told {
        let body = json!({
            "licenseKey": key,
            "hardwareId": hardware_id,
            "installationId": INSTALLATION,
            "installationName": "Test",
            "installationVersion": "1.0.0",
        });
        self.told("activate", body).await
    }

    pub async fn validate(&self, key: &str, hardware_id: &str) -> Told {
        let body = json!({"licenseKey": key, "hardwareId": hardware_id});
        self.told("validate", body).await
    }

    pub async fn deactivate(&self, key: &str, hardware_id: &str) -> Told {
        let body = json!({"licenseKey": key, "hardwareId": hardware_id});
        self.told("deactivate", body).await
    }

    /// Asks, and verifies the returned document.
    pub async fn told(&self, call: &str, body: Value) -> Told {
        let asked = body["licenseKey"].as_str().unwrap().to_owned();
        let (status, answer) = self.post(call, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let data = &answer["data"];
        if let Some(jws) = data["license"]["signature"].as_str() {
            assert_eq!(answer["success"], true);
            let document = verify_license(jws, &self.keyring()).unwrap();
            assert_eq!(document.claims().nonce.as_deref(), Some(NONCE));
            return Told::License(Box::new(document), answer);
        }
        match data["signature"].as_str() {
            Some(jws) => {
                let document = verify_denial(jws, &self.keyring()).unwrap();
                assert_eq!(document.claims().nonce.as_deref(), Some(NONCE));
                assert_eq!(
                    document.claims().license_key_hash,
                    Some(fingerprint(&asked))
                );
                Told::Denied(Box::new(document))
            }
            None if call == "heartbeat" && data["isValid"] == true => {
                assert_eq!(answer["success"], true);
                let license = LicenseKey::parse(data["license"]["licenseKey"].as_str().unwrap());
                assert_eq!(license, LicenseKey::parse(&asked), "{answer}");
                assert!(!answer.to_string().contains("eyJ"), "{answer}");
                Told::Unsigned(answer)
            }
            None => Told::Other(answer),
        }
    }
}

/// A copy of a database that no program has open.
async fn copy_of(database: &TestDatabase) -> TestDatabase {
    if let Some(file) = database.url.strip_prefix("sqlite:") {
        let copy = TestDatabase::new(Engine::Sqlite).await;
        std::fs::copy(file, copy.url.strip_prefix("sqlite:").unwrap()).unwrap();
        return copy;
    }
    let name = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let copy = TestDatabase::new(Engine::Postgres).await;
    // An extra machine that makes the call.
    let other = TestDatabase::new(Engine::Postgres).await;
    let (to, from) = (name(&copy.url), name(&database.url));
    other.execute(&format!("DROP DATABASE {to}")).await;
    let create = format!("CREATE DATABASE {to} TEMPLATE {from}");
    other.execute(&create).await;
    other.drop_database().await;
    copy
}

/// A request by file of `machine`, on which this installation runs.
pub fn offline_request(purpose: Purpose, key: &str, now: DateTime<Utc>) -> OfflineRequest {
    OfflineRequest {
        purpose,
        license_key: key.to_owned(),
        add_on_key: None,
        trial_secret: None,
        hardware_id: "machine".to_owned(),
        installation_id: INSTALLATION.to_owned(),
        installation_name: "Site".to_owned(),
        installation_version: "1".to_owned(),
        nonce: NONCE.to_owned(),
        created_at: now,
        key_set: 1,
        newest_seq: None,
        entitlements: false,
    }
}

/// What a heartbeat says of its machine.
pub fn system_info() -> Value {
    json!({
        "os_platform": "Linux", "os_release": "6.1.0", "os_version": "#1 SMP",
        "cpu_count": 4, "total_memory_gb": 7.75, "hostname": "vms", "architecture": "x86_64",
    })
}

pub fn storage(database: &TestDatabase, directory: &Path) -> Storage {
    Storage {
        database_url: Some(database.url.parse().unwrap()),
        state_dir: directory.to_owned(),
        keys_dir: None,
        database_timeouts: Timeouts::default(),
    }
}
