//! What is shipped in `deploy/` fits the service: settings exist, metrics
//! exist, and the gateway's rules do in a real nginx what they say.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use clap::CommandFactory as _;
use license_server::licensing::catalogue::Tier;
use license_server::licensing::issue::IssueRequest;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::database::Engine;
use crate::gates::nginx::RawBackend;
use crate::harness::{KEY, Site};
use crate::nginx::Nginx;
use crate::raw_http::{connect, read_to_end};
use crate::scripted_cloud::ScriptedCloud;
use crate::vendor::{ADMIN_TOKEN, Vendor};

const DOCKERFILE: &str = include_str!("../../../../Dockerfile");
const COMPOSE: &str = include_str!("../../../../deploy/compose/compose.yaml");
const UNIT: &str = include_str!("../../../../deploy/systemd/license-client.service");
const ALERTS: &str = include_str!("../../../../deploy/prometheus/alerts.yaml");
const DASHBOARDS: [&str; 2] = [
    include_str!("../../../../deploy/grafana/license-client.json"),
    include_str!("../../../../deploy/grafana/license-server.json"),
];

fn variables(command: &clap::Command) -> BTreeSet<String> {
    let serve = command.find_subcommand("serve").unwrap();
    let all = serve.get_arguments().chain(command.get_arguments());
    all.filter_map(|argument| argument.get_env())
        .map(|variable| variable.display().to_string())
        .collect()
}

/// The lines from the one that begins with `from` up to the next of its kind.
fn part<'a>(text: &'a str, from: &str, next: &str) -> &'a str {
    let text = text.split_once(from).unwrap().1;
    text.split_once(next).map_or(text, |(part, _)| part)
}

