//! A program whose log cannot be written, or is not read. Both services run it.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::PROGRAM;
use crate::gates::process::free_port;

pub const TOKEN: &str = "a-token-of-sixteen-characters";
/// A pipe takes so much before its writer waits (`pipe(7)`).
const PIPE_BYTES: usize = 64 * 1024;

/// The program with a standard error of the test's choice.
pub struct Service {
    child: Child,
    pub port: u16,
    pub directory: TempDir,
}

impl Service {
    /// Starts it and waits until it answers.
    pub async fn start(stderr: impl Into<Stdio>, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, stderr, environment).await
    }

    pub async fn start_in(
        directory: TempDir,
        stderr: impl Into<Stdio>,
        environment: &[(&str, &str)],
    ) -> Self {
        let port = free_port();
        let child = Command::new(PROGRAM)
            .arg("serve")
            .env("PORT", port.to_string())
            .env("STATE_DIR", "state")
            .env("ADMIN_TOKEN", TOKEN)
            .envs(environment.iter().copied())
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut service = Self {
            child,
            port,
            directory,
        };
        for _ in 0..750 {
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("the program has ended at its start: {status}");
            }
            if reqwest::get(service.url("/livez")).await.is_ok() {
                return service;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the program does not answer");
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&str>,
    ) -> (StatusCode, String) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = http.request(method, self.url(path)).bearer_auth(TOKEN);
        if let Some(body) = body {
            let body = body.to_owned();
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        // A panic would be an empty reply.
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Makes a change, which has to be acknowledged.
    pub async fn change(&self) {
        let (method, path, body, made) = match PROGRAM.ends_with("license-server") {
            true => {
                let body = json!({"tier": "standard", "customer": "Harbour Ltd"});
                (
                    Method::POST,
                    "/api/admin/licenses",
                    body,
                    StatusCode::CREATED,
                )
            }
            false => {
                let body = json!({"source": "recorder", "cameras": 1});
                (Method::PUT, "/api/license/usage", body, StatusCode::OK)
            }
        };
        let (status, text) = self.send(method, path, Some(&body.to_string())).await;
        assert_eq!(status, made, "{text}");
    }

    /// How many lines of the log were dropped, as the metrics say.
    pub async fn dropped_lines(&self) -> u64 {
        let (path, name) = match PROGRAM.ends_with("license-server") {
            true => (
                "/metrics",
                "foxsight_license_server_log_lines_dropped_total ",
            ),
            false => ("/metrics", "foxsight_license_log_lines_dropped_total "),
        };
        let (status, text) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let mut lines = text.lines();
        let count = lines.find_map(|line| line.strip_prefix(name));
        count.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    }

    /// Logs until lines are dropped.
    async fn drops_lines(&self) {
        for _ in 0..100 {
            if self.dropped_lines().await > 0 {
                return;
            }
            // This is answered with 400 and logged.
            let mut proxy = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n";
            proxy.write_all(line).await.unwrap();
            proxy.read_to_end(&mut Vec::new()).await.unwrap();
        }
        panic!("no line is dropped");
    }

    /// Waits until it is ready, and so are its jobs.
    pub async fn ready(&self) {
        let mut text = String::new();
        for _ in 0..500 {
            let status;
            (status, text) = self.send(Method::GET, "/readyz", None).await;
            if status == StatusCode::OK {
                assert!(text.contains("\"jobs\":\"ok\""), "{text}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never ready: {text}");
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// SIGTERM: it ends well within 10 s.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        for _ in 0..500 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("SIGTERM is ignored");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipe that takes no further byte.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
    (reader, writer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_keeps_running_without_a_reader_of_its_log() {
    let (reader, writer) = pipe().unwrap();
    let mut service = Service::start(writer, &[("LOG", "trace")]).await;
    drop(reader);
    service.change().await;
    // A terminal that is closed sends this as well.
    service.signal("-HUP");
    service.change().await;
    service.drops_lines().await;
    service.ready().await;
    assert_eq!(service.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_works_and_stops_when_its_log_is_full_or_not_read() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (reader, writer) = full_pipe();
    for (stderr, drops) in [(Stdio::from(full), true), (Stdio::from(writer), false)] {
        let mut service = Service::start(stderr, &[("LOG", "trace"), ("LOG_FORMAT", "json")]).await;
        service.change().await;
        if drops {
            service.drops_lines().await;
        }
        service.change().await;
        let status = service.terminate().await;
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
    drop(reader);
}

/// A limit on file sizes ends a program by a signal, unless it is handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_keeps_running_when_its_log_file_cannot_grow() {
    let directory = tempfile::tempdir().unwrap();
    let log = File::create(directory.path().join("log")).unwrap();
    let mut service = Service::start_in(directory, log, &[("LOG", "trace")]).await;
    let pid = service.child.id().to_string();
    let limit = ["--pid", &pid, "--fsize=100:100"];
    assert!(
        Command::new("prlimit")
            .args(limit)
            .status()
            .unwrap()
            .success()
    );
    service.drops_lines().await;
    let (status, _) = service.send(Method::GET, "/livez", None).await;
    assert_eq!(status, StatusCode::OK);
    let status = service.terminate().await;
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_lines_come_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("log");
    let log = File::create(&file).unwrap();
    let mut service = Service::start_in(directory, log, &[]).await;
    assert_eq!(service.dropped_lines().await, 0);
    assert_eq!(service.terminate().await.code(), Some(0));
    let log = std::fs::read_to_string(file).unwrap();
    assert!(log.contains("listening"), "{log}");
    // Only counts of lines that were left out may follow.
    let mut last = log
        .lines()
        .rev()
        .skip_while(|line| line.contains("left out"));
    assert!(last.next().unwrap().ends_with(" stopped"), "{log}");
}

#[test]
fn a_mistake_at_start_has_its_exit_code_also_where_nothing_can_be_said() {
    let directory = tempfile::tempdir().unwrap();
    let run = |stderr: Stdio, variable: &str, value: &str| {
        Command::new(PROGRAM)
            .arg("serve")
            .env("STATE_DIR", directory.path().join("state"))
            .env(variable, value)
            .current_dir(directory.path())
            .stderr(stderr)
            .status()
            .unwrap()
            .code()
    };
    let full = || File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(run(full().into(), "PORT", "many"), Some(2));
    assert_eq!(run(full().into(), "ADMIN_TOKEN", "short"), Some(1));
    let (_reader, writer) = full_pipe();
    assert_eq!(run(writer.into(), "ADMIN_TOKEN", "short"), Some(1));
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into(), "ADMIN_TOKEN", "short"), Some(1));
}
