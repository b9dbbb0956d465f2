//! Calls that a killed process may not have answered.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::{code, keyed};
use crate::PROGRAM;
use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::gates::process::{Process, free_port};
use crate::harness::{ADMIN_TOKEN, INSTALLATION, NONCE, Vendor};

on_both_engines! {
    a_change_whose_answer_is_lost_is_named_and_not_made_again;
    a_process_that_is_killed_between_a_change_and_its_answer_leaves_what_was_done;
    calls_that_a_killed_process_did_not_answer_are_repeated_without_changing_twice;
}

async fn a_change_whose_answer_is_lost_is_named_and_not_made_again(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let license = vendor.issue(IssueRequest::of(Tier::Standard)).await;
    let path = format!("/licenses/{license}/amendments");
    let camera = json!({"add": [{"key": "cameras", "quantity": 1}]});
    let (status, amended) = keyed(&vendor, "k", &path, &camera).await;
    assert_eq!(status, StatusCode::CREATED, "{amended}");
    // What a process leaves that is killed between the two.
    let lost = "UPDATE idempotency_keys SET status = NULL, answer = NULL";
    vendor.database.execute(lost).await;
    vendor.clock.advance(chrono::TimeDelta::seconds(31));
    for _ in 0..2 {
        let (status, answer) = keyed(&vendor, "k", &path, &camera).await;
        assert_eq!(
            (status, code(&answer)),
            (StatusCode::CONFLICT, "answer_missing")
        );
        let message = answer["error"]["message"].as_str().unwrap();
        let id = amended["license"]["id"].as_str().unwrap_or("amended");
        assert!(
            message.contains("amended FXSGHT-") && message.contains(id),
            "{message}"
        );
        assert!(!message.contains(&license), "{message}");
    }
    let amendments = vendor.look(&path).await;
    assert_eq!(
        amendments["amendments"].as_array().unwrap().len(),
        2,
        "{amendments}"
    );
    vendor.end().await;
}

