//! The real program is killed while licenses are amended and add-on keys are redeemed: each change
//! is whole, with its entry in the audit log, or absent.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use license_server::licensing::look_up::look_up;
use license_server::store::licenses;
use license_server::store::{Store, add_ons, amendments, audit_log};
use license_service::clock::{Clock as _, SystemClock};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::PROGRAM;
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::gates::process::{Process, free_port};
use crate::harness::{ADMIN_TOKEN, INSTALLATION};

on_both_engines! {
    a_process_that_is_killed_leaves_whole_changes_or_none;
}

/// How many times it is killed.
const KILLS: usize = 10;
/// The number of changes at a time.
const CHANGES: usize = 6;
/// The latest moment of the first kill, after the changes have begun.
const FIRST_LATEST: Duration = Duration::from_millis(80);
/// The same for the kills of a machine that stores nothing in that time.
const MAX_LATEST: Duration = Duration::from_secs(10);

/// A License Server that is killed and started again.
struct Killed {
    database: TestDatabase,
    directory: TempDir,
    http: Client,
}

impl Killed {
    async fn start(&self) -> Process {
        let port = free_port();
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--port", &port.to_string()])
            .env("DATABASE_URL", &self.database.url)
            .env("STATE_DIR", self.directory.path().join("state"))
            .env("ADMIN_TOKEN", ADMIN_TOKEN)
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Process::start(&mut command, port).await
    }

    /// The answer, if there is one.
    async fn post(&self, url: String, body: &Value) -> Option<(StatusCode, Value)> {
        let request = self.http.post(url).bearer_auth(ADMIN_TOKEN).json(body);
        let answer = request.send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }

    async fn made(&self, server: &Process, path: &str, body: Value) -> Value {
        let url = format!("{}/api{path}", server.url);
        let (status, answer) = self.post(url, &body).await.unwrap();
        assert!(status.is_success(), "{path}: {answer}");
        answer
    }

    /// Amends a license and redeems keys for it, until the process is killed at some moment. Returns
    /// the numbers of the amendments that were acknowledged.
    async fn change_until_killed(
        &self,
        server: &Process,
        key: &str,
        latest: Duration,
    ) -> BTreeSet<u64> {
        let camera = json!([{"key": "cameras", "quantity": 1}]);
        let mut keys = Vec::new();
        for _ in 0..CHANGES {
            let issued = self.made(server, "/admin/addons", json!({"add": camera}));
            keys.push(issued.await["addOnKey"].clone());
        }
        let redeem = format!("{}/api/licenses/redeem", server.url);
        let amend = format!("{}/api/admin/licenses/{key}/amendments", server.url);
        let redeeming = keys.iter().map(async |add_on| {
            let body = json!({"licenseKey": key, "addOnKey": add_on, "hardwareId": "machine"});
            let (status, answer) = self.post(redeem.clone(), &body).await?;
            let number = answer["data"]["amendment"].as_u64();
            number.filter(|_| status == StatusCode::OK)
        });
        let amending = (0..CHANGES).map(async |_| {
            let body = json!({"add": camera});
            let (status, answer) = self.post(amend.clone(), &body).await?;
            let number = answer["amendment"]["number"].as_u64();
            number.filter(|_| status == StatusCode::CREATED)
        });
        let moment = latest * u32::from(Uuid::new_v4().as_bytes()[0]) / 255;
        let killing = async {
            tokio::time::sleep(moment).await;
            let pid = server.id().to_string();
            let killed = Command::new("kill").args(["-KILL", &pid]).status();
            assert!(killed.unwrap().success());
        };
        let (redeemed, amended, ()) =
            tokio::join!(join_all(redeeming), join_all(amending), killing);
        redeemed.into_iter().chain(amended).flatten().collect()
    }
}

/// Waits until no other session of the database is left: PostgreSQL goes on with what a killed
/// program has sent, a commit included.
async fn until_unused(database: &TestDatabase) {
    let others = "SELECT state FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..1_000 {
        if database.texts(others).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("sessions of the killed program are left");
}

