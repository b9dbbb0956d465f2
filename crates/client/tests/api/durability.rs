//! What was acknowledged is there after a restart, and after a kill.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::database::{Engine, TestDatabase, on_both_engines};
use crate::harness::{KEY, Site};
use crate::program::Program;
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::Vendor;

on_both_engines! {
    an_acknowledged_activation_survives_kill_9;
    a_license_is_passed_through_unchanged_and_in_order_also_after_a_restart;
    grace_continues_after_a_restart_and_does_not_start_again;
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
        let mut program = Program::start(&[
            "--database-url",
            &database.url,
            "--license-api-url",
            &vendor.url,
            "--license-trusted-keys",
            &keys,
        ])
        .await;
        let body = json!({"licenseKey": key});
        let answer = program.send(Method::POST, "/api/license/activate", &body);
        assert_eq!(answer.await.0, 200);
        program.kill();

        let mut program = Program::start(&[
            "--database-url",
            &database.url,
            "--license-api-url",
            &vendor.url,
            "--license-trusted-keys",
            &keys,
        ])
        .await;
        // On a busy machine, it responds before it has read the database.
        while program.try_get("/readyz").await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = program.json("/api/license/status").await;
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

async fn grace_continues_after_a_restart_and_does_not_start_again(engine: Engine) {
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
async fn an_activation_continues_when_the_caller_disconnects() {
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
