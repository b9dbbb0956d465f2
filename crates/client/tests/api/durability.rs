//! What was acknowledged is there after a restart, and after a kill.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::Vendor;

on_both_engines! {
    an_acknowledged_activation_survives_kill_9;
    a_license_is_passed_through_unchanged_and_in_order_also_after_a_restart;
    grace_goes_on_after_a_restart_and_does_not_begin_anew;
}

/// The real program, as its own process.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    async fn start(database: &TestDatabase, cloud_url: &str, keys: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let child = Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(["serve", "--log", "error", "--port", &port.to_string()])
            .args(["--database-url", &database.url])
            .args([
                "--license-api-url",
                cloud_url,
                "--license-trusted-keys",
                keys,
            ])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let program = Self { child, port };
        for _ in 0..500 {
            if program.get("/livez").await.is_ok() {
                return program;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the program did not start");
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        reqwest::get(self.url(path)).await
    }

    /// SIGKILL: nothing of the program runs any more.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn an_acknowledged_activation_survives_kill_9(engine: Engine) {
    let vendor = Vendor::start().await;
    // The program has the real clock: the License Server has to agree with it.
    let drift = chrono::TimeDelta::days(3650);
    vendor.advance(drift);
    let keys = vendor.trusted_keys();
    let database = TestDatabase::new(engine).await;
    for _ in 0..3 {
        let key = vendor.issue_professional().await;
        let mut program = Program::start(&database, &vendor.url, &keys).await;
        let response = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(program.url("/api/license/activate"))
            .json(&json!({"licenseKey": key}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        program.kill();

        let mut program = Program::start(&database, &vendor.url, &keys).await;
        let status: Value = program
            .get("/api/license/status")
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(status["licenseKey"], key.as_str());
        assert_eq!(status["standing"], "active");
        program.kill();
    }
    database.drop_database().await;
}

async fn a_license_is_passed_through_unchanged_and_in_order_also_after_a_restart(engine: Engine) {
    let odd = r#"{"z":1.0,"licenseKey":"k","b":{"y":[1,2.50,1e+3,null,true],"x":"é/"},"big":12345678901234567890123,"enabledFeatures":[]}"#;
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    let answer = format!(r#"{{"success":true,"data":{{"license":{odd}}}}}"#);
    cloud.next(crate::scripted_cloud::Scripted::new(200, answer));
    let (_, answer) = site.activate("k").await;
    assert_eq!(answer["license"].to_string(), odd);
    site.restart().await;
    cloud.always(Some(crate::scripted_cloud::Scripted::new(503, "")));
    let answer = site.validate().await;
    assert_eq!(answer["valid"], true);
    assert_eq!(answer["license"].to_string(), odd);
    site.end().await;
}

async fn grace_goes_on_after_a_restart_and_does_not_begin_anew(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(engine, &cloud.url, &[]).await;
    site.activate(KEY).await;
    cloud.always(Some(crate::scripted_cloud::Scripted::new(503, "")));
    site.validate().await;
    let ends = site.status().await["gracePeriodExpires"].clone();
    assert!(ends.is_string());
    for _ in 0..3 {
        site.advance(chrono::TimeDelta::hours(20));
        site.restart().await;
        site.validate().await;
        assert_eq!(site.status().await["gracePeriodExpires"], ends);
    }
    site.advance(chrono::TimeDelta::hours(13));
    assert_eq!(site.standing().await, "lapsed");
    site.restart().await;
    assert_eq!(site.standing().await, "lapsed");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_goes_on_when_the_caller_hangs_up() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let license = json!({"success": true, "data": {"license": {"licenseKey": KEY}}});
    cloud.next(crate::scripted_cloud::Scripted {
        delay: Duration::from_millis(500),
        ..crate::scripted_cloud::Scripted::new(200, license.to_string())
    });
    let hasty = site
        .http
        .post(format!("{}/api/license/activate", site.url))
        .json(&json!({"licenseKey": KEY}))
        .timeout(Duration::from_millis(200))
        .send()
        .await;
    assert!(hasty.is_err());
    site.until("the license is active", async || {
        site.standing().await == "active"
    })
    .await;
    site.end().await;
}
