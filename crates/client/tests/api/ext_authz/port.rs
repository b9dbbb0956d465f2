//! The port, and its connections.

use std::process::Command;
use std::time::Duration;

use super::messages::{Asked, framed};
use super::{CHECK, gate};
use crate::database::Engine;
use crate::harness::Site;
use crate::scripted_cloud::ScriptedCloud;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_off_unless_there_is_a_port_which_has_to_be_free() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    assert_eq!(site.settings().ext_authz_port, None);
    let question = site.http.post(format!("{}{CHECK}", site.url));
    let question = question
        .header("content-type", "application/grpc")
        .body(framed(b""));
    assert_eq!(question.send().await.unwrap().status(), 404);
    site.end().await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(crate::PROGRAM)
        .args(["serve", "--port", "0", "--ext-authz-port", &port])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("cannot listen on 127.0.0.1:{port}");
    assert!(
        said.contains(&expected) && said.contains("EXT_AUTHZ_PORT"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_both_ports_count_and_end_with_the_service() {
    let gate = gate(None).await;
    let core = Asked {
        feature: Some("module.live_view"),
        ..Asked::default()
    };
    let open = || async {
        let url = format!("{}/metrics", gate.site.url);
        let response = gate.site.http.get(url).send().await.unwrap();
        let text = response.text().await.unwrap();
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("foxsight_license_connections "));
        let number = line.and_then(|line| line.rsplit(' ').next()).unwrap();
        number.trim_end_matches(".0").parse::<u64>().unwrap()
    };
    // Connections of the start may end in the meantime.
    let mut before = open().await;
    let mut steady = 0;
    while steady < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = open().await;
        steady = if now == before { steady + 1 } else { 0 };
        before = now;
    }
    gate.ask(&core).await;
    assert_eq!(open().await, before + 1);
    // It stops within 10 s, although the connection of the gateway is open.
    let url = gate.url.clone();
    gate.site.end().await;
    assert!(gate.http.post(url).send().await.is_err());
}
