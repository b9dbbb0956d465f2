//! How the example for Python follows a real License Client, asked through OpenFeature.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use license_server::store::licenses::Status;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fastapi::{CURRENT, python};
use super::{Licensed, shipped};
use crate::database::Engine;
use crate::faked_time::library;
use crate::harness::Site;
use crate::vendor::Vendor;

const MAP_VIEW: &str = "check module.map_view";
const LIVE_VIEW: &str = "check module.live_view";

/// A process with the provider, which answers commands.
struct Provider {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Provider {
    fn start(url: &str, options: &Value) -> Self {
        Self::start_with(url, options, &[])
    }

    fn start_with(url: &str, options: &Value, environment: &[(&str, String)]) -> Self {
        let mut child = python(CURRENT)
            .arg(shipped::file("crates/client/tests/python/provider.py"))
            .args([url, &options.to_string()])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer).unwrap();
        assert_ne!(read, 0, "{command}: the process has ended");
        answer.trim_end().to_owned()
    }

    /// Asks until the answer is that; fails after 20 s.
    async fn until(&mut self, command: &str, expected: &str) {
        let mut answer = String::new();
        for _ in 0..1000 {
            answer = self.ask(command);
            if answer == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{command}: {answer}, not {expected}");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes connections on to a License Client until it is silenced: then existing connections stay
/// open, but carry no data.
struct Network {
    url: String,
    accepted: Arc<AtomicUsize>,
    is_silent: Arc<AtomicBool>,
}

impl Network {
    async fn before(site: &Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behind = site.url.strip_prefix("http://").unwrap().to_owned();
        let accepted = Arc::new(AtomicUsize::new(0));
        let is_silent = Arc::new(AtomicBool::new(false));
        let (count, silent) = (accepted.clone(), is_silent.clone());
        tokio::spawn(async move {
            while let Ok((mut visitor, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (behind, silent) = (behind.clone(), silent.clone());
                tokio::spawn(async move {
                    let mut service = TcpStream::connect(behind).await.unwrap();
                    let (mut request, mut answer) = ([0; 4096], [0; 4096]);
                    loop {
                        let read = tokio::select! {
                            read = visitor.read(&mut request) => (true, read.unwrap_or(0)),
                            read = service.read(&mut answer) => (false, read.unwrap_or(0)),
                        };
                        while silent.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        let written = match read {
                            (_, 0) => return,
                            (true, read) => service.write_all(&request[..read]).await,
                            (false, read) => visitor.write_all(&answer[..read]).await,
                        };
                        if written.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            url,
            accepted,
            is_silent,
        }
    }

    fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Answers every connection with the same bytes, or holds it without any.
async fn scripted(address: &str, answer: &'static str) -> tokio::task::JoinHandle<()> {
    let listener = TcpListener::bind(address.strip_prefix("http://").unwrap());
    let listener = listener.await.unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            if answer.is_empty() {
                held.push(connection);
                continue;
            }
            let _ = connection.read(&mut [0; 4096]).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    })
}

async fn switch_map(site: &Site, is_on: bool) {
    let path = "/api/license/features/module.map_view";
    site.put(path, json!({"systemEnabled": is_on})).await;
}

/// A site and the key of its license.
async fn licensed_with_key() -> (Vendor, Site, String) {
    let vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    assert_eq!(site.activate(&key).await.0, 200);
    (vendor, site, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_client_may_be_absent_at_the_start_refuse_hang_and_restart() {
    let mut licensed = Licensed::by_feature().await;
    licensed.site.stop().await;
    let url = licensed.site.url.clone();
    let options = json!({"token": "secret-word", "idle_timeout": 0.5});
    let mut provider = Provider::start(&url, &options);
    provider
        .until("error", "[Errno 111] Connection refused")
        .await;
    for (answer, error) in [
        ("", "timed out"),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            "401: the token is missing or wrong",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            "the response is not an event stream; is this a License Client?",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n",
            "an event cannot be read: KeyError",
        ),
    ] {
        let other = scripted(&url, answer).await;
        provider.until("error", error).await;
        assert_eq!(provider.ask(MAP_VIEW), "False PROVIDER_NOT_READY");
        assert_eq!(provider.ask(LIVE_VIEW), "True core");
        other.abort();
        let _ = other.await;
    }
    // The License Client itself requires no token.
    licensed.site.restart().await;
    provider.until(MAP_VIEW, "True licensed").await;
    licensed.site.stop().await;
    assert_eq!(provider.ask(MAP_VIEW), "True licensed");
    licensed.site.restart().await;
    switch_map(&licensed.site, false).await;
    provider.until(MAP_VIEW, "False switched_off").await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forked_worker_receives_a_revocation_like_its_parent() {
    let (vendor, site, key) = licensed_with_key().await;
    let mut provider = Provider::start(&site.url, &json!({}));
    provider.until(MAP_VIEW, "True licensed").await;
    // A worker, and a worker of the worker.
    assert_eq!(provider.ask("fork"), "done");
    assert_eq!(provider.ask("child fork"), "done");
    let workers = ["", "child ", "child child "];
    for worker in workers {
        let is_on = format!("{worker}{MAP_VIEW}");
        assert_eq!(provider.ask(&is_on), "True licensed", "{worker}");
    }
    for (status, answer) in [
        (Status::Suspended, "False suspended"),
        (Status::Active, "True licensed"),
        (Status::Revoked, "False revoked"),
    ] {
        vendor.set_status(&key, status, None).await;
        site.validate().await;
        for worker in workers {
            provider.until(&format!("{worker}{MAP_VIEW}"), answer).await;
            let core = format!("{worker}{LIVE_VIEW}");
            assert_eq!(provider.ask(&core), "True core", "{worker}");
        }
    }
    // Each has its own connection, and holds no copy of its parent's.
    for worker in workers {
        for what in ["threads", "sockets"] {
            let command = format!("{worker}{what}");
            assert_eq!(provider.ask(&command), "1", "{command}");
        }
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_shutdown_and_initialize_it_follows_again() {
    let licensed = Licensed::by_feature().await;
    let mut provider = Provider::start(&licensed.site.url, &json!({}));
    for _ in 0..2 {
        switch_map(&licensed.site, true).await;
        provider.until(MAP_VIEW, "True licensed").await;
        provider.ask("shutdown");
        // Data without a follower is not trusted.
        assert_eq!(provider.ask(MAP_VIEW), "False PROVIDER_NOT_READY");
        assert_eq!(provider.ask(LIVE_VIEW), "True core");
        provider.until("threads", "0").await;
        provider.ask("initialize");
        provider.until(MAP_VIEW, "True licensed").await;
        switch_map(&licensed.site, false).await;
        provider.until(MAP_VIEW, "False switched_off").await;
        assert_eq!(provider.ask("threads"), "1");
    }
    // Without a pause, and more often than necessary.
    for command in ["shutdown", "initialize", "initialize"] {
        provider.ask(command);
    }
    provider.until(MAP_VIEW, "False switched_off").await;
    provider.until("threads", "1").await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_given_up() {
    let licensed = Licensed::by_feature().await;
    let network = Network::before(&licensed.site).await;
    let mut provider = Provider::start(&network.url, &json!({"idle_timeout": 2}));
    provider.until(MAP_VIEW, "True licensed").await;
    network.is_silent.store(true, Ordering::Relaxed);
    switch_map(&licensed.site, false).await;
    let before = network.connections();
    provider.until("error", "timed out").await;
    assert_eq!(provider.ask(MAP_VIEW), "True licensed");
    network.is_silent.store(false, Ordering::Relaxed);
    provider.until(MAP_VIEW, "False switched_off").await;
    assert!(network.connections() > before);
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_comes_on_time_without_the_license_client() {
    let mut licensed = Licensed::by_feature().await;
    let mut keeps = Provider::start(&licensed.site.url, &json!({}));
    let mut closes = Provider::start(&licensed.site.url, &json!({"max_silence": 30}));
    for provider in [&mut keeps, &mut closes] {
        provider.until(MAP_VIEW, "True licensed").await;
    }
    licensed.site.stop().await;
    let minute = "clock 60";
    for provider in [&mut keeps, &mut closes] {
        assert_eq!(provider.ask(MAP_VIEW), "True licensed");
        provider.ask(minute);
        assert_eq!(provider.ask(LIVE_VIEW), "True core");
    }
    assert_eq!(keeps.ask(MAP_VIEW), "True licensed");
    assert_eq!(closes.ask(MAP_VIEW), "False no_contact");
    assert_eq!(closes.ask("until module.map_view"), "no_contact");
    // The lease of 24 hours, and then grace of 72.
    keeps.ask("clock 86400");
    assert_eq!(keeps.ask(MAP_VIEW), "True grace_period");
    // A stream that waits sees the deadline itself: its clock runs.
    keeps.ask(&format!("clock {}", 72 * 3600 - 62));
    assert_eq!(keeps.ask(MAP_VIEW), "True grace_period");
    assert_eq!(keeps.ask("until module.map_view"), "grace_period_expired");
    assert_eq!(keeps.ask(MAP_VIEW), "False grace_period_expired");
    assert_eq!(keeps.ask(LIVE_VIEW), "True core");
    licensed.site.restart().await;
    for provider in [&mut keeps, &mut closes] {
        provider.until(MAP_VIEW, "True licensed").await;
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_the_wall_clock_change_nothing() {
    let mut licensed = Licensed::by_feature().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wall");
    let set_wall = |to: &str| std::fs::write(&file, format!("{to}\n")).unwrap();
    set_wall("+0");
    let environment = [
        ("LD_PRELOAD", library()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let options = json!({"max_silence": 30});
    let mut provider = Provider::start_with(&licensed.site.url, &options, &environment);
    provider.until(MAP_VIEW, "True licensed").await;
    licensed.site.stop().await;
    for (to, year) in [
        ("@2055-06-01 00:00:00", "2055"),
        ("@1999-06-01 00:00:00", "1999"),
    ] {
        set_wall(to);
        assert_eq!(provider.ask("wall"), year);
        assert_eq!(provider.ask(MAP_VIEW), "True licensed", "{year}");
    }
    // The end comes all the same.
    provider.ask("clock 31");
    assert_eq!(provider.ask(MAP_VIEW), "False no_contact");
    licensed.site.restart().await;
    provider.until(MAP_VIEW, "True licensed").await;
    switch_map(&licensed.site, false).await;
    provider.until(MAP_VIEW, "False switched_off").await;
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_keys_of_the_vendor_are_followed() {
    let (mut vendor, site, key) = licensed_with_key().await;
    let mut provider = Provider::start(&site.url, &json!({}));
    provider.until(MAP_VIEW, "True licensed").await;
    let old = vendor.oldest_key();
    vendor.rotate(TimeDelta::zero());
    vendor.revoke(&old);
    assert_eq!(site.validate().await["valid"], true);
    assert_eq!(provider.ask(MAP_VIEW), "True licensed");
    vendor.set_status(&key, Status::Suspended, None).await;
    site.validate().await;
    provider.until(MAP_VIEW, "False suspended").await;
    assert_eq!(provider.ask(LIVE_VIEW), "True core");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_features_with_the_longest_keys_are_heard() {
    let mut licensed = Licensed::by_feature().await;
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9990) \
                INSERT INTO local_feature_flags (feature_key, system_enabled) \
                SELECT printf('f%099d', i), FALSE FROM n";
    licensed.site.database.execute(rows).await;
    licensed.site.restart().await;
    let mut provider = Provider::start(&licensed.site.url, &json!({}));
    provider.until(MAP_VIEW, "True licensed").await;
    let last = format!("check f{:0>99}", 9_990);
    assert_eq!(provider.ask(&last), "False not_in_license");
    switch_map(&licensed.site, false).await;
    provider.until(MAP_VIEW, "False switched_off").await;
    assert_eq!(provider.ask(LIVE_VIEW), "True core");
    licensed.end().await;
}