/// Checks that no amendment of the only license, which is of the standard plan, and no redeemed key is
/// half there. Each of them grants one camera. Returns the numbers of all amendments.
pub async fn check_whole(url: &str, key: &str) -> BTreeSet<u64> {
    let store = Store::open(&url.parse().unwrap()).await.unwrap();
    let license = look_up(&store, key).await.unwrap();
    let all = amendments::of_license(store.reader(), &license.id).await;
    let all = all.unwrap();
    let numbers: BTreeSet<u64> = all.iter().map(|it| it.number.into()).collect();
    let count = all.len() as u64;
    assert_eq!(numbers, (1..=count).collect(), "without gaps");
    assert_eq!(u64::from(license.amendment), count);
    let whole = licenses::amended(store.reader(), license.clone(), &all, SystemClock.now());
    assert_eq!(whole.await.unwrap().max_cameras, license.max_cameras);
    assert_eq!(license.max_cameras, 16 + i64::try_from(count - 1).unwrap());
    let of_license = audit_log::Filter {
        license_id: Some(license.id.clone()),
        ..audit_log::Filter::default()
    };
    let log = audit_log::oldest(store.reader(), &of_license, 10_000).await;
    let noted = log.unwrap().into_iter().filter_map(|entry| {
        let is_one = matches!(&*entry.action, "amended" | "add_on_redeemed");
        entry.details.filter(|_| is_one)?["amendment"].as_u64()
    });
    let noted: Vec<u64> = noted.collect();
    assert_eq!(noted.len() as u64, count - 1, "one entry for each");
    assert_eq!(
        noted.iter().copied().collect::<BTreeSet<_>>(),
        (2..=count).collect()
    );
    let query = add_ons::AddOnsQuery::default();
    let keys = add_ons::newest(store.reader(), &query, None, 10_000).await;
    let redeemed = keys.unwrap().rows.into_iter().filter_map(|it| {
        let number = it.add_on.redeemed?.amendment;
        Some((number, format!("Add-on key {}", it.masked)))
    });
    let by_key: BTreeSet<(u32, String)> = redeemed.collect();
    let by_amendment = all.iter().filter_map(|it| {
        let reason = it.reason.clone()?;
        reason
            .starts_with("Add-on key")
            .then_some((it.number, reason))
    });
    assert_eq!(by_key, by_amendment.collect());
    store.close().await;
    numbers
}

async fn a_process_that_is_killed_leaves_whole_changes_or_none(engine: Engine) {
    let killed = Killed {
        database: TestDatabase::new(engine).await,
        directory: tempfile::tempdir().unwrap(),
        http: Client::builder().no_proxy().build().unwrap(),
    };
    let server = killed.start().await;
    let issued = killed.made(&server, "/admin/licenses", json!({"plan": "standard"}));
    let key = issued.await["licenseKey"].as_str().unwrap().to_owned();
    let machine = json!({
        "licenseKey": key, "hardwareId": "machine", "installationId": INSTALLATION,
        "installationName": "Test", "installationVersion": "1.0.0",
    });
    killed.made(&server, "/licenses/activate", machine).await;
    let mut server = Some(server);
    let (mut interrupted, mut stored) = (0, 1);
    let mut latest = FIRST_LATEST;
    for _ in 0..KILLS {
        let running = match server.take() {
            Some(server) => server,
            None => killed.start().await,
        };
        let acknowledged = killed.change_until_killed(&running, &key, latest).await;
        drop(running);
        if engine == Engine::Postgres {
            until_unused(&killed.database).await;
        }
        let found = check_whole(&killed.database.url, &key).await;
        assert!(
            acknowledged.is_subset(&found),
            "{acknowledged:?} of {found:?}"
        );
        interrupted += usize::from(acknowledged.len() < 2 * CHANGES);
        // As late as this machine needs to store something.
        if found.len() == stored {
            latest = MAX_LATEST.min(latest * 2);
        }
        stored = found.len();
    }
    assert!(
        interrupted > 0 && stored > 1,
        "{interrupted} of {KILLS}, {stored}"
    );
    killed.database.drop_database().await;
}
