//! Forward authentication over gRPC, as Envoy speaks it: messages are written and
//! read by the numbers of their fields.

mod messages;
mod port;
mod questions;

use self::messages::{Answer, Asked, framed};
use crate::database::Engine;
use crate::gates::process::free_port;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const ROUTES: &str = r#"
[[route]]
path = "/api/analytics/**"
feature = "module.analytics_advanced"

[[route]]
path = "/api/alarms/**"
methods = ["POST"]
feature = "module.alarm_advanced"

[[route]]
path = "/caf/**"
feature = "module.alarm_advanced"
"#;

struct Gate {
    site: Site,
    url: String,
    http: reqwest::Client,
    _directory: tempfile::TempDir,
}

/// A licensed site; it has analytics and the map, and no alarms.
async fn gate(routes: Option<&str>) -> Gate {
    let gate = unlicensed(routes).await;
    gate.site.activate(KEY).await;
    gate
}

async fn unlicensed(routes: Option<&str>) -> Gate {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    std::fs::write(&file, routes.unwrap_or_default()).unwrap();
    let (file, port) = (file.display().to_string(), free_port().to_string());
    let mut flags = vec!["--ext-authz-port", port.as_str()];
    if routes.is_some() {
        flags.extend(["--gate-routes", file.as_str()]);
    }
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let http = reqwest::Client::builder().no_proxy();
    Gate {
        site,
        url: format!("http://127.0.0.1:{port}"),
        http: http.http2_prior_knowledge().build().unwrap(),
        _directory: directory,
    }
}

impl Gate {
    async fn send(&self, path: &str, body: Vec<u8>) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.url)).body(body);
        let request = request.header("content-type", "application/grpc");
        request.header("te", "trailers").send().await.unwrap()
    }

    async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let response = self.send(CHECK, framed(&asked.message())).await;
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let body = response.bytes().await.unwrap();
        Answer::read(&body[5..])
    }

    /// The status and the reason.
    async fn short(&self, asked: &Asked<'_>) -> (String, String) {
        let answer = self.ask(asked).await;
        (answer.status.clone(), answer.reason().to_owned())
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}
