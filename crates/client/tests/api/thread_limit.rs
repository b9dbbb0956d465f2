//! A user with a limit on threads: the program serves, or ends and says why.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::gates::process::{copy_program, free_port};

/// A user that exists on no machine, and has no other process.
const SERVICE: u32 = 54_329;

/// Ends the process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the program serves with so many threads; if not, it says what to do.
fn serves(threads: u32) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    chown(directory, Some(SERVICE), Some(SERVICE)).unwrap();
    let program = directory.join("program");
    copy_program(crate::PROGRAM, &program);
    let log = directory.join("log");
    let port = free_port();
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--nproc={threads}"))
        .arg(program)
        .args(["serve", "--port", &port.to_string()])
        .env("STATE_DIR", directory.join("state"))
        .current_dir(directory)
        .uid(SERVICE)
        .gid(SERVICE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let mut child = Ended(command.spawn().unwrap());
    for _ in 0..2000 {
        if let Some(status) = child.0.try_wait().unwrap() {
            let said = fs::read_to_string(&log).unwrap();
            assert_eq!(status.code(), Some(1), "{threads}: {said}");
            let expected = "raise the limit on threads: pids_limit of the container, TasksMax";
            assert!(said.contains(expected), "{threads}: {said}");
            assert_eq!(said.lines().count(), 1, "{threads}: {said}");
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{threads}: {}", fs::read_to_string(&log).unwrap());
}

#[test]
fn without_enough_threads_the_program_ends_and_names_the_limits() {
    // Only root can start it as another user, and has no limit itself.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    for threads in [1, 2, 3, 4, 5, 8, 16] {
        assert!(!serves(threads), "{threads}");
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    let cores = u32::try_from(cores).unwrap();
    for threads in [cores + 23, cores + 24, cores + 25, cores + 26] {
        serves(threads);
    }
    assert!(serves(cores + 64));
}
