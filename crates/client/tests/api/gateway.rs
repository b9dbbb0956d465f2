//! The VMS's gateway asks as its README says: real FastAPI, real httpx.

use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    async fn start(license_client: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/gateway.py");
        let child = Command::new("/usr/bin/python3")
            .args([script, &port.to_string(), license_client])
            .spawn()
            .expect("python3 is installed by 'cargo xtask test'");
        let url = format!("http://127.0.0.1:{port}");
        let gateway = Self { child, url };
        for _ in 0..300 {
            if reqwest::get(format!("{}/open", gateway.url)).await.is_ok() {
                return gateway;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the gateway did not start");
    }

    async fn get(&self, page: &str) -> (u16, Value) {
        let answer = reqwest::get(format!("{}{page}", self.url)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fastapi_gateway_lets_pass_what_is_licensed_and_refuses_the_rest() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let gateway = Gateway::start(&site.url).await;
    let refused = (403, json!({"error": "Feature not licensed"}));
    assert_eq!(gateway.get("/analytics").await, refused);
    assert_eq!(gateway.get("/live").await.0, 200);
    site.activate(KEY).await;
    assert_eq!(
        gateway.get("/analytics").await,
        (200, json!({"page": "analytics"}))
    );
    assert_eq!(gateway.get("/alarms").await, refused);
    assert_eq!(gateway.get("/live").await.0, 200);
    assert_eq!(gateway.get("/unrelated").await.0, 200);
    site.end().await;
}