#[test]
fn what_images_units_and_compose_set_are_settings() {
    let client = variables(&license_client::cli::Cli::command());
    let server = variables(&license_server::cli::Cli::command());
    let env = |stage: &str| {
        let line = part(part(DOCKERFILE, stage, "\nFROM "), "\nENV ", "\n");
        let names = line.split(' ').map(|pair| pair.split_once('=').unwrap().0);
        names.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for (stage, settings) in [
        ("AS license-client", &client),
        ("AS license-server", &server),
    ] {
        let set = env(stage);
        assert!(
            set.contains("HOST") && set.is_subset(settings),
            "{stage}: {set:?}"
        );
    }

    let environment = part(COMPOSE, "    environment:\n", "    #");
    let mut names = 0;
    for line in environment.lines() {
        let name = line.trim().split_once(':').unwrap().0;
        assert!(client.contains(name), "{name} is no setting");
        names += 1;
    }
    assert!(names > 5);

    let set: Vec<&str> = UNIT
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .collect();
    for pair in set {
        assert!(client.contains(pair.split_once('=').unwrap().0), "{pair}");
    }
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    text.match_indices("foxsight_license_")
        .map(|(at, _)| {
            let name = text[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            name.into_iter().next().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_and_panels_are_about_metrics_that_there_are() {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let expires_at = Some("2027-12-31T00:00:00Z".parse().unwrap());
    let request = IssueRequest {
        expires_at,
        ..IssueRequest::of(Tier::Professional)
    };
    site.activate(&vendor.issue(request).await).await;
    site.put("/api/license/usage", json!({"source": "s", "cameras": 7}))
        .await;
    let (_, scraped) = site.get("/metrics").await;
    let mut there = metrics(scraped.as_str().unwrap());
    let server = format!("{}/metrics", vendor.url.trim_end_matches("/api"));
    let scraped = site.http.get(server).bearer_auth(ADMIN_TOKEN);
    let scraped = scraped.send().await.unwrap();
    there.extend(metrics(&scraped.text().await.unwrap()));
    // Absent on a machine that has too little to be known by.
    there.insert("foxsight_license_hardware_drift".to_owned());
    // Absent while the wall clock and the effective time agree, and nothing is overdue.
    there.insert("foxsight_license_validation_overdue_seconds".to_owned());
    let watched = metrics(ALERTS);
    assert!(watched.len() >= 8);
    let missing: Vec<_> = watched.difference(&there).collect();
    assert_eq!(missing, [""; 0]);
    for dashboard in DASHBOARDS {
        let dashboard: Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        assert!(panels.len() >= 8);
        for panel in panels {
            let targets = panel["targets"].as_array().unwrap();
            for target in targets {
                let shown = metrics(target["expr"].as_str().unwrap());
                assert!(!shown.is_empty(), "{panel}");
                let missing: Vec<_> = shown.difference(&there).collect();
                assert_eq!(missing, [""; 0], "{}", panel["title"]);
            }
        }
    }
    site.end().await;
}

/// The status code of a request that comes from `caller`.
async fn send(nginx: &Nginx, caller: [u8; 4], method: Method, path: &str) -> u16 {
    let http = reqwest::Client::builder()
        .no_proxy()
        .local_address(IpAddr::from(Ipv4Addr::from(caller)))
        .build()
        .unwrap();
    let body = json!({"licenseKey": KEY, "featureKey": "module.map_view", "systemEnabled": true,
        "featureKeys": ["module.map_view"], "resource": "cameras", "source": "s", "cameras": 1});
    let mut request = http.request(method.clone(), format!("{}{path}", nginx.url));
    if method != Method::GET {
        request = request.json(&body);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_passes_questions_for_all_and_changes_for_operators_only() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let nginx = Nginx::gateway(&site.url).await;
    let (operator, visitor) = ([127, 0, 0, 1], [127, 0, 0, 2]);
    for path in ["activate", "validate", "heartbeat", "deactivate"] {
        let path = format!("/api/license/{path}");
        assert_eq!(
            send(&nginx, visitor, Method::POST, &path).await,
            403,
            "{path}"
        );
    }
    let switch = "/api/license/features/module.map_view";
    assert_eq!(send(&nginx, visitor, Method::PUT, switch).await, 403);
    let usage = "/api/license/usage";
    assert_eq!(send(&nginx, visitor, Method::PUT, usage).await, 403);
    assert!(cloud.arrived().is_empty());

    let activate = "/api/license/activate";
    assert_eq!(send(&nginx, operator, Method::POST, activate).await, 200);
    assert_eq!(send(&nginx, operator, Method::PUT, switch).await, 200);
    assert_eq!(send(&nginx, operator, Method::PUT, usage).await, 200);
    for path in ["status", "features", "attempts", "hardware"] {
        let path = format!("/api/license/{path}");
        assert_eq!(
            send(&nginx, visitor, Method::GET, &path).await,
            200,
            "{path}"
        );
    }
    for path in ["feature/check", "features/check", "limits/check"] {
        let path = format!("/api/license/{path}");
        assert_eq!(
            send(&nginx, visitor, Method::POST, &path).await,
            200,
            "{path}"
        );
    }
    assert_eq!(send(&nginx, visitor, Method::GET, "/metrics").await, 404);
    site.end().await;
}

/// nginx and the License Client each refuse a path that the other one may read differently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_passes_no_other_paths() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let backend = RawBackend::start().await;
    let nginx = Nginx::gateway(&format!("http://{}", backend.address)).await;
    let ask = async |base: &str, method: &str, path: &str| {
        let mut stream = connect(base).await;
        let host = "Host: localhost\r\nConnection: close\r\nContent-Length: 0";
        let head = format!("{method} {path} HTTP/1.1\r\n{host}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_to_end(&mut stream).await
    };
    for path in [
        "/console/assets/x%2f..%2f..%2f../api/license/status",
        "/metrics/..%2fapi%2flicense/status",
        "/metrics/../api/license/status",
        "//api/license/status",
        "/api/license//status",
        "/api/license/./status",
        "/api/license/x/%2e%2e/status",
        "/api/license/features/a%2fb",
        "/api/license/features/a%252fb",
        "/api/license/features/a;b",
        "/ofrep/v1/evaluate/flags/x%2f..%2f..%2f..%2f..%2f..%2fapi/license/feature/check",
        "/ofrep/v1/evaluate/flags/../../../../api/license/limits/check",
    ] {
        for method in ["GET", "POST", "PUT"] {
            ask(&nginx.url, method, path).await;
            let direct = ask(&site.url, method, path).await;
            let is_flag = path.starts_with("/ofrep/v1/evaluate/flags/");
            let is_refused = match is_flag {
                // Any key is answered as the protocol says: no feature has such a key.
                true => ["HTTP/1.1 400 ", "HTTP/1.1 405 "]
                    .iter()
                    .any(|it| direct.starts_with(it)),
                false => direct.starts_with("HTTP/1.1 404 "),
            };
            assert!(is_refused, "{method} {path}: {direct}");
        }
    }
    // The License Client has no such path.
    for line in backend.request_lines.lock().unwrap().drain(..) {
        let (_, path) = line.split_once(' ').unwrap();
        assert_eq!(path, "/api/license/ HTTP/1.1");
    }
    let answer = ask(&site.url, "GET", "/api/license/").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    ask(&nginx.url, "GET", "/api/license/features?a=%2f..%2f").await;
    assert_eq!(
        backend.request_lines.lock().unwrap()[..],
        ["GET /api/license/features?a=%2f..%2f HTTP/1.1"]
    );
    site.end().await;
}