/// How many times the program is killed.
const KILLS: usize = 3;
/// How many calls of each kind are made before that.
const CALLS: usize = 4;
/// The latest moment of a kill, after the calls have begun.
const LATEST_MS: u64 = 60;

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

    async fn new(engine: Engine) -> Self {
        Self {
            database: TestDatabase::new(engine).await,
            directory: tempfile::tempdir().unwrap(),
            http: Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// Makes the statement wait that stores an answer after its change.
    async fn stall(&self, engine: Engine) {
        let stall = match engine {
            Engine::Sqlite => {
                "CREATE VIEW endless AS WITH RECURSIVE n(i) AS \
                 (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n; \
                 CREATE TRIGGER stall BEFORE UPDATE ON idempotency_keys \
                 BEGIN SELECT count(*) FROM endless; END"
            }
            Engine::Postgres => {
                "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_catalog.pg_sleep(2); RAISE EXCEPTION 'stalled'; END $$; \
                 CREATE TRIGGER stall BEFORE UPDATE ON idempotency_keys \
                 FOR EACH ROW EXECUTE FUNCTION stall()"
            }
        };
        self.database.execute(stall).await;
    }

    /// The number of rows of a table.
    async fn count(&self, table: &str) -> usize {
        let rows = format!("SELECT '' FROM {table}");
        self.database.texts(&rows).await.len()
    }

    /// The answer, if there is one.
    async fn post(&self, server: &Process, call: &Call) -> Option<(StatusCode, Value)> {
        let request = self
            .http
            .post(format!("{}/api{}", server.url, call.path))
            .bearer_auth(ADMIN_TOKEN)
            .header("x-license-nonce", NONCE)
            .header("idempotency-key", &call.key)
            .json(&call.body);
        let answer = request.send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }
}

fn kill(server: &Process) {
    let pid = server.id().to_string();
    let killed = Command::new("kill").args(["-KILL", &pid]).status();
    assert!(killed.unwrap().success());
}

async fn a_process_that_is_killed_between_a_change_and_its_answer_leaves_what_was_done(
    engine: Engine,
) {
    let killed = Killed::new(engine).await;
    let server = killed.start().await;
    let issue = Call::of("/admin/licenses", json!({"plan": "standard"}));
    let (_, issued) = killed.post(&server, &issue).await.unwrap();
    let add = Call::of("/admin/customers", json!({"name": "Harbour"}));
    killed.stall(engine).await;
    let killing = async {
        let changed = "SELECT done FROM idempotency_keys WHERE answer IS NULL";
        while !matches!(killed.database.try_texts(changed).await, Ok(it) if !it.is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        kill(&server);
    };
    let (answer, ()) = tokio::join!(killed.post(&server, &add), killing);
    assert!(answer.is_none(), "{answer:?}");
    drop(server);
    let of_table = match engine {
        Engine::Sqlite => "",
        Engine::Postgres => "ON idempotency_keys",
    };
    let resume = format!("DROP TRIGGER stall {of_table}");
    killed.database.execute(&resume).await;
    let server = killed.start().await;
    let (status, answer) = killed.post(&server, &add).await.unwrap();
    assert_eq!(
        (status, code(&answer)),
        (StatusCode::CONFLICT, "answer_missing")
    );
    assert!(answer.to_string().contains("customer_added"), "{answer}");
    assert_eq!(killed.count("customers").await, 1);
    assert_eq!(killed.post(&server, &issue).await.unwrap().1, issued);
    assert_eq!(killed.count("licenses").await, 1);
    drop(server);
    killed.database.drop_database().await;
}

struct Call {
    key: String,
    path: String,
    body: Value,
}

impl Call {
    /// A call with a new key.
    fn of(path: &str, body: Value) -> Self {
        Self {
            key: Uuid::new_v4().to_string(),
            path: path.to_owned(),
            body,
        }
    }
}

/// Licenses to issue, amendments of a license, machines to activate for it, and customers to add.
fn calls(license: &str) -> Vec<Call> {
    let amend = format!("/admin/licenses/{license}/amendments");
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let camera = json!({"add": [{"key": "cameras", "quantity": 1}]});
        let machine = json!({
            "licenseKey": license, "hardwareId": Uuid::new_v4().to_string(),
            "installationId": INSTALLATION, "installationName": "Test",
            "installationVersion": "1.0.0",
        });
        calls.push(Call::of("/admin/licenses", json!({"plan": "standard"})));
        calls.push(Call::of(&amend, camera));
        calls.push(Call::of("/licenses/activate", machine));
        let customer = json!({"name": Uuid::new_v4().to_string()});
        calls.push(Call::of("/admin/customers", customer));
    }
    calls
}

async fn calls_that_a_killed_process_did_not_answer_are_repeated_without_changing_twice(
    engine: Engine,
) {
    let killed = Killed::new(engine).await;
    let mut server = killed.start().await;
    let first = json!({"plan": "standard", "seats": 100});
    let first = Call::of("/admin/licenses", first);
    let (_, first) = killed.post(&server, &first).await.unwrap();
    let license = first["licenseKey"].as_str().unwrap().to_owned();
    let mut unanswered = 0;
    for _ in 0..KILLS {
        let calls = calls(&license);
        let calling = join_all(calls.iter().map(|call| killed.post(&server, call)));
        let moment = u64::from(Uuid::new_v4().as_bytes()[0]) * LATEST_MS / 255;
        let killing = async {
            tokio::time::sleep(Duration::from_millis(moment)).await;
            kill(&server);
        };
        let (before, ()) = tokio::join!(calling, killing);
        server = killed.start().await;
        for (call, before) in calls.iter().zip(before) {
            let (status, answer) = killed.post(&server, call).await.unwrap();
            let is_lost = call.path.ends_with("customers") && code(&answer) == "answer_missing";
            assert!(status.is_success() || is_lost, "{}: {answer}", call.path);
            if let Some(before) = before.filter(|it| it.0.is_success()) {
                assert_eq!((status, answer), before, "{}", call.path);
            } else {
                unanswered += 1;
            }
        }
    }
    assert!(unanswered > 0, "every call was answered");
    let calls = KILLS * CALLS;
    assert_eq!(killed.count("licenses").await, calls + 1);
    assert_eq!(killed.count("seats").await, calls);
    assert_eq!(killed.count("customers").await, calls);
    // Each license has a first amendment.
    assert_eq!(killed.count("amendments").await, 2 * calls + 1);
    drop(server);
    killed.database.drop_database().await;
}
