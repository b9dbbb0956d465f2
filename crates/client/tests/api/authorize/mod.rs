//! Forward authentication: 200 or 403 for any question in any form.

mod features;
mod methods;
mod paths;
mod reload;

use reqwest::{Method, Response};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

const PATH: &str = "/api/license/authorize";
const ROUTES: &str = r#"
[[route]]
path = "/api/analytics/public"

[[route]]
path = "/api/analytics/**"
feature = "module.analytics_advanced"

[[route]]
path = "/api/alarms/**"
methods = ["POST"]
feature = "module.alarm_advanced"
"#;

struct Gate {
    site: Site,
    _directory: tempfile::TempDir,
}

/// A licensed site with a table; it has analytics, and no alarms.
async fn gate(routes: &str) -> Gate {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    std::fs::write(&file, routes).unwrap();
    let file = file.display().to_string();
    let flags = ["--gate-routes", file.as_str()];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    site.activate(KEY).await;
    Gate {
        site,
        _directory: directory,
    }
}

impl Gate {
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self
            .site
            .http
            .request(method, format!("{}{path}", self.site.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.ask(Method::GET, path, headers).await.status().as_u16()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |it| it.to_str().unwrap())
}

/// The reason of the answer, with its status where it allows.
async fn reason(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> String {
    let answer = gate.ask(Method::GET, path, headers).await;
    let reason = header(&answer, "x-license-reason").to_owned();
    assert_eq!(answer.status() == 200, is_allowance(&reason), "{reason}");
    reason
}

fn is_allowance(reason: &str) -> bool {
    ["licensed", "core", "no_feature_needed"].contains(&reason)
}
