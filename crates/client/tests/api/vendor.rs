//! The real License Server, in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use ed25519_dalek::SigningKey;
use license_core::amendment::{self, Amendment, Change, UpdateRule};
use license_core::catalogue::{CatalogueEntry, Kind};
use license_core::keyring::{Jwk, JwkSet};
use license_server::app::App;
use license_server::audit::Actor;
use license_server::config::{Storage, Terms, TrialSettings};
use license_server::http::access::Access;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::clock::{accept, watch};
use license_server::licensing::issue::{IssueError, IssueRequest, issue};
use license_server::licensing::plan_file::PlanFile;
use license_server::licensing::plans::apply;
use license_server::licensing::status::set_status;
use license_server::serve::serve;
use license_server::signing::SigningKeys;
use license_server::store::amendments;
use license_server::store::licenses::{self, Status};
use license_service::admin_token::AdminToken;
use license_service::clock::{Clock as _, ManualClock};
use license_service::database_url::DatabaseUrl;
use sea_orm::ConnectionTrait as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::TestDatabase;
use crate::harness::START;

/// The token of the vendor's staff.
pub const ADMIN_TOKEN: &str = "a-token-of-the-vendor";

/// A License Server that can go away and come back.
pub struct Vendor {
    pub url: String,
    pub clock: Arc<ManualClock>,
    pub app: Arc<App>,
    address: SocketAddr,
    storage: Storage,
    terms: Terms,
    directory: TempDir,
    running: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

impl Vendor {
    pub async fn start() -> Self {
        let (day, grace) = (TimeDelta::hours(24), TimeDelta::hours(72));
        Self::start_at(START.parse().unwrap(), day, grace).await
    }

    /// On a database that is there already.
    pub async fn start_on(database: &TestDatabase) -> Self {
        let (day, grace) = (TimeDelta::hours(24), TimeDelta::hours(72));
        let url = database.url.parse().unwrap();
        Self::begin(START.parse().unwrap(), day, grace, Some(url)).await
    }

    /// With another time, and other spans in what it signs.
    pub async fn start_at(now: DateTime<Utc>, lease: TimeDelta, grace: TimeDelta) -> Self {
        Self::begin(now, lease, grace, None).await
    }

    async fn begin(
        now: DateTime<Utc>,
        lease: TimeDelta,
        grace: TimeDelta,
        database_url: Option<DatabaseUrl>,
    ) -> Self {
        let terms = Terms {
            issuer: "test".to_owned(),
            lease_hours: lease,
            grace_hours: grace,
            offline_days: TimeDelta::days(90),
            site_hosts: Vec::new(),
            trials: TrialSettings::default(),
        };
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage {
            database_url,
            state_dir: directory.path().to_owned(),
            keys_dir: None,
            database_timeouts: license_service::database::Timeouts::default(),
        };
        let clock = Arc::new(ManualClock::at(now));
        let app = open(&storage, &terms, &clock).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut vendor = Self {
            url: format!("http://{address}/api"),
            clock,
            app,
            address,
            storage,
            terms,
            directory,
            running: None,
        };
        vendor.listen(listener);
        vendor
    }

    /// Closes the door: connections are refused.
    pub async fn go_away(&mut self) {
        let (shutdown, task) = self.running.take().expect("it is running");
        shutdown.cancel();
        task.await.unwrap().unwrap();
    }

    /// Opens it again, at the same address.
    pub async fn come_back(&mut self) {
        self.app = open(&self.storage, &self.terms, &self.clock).await;
        // After more than a day of rest a person confirms its clock.
        let change = self.app.change(Actor::CommandLine);
        let accepted = accept(&self.app.store, &*self.clock, &change).await;
        accepted.unwrap();
        watch(&self.app).await.unwrap();
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    fn listen(&mut self, listener: TcpListener) {
        let token = AdminToken::new(&ADMIN_TOKEN.into());
        let names = ["licenses.example".parse().unwrap()];
        let access = Access::new(Some(token), &names, self.clock.clone());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(self.app.clone(), access, listener, shutdown.clone()));
        self.running = Some((shutdown, task));
    }

    /// The file of its database.
    pub fn database_file(&self) -> PathBuf {
        self.storage.state_dir.join("license-server.sqlite")
    }

    /// The file for `LICENSE_TRUSTED_KEYS`.
    pub fn trusted_keys(&self) -> String {
        let file: PathBuf = self.directory.path().join("trusted-keys.json");
        let set = serde_json::to_string(self.app.keys().public()).unwrap();
        std::fs::write(&file, set).unwrap();
        file.display().to_string()
    }

    /// Issues a license; what it has in addition to its plan is added to the catalogue.
    pub async fn issue(&self, request: IssueRequest) -> String {
        let entries = request.with.iter().map(|key| CatalogueEntry {
            key: key.clone(),
            kind: Kind::Feature,
            name: "Sold by a test".to_owned(),
            unit: String::new(),
            description: String::new(),
        });
        let file = PlanFile {
            catalogue: entries.collect(),
            ..PlanFile::default()
        };
        let change = self.app.permitted_change(Actor::CommandLine).unwrap();
        apply(&self.app.store, &file, &change, true).await.unwrap();
        issue(&self.app.store, request, &change)
            .await
            .unwrap()
            .license_key
    }

