//! Programs of others, as processes that end with the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// A program that listens on its own port.
pub struct Process {
    child: Child,
    pub url: String,
}

/// Copies a program to where another user can run it: the build's directory may be closed to other
/// users. A separate process writes the copy: this one may be starting others in other threads,
/// which would hold the file open for writing, and Linux runs no such file.
pub fn copy_program(from: &str, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{from} to {}", to.display());
}

/// An unused port.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Process {
    /// Starts it, and waits until it listens on `port`.
    pub async fn start(command: &mut Command, port: u16) -> Self {
        let name = command.get_program().display().to_string();
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; 'cargo xtask test' installs it"));
        let mut process = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        for _ in 0..1500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                return process;
            }
            if let Some(status) = process.child.try_wait().unwrap() {
                panic!("{name} has ended at its start: {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} does not listen");
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGTERM lets a program end its own children, whom SIGKILL would leave
        // behind.
        let pid = self.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
