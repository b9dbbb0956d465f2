//! A supervisor that a program tells how it is, as systemd does, and signals.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends the program with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(told.success());
    }
}

fn message(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

/// The next message that is no sign of life.
fn news(socket: &UnixDatagram) -> String {
    loop {
        let message = message(socket);
        if message != "WATCHDOG=1\n" {
            return message;
        }
    }
}

/// `serve` of a program tells its supervisor that it is ready, alive, reloading where it reloads
/// anything, and stopping; on a socket with a path, and on an abstract one.
pub fn a_program_tells_its_supervisor(program: &str, reloads: bool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let name = format!("foxsight-{}-{reloads}", std::process::id());
    let by_path = UnixDatagram::bind(&path).unwrap();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let by_name = UnixDatagram::bind_addr(&address).unwrap();
    let name = OsString::from(format!("@{name}"));
    for (socket, named) in [(by_path, path.into_os_string()), (by_name, name)] {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let child = Command::new(program)
            .args(["serve", "--port", "0"])
            .env("NOTIFY_SOCKET", named)
            .env("WATCHDOG_USEC", "100000")
            .env("STATE_DIR", directory.path().join("state"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut program = Ended(child);
        assert_eq!(news(&socket), "READY=1\n");
        for _ in 0..3 {
            assert_eq!(message(&socket), "WATCHDOG=1\n");
        }
        if reloads {
            program.signal("-HUP");
            let reloading = news(&socket);
            let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            assert!(since.unwrap().trim_end().parse::<u64>().unwrap() > 0);
            assert_eq!(news(&socket), "READY=1\n");
        }
        program.signal("-TERM");
        assert_eq!(news(&socket), "STOPPING=1\n");
        assert!(program.0.wait().unwrap().success());
    }
}

/// `serve` of a program logs signals that other programs use to reopen their logs, and runs on.
pub fn a_program_survives_signals_that_it_does_not_use(program: &str) {
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(program)
        .args(["serve", "--port", "0"])
        .env("STATE_DIR", directory.path().join("state"))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Ended(child);
    let mut log = BufReader::new(program.0.stderr.take().unwrap()).lines();
    // The log ends with the program.
    let mut logs = |text: &str| log.by_ref().any(|line| line.unwrap().contains(text));
    assert!(logs("listening"));
    for signal in ["USR1", "USR2", "ALRM", "USR1"] {
        program.signal(&format!("-{signal}"));
        assert!(logs(&format!("SIG{signal}")), "{signal}");
    }
    program.signal("-TERM");
    assert!(program.0.wait().unwrap().success());
}
