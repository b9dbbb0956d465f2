//! `localhost` has two addresses: another user must not get one of them while the service uses the
//! other. Both services run it.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::PROGRAM;
use crate::unread_log::Service;

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_takes_both_addresses_of_localhost() {
    if !has_ipv6() {
        return;
    }
    for host in ["127.0.0.1", "0.0.0.0", "::"] {
        let service = Service::start(Stdio::null(), &[("HOST", host)]).await;
        for address in ["127.0.0.1", "[::1]", "localhost"] {
            let url = format!("http://{address}:{}/livez", service.port);
            let answer = reqwest::get(&url).await;
            assert_eq!(answer.unwrap().status(), 200, "{host} {url}");
        }
        let taken = TcpListener::bind(("::1", service.port));
        assert!(taken.is_err(), "{host}: another program gets [::1]");
    }
}

/// One address is enough to start: a program that holds the other one cannot prevent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_of_localhost_that_another_program_has_is_warned_of() {
    if !has_ipv6() {
        return;
    }
    let other = TcpListener::bind("[::1]:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--port", &port.to_string()])
        .env("STATE_DIR", "state")
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stderr(File::create(&path).unwrap())
        .spawn()
        .unwrap();
    let mut answers = false;
    for _ in 0..750 {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/livez")).await;
        answers = answer.is_ok_and(|answer| answer.status() == 200);
        if answers || child.try_wait().unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let log = std::fs::read_to_string(path).unwrap();
    assert!(answers, "{log}");
    let warning = log
        .lines()
        .find(|line| line.contains("WARN") && line.contains("[::1]"));
    assert!(
        warning.is_some_and(|line| line.contains("localhost")),
        "{log}"
    );
}
