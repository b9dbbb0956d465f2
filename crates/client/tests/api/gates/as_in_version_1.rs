//! The VMS's gateway asks as its README says: real FastAPI, real httpx.

use std::process::Command;

use serde_json::{Value, json};

use super::process::{Process, free_port};
use super::{Licensed, get, shipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fastapi_gateway_lets_pass_what_is_licensed_and_refuses_the_rest() {
    let licensed = Licensed::by_feature().await;
    let port = free_port();
    let mut command = Command::new("/usr/bin/python3");
    command.arg(shipped::file("crates/client/tests/python/gateway.py"));
    command.args([&port.to_string(), &licensed.site.url]);
    let gateway = Process::start(&mut command, port).await;
    let asked = async |page: &str| {
        let answer = get(&gateway.url, page, &[]).await;
        (
            answer.status().as_u16(),
            answer.json::<Value>().await.unwrap(),
        )
    };
    let refused = (403, json!({"error": "Feature not licensed"}));
    let passed = (200, json!({"page": "analytics"}));
    assert_eq!(asked("/analytics").await, passed);
    assert_eq!(asked("/alarms").await, refused);
    assert_eq!(asked("/live").await.0, 200);
    assert_eq!(asked("/unrelated").await.0, 200);
    licensed.site.post("/api/license/deactivate", None).await;
    assert_eq!(asked("/analytics").await, refused);
    assert_eq!(asked("/live").await.0, 200);
    licensed.end().await;
}