    /// The same, where the database may fail.
    pub async fn try_issue_professional(&self) -> Result<String, IssueError> {
        let change = self.app.permitted_change(Actor::CommandLine).unwrap();
        let request = IssueRequest::of(Tier::Professional);
        let issued = issue(&self.app.store, request, &change).await?;
        Ok(issued.license_key)
    }

    pub async fn issue_professional(&self) -> String {
        self.issue(IssueRequest::of(Tier::Professional)).await
    }

    pub async fn set_status(&self, key: &str, status: Status, message: Option<&str>) {
        let change = self.app.change(Actor::CommandLine);
        set_status(&self.app.store, key, status, message, &change)
            .await
            .unwrap();
    }

    /// Amends the terms: the license covers the releases until this instant.
    pub async fn set_updates(&self, key: &str, until: Option<DateTime<Utc>>, updates: UpdateRule) {
        let store = &self.app.store;
        let license = licenses::find(store.reader(), key).await.unwrap().unwrap();
        let (transaction, license) = store.hold(license).await.unwrap();
        let mut all = amendments::of_license(&transaction, &license.id)
            .await
            .unwrap();
        let now = self.clock.now();
        let at = now.trunc_subsecs(0);
        let amendment = Amendment {
            number: all.last().unwrap().number + 1,
            author: "test".to_owned(),
            reason: None,
            order: None,
            recorded_at: at,
            effective_at: at,
            undoes: None,
            changes: vec![Change::Terms(amendment::Terms {
                updates_until: until,
                updates,
                ..amendment::contents(&all, now).terms
            })],
        };
        all.push(amendment);
        let at = self.app.signing_clock.permit(now).unwrap();
        let judged = licenses::judged(&transaction, license, &all, at)
            .await
            .unwrap();
        let newest = all.last().unwrap();
        amendments::insert(&transaction, &judged.license().id, newest)
            .await
            .unwrap();
        licenses::save(&transaction, &judged).await.unwrap();
        transaction.commit().await.unwrap();
    }

    /// Makes the next key, which signs after `overlap`.
    pub fn rotate(&mut self, overlap: TimeDelta) {
        let now = self.clock.now();
        SigningKeys::rotate(&self.storage.keys(), "test", now, overlap).unwrap();
        self.app.reload_changed_keys().unwrap();
    }

    pub fn revoke(&mut self, kid: &str) {
        let now = self.clock.now();
        SigningKeys::revoke(&self.storage.keys(), "test", kid, now).unwrap();
        self.app.reload_changed_keys().unwrap();
    }

    /// Sets so long, and so many, that they do not fit into one answer: each round makes
    /// the next key and revokes the one before. `without_old_keys` removes the private
    /// keys that sign no more.
    pub fn make_long_history(&mut self, without_old_keys: bool) {
        for _ in 0..10 {
            self.advance(TimeDelta::minutes(5));
            let now = self.clock.now();
            let keys = self.app.keys().list(now);
            let signs = keys.into_iter().find(|key| key.state == "signs").unwrap();
            self.rotate(TimeDelta::zero());
            self.revoke(&signs.kid);
            if without_old_keys {
                let file = format!("{}.jwk", signs.kid);
                std::fs::remove_file(self.storage.keys().join(file)).unwrap();
            }
        }
        self.app.reload_changed_keys().unwrap();
    }

    /// Adds keys to the first set that make it, and all later ones, about 50 KB long.
    /// No server has used the set yet.
    pub async fn fill_first_set(&mut self) {
        self.go_away().await;
        let url = format!("sqlite://{}", self.database_file().display());
        let database = sea_orm::Database::connect(url).await.unwrap();
        let forget = "DELETE FROM key_record";
        database.execute_unprepared(forget).await.unwrap();
        database.close().await.unwrap();
        let file = self.storage.keys().join("set-000001.json");
        let mut set: JwkSet = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for number in 1..=61 {
            let secret = SigningKey::from_bytes(&[number; 32]);
            let mut key = Jwk::from_verifying_key(&secret.verifying_key());
            key.kid = key.kid.map(|kid| format!("{kid:_<560}"));
            set.keys.push(key);
        }
        std::fs::write(&file, serde_json::to_vec(&set).unwrap()).unwrap();
        self.come_back().await;
    }

    pub fn oldest_key(&self) -> String {
        let keys = self.app.keys().list(self.clock.now());
        keys.last().unwrap().kid.clone()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }
}

async fn open(storage: &Storage, terms: &Terms, clock: &Arc<ManualClock>) -> Arc<App> {
    let app = App::open(storage, terms.clone(), clock.clone()).await;
    Arc::new(app.unwrap())
}
