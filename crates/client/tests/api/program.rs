//! The real program, as its own process.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::gates::process::{copy_program, free_port};

/// A process with its own `STATE_DIR`.
pub struct Program {
    child: Child,
    pub port: u16,
    directory: TempDir,
}

impl Program {
    /// Starts `license-client serve`, with settings as flags.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[]).await
    }

    /// The same with more in its environment.
    pub async fn start_with(flags: &[&str], environment: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_license-client"));
        Self::run(command, directory, flags, environment).await
    }

    /// The same as another user, to whom `directory` belongs.
    pub async fn start_as(user: u32, directory: TempDir, flags: &[&str]) -> Self {
        let program = directory.path().join("license-client");
        copy_program(env!("CARGO_BIN_EXE_license-client"), &program);
        let mut command = Command::new(program);
        command.uid(user).gid(user);
        Self::run(command, directory, flags, &[]).await
    }

    async fn run(
        mut command: Command,
        directory: TempDir,
        flags: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let port = free_port();
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command
            .args(["serve", "--port", &port.to_string()])
            .args(flags)
            .env("STATE_DIR", directory.path().join("state"))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let program = Self {
            child,
            port,
            directory,
        };
        for _ in 0..750 {
            if program.try_get("/livez").await.is_ok() {
                return program;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the program did not start: {}", program.log());
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap()
    }

    /// A file beside its `STATE_DIR`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub async fn try_get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        reqwest::get(self.url(path)).await
    }

    pub async fn text(&self, path: &str) -> String {
        self.try_get(path).await.unwrap().text().await.unwrap()
    }

    pub async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// The status code and the body.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, String) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = http.request(method, self.url(path)).json(body).send();
        let response = response.await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// SIGHUP: it reloads what it can.
    pub fn hang_up(&mut self) {
        self.signal("-HUP");
    }

    fn signal(&mut self, signal: &str) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(told.success());
    }

    /// SIGTERM: it ends in good order.
    pub fn terminate(&mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    /// SIGKILL: nothing of the program runs any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
