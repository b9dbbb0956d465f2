//! A private PostgreSQL server: separate directory, random port on loopback, an
//! unprivileged user; stopped when the value is dropped.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::packages::{self, Need};
use crate::program::{self, free_port, is_root, now, output};

/// A running server.
pub(crate) struct Cluster {
    port: u16,
    server: Child,
    _directory: TempDir,
}

/// The user of the server; PostgreSQL does not run as root.
#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// What a server needs.
pub(crate) fn need() -> Need {
    Need::new(&["postgresql"], || programs().is_some())
}

impl Cluster {
    /// Starts a server, and installs it first if necessary.
    pub(crate) fn start() -> Result<Self> {
        packages::ensure(&[need()])?;
        let programs = programs().context("no PostgreSQL server is installed")?;
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("data");
        let user = if is_root() { Some(other_user()?) } else { None };
        if let Some(user) = user {
            chown(directory.path(), Some(user.uid), Some(user.gid))?;
        }

        let mut initdb = as_user(programs.join("initdb"), user);
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8"]);
        initdb
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(&data);
        output(&mut initdb)?;

        let port = free_port()?;
        let log = fs::File::create(directory.path().join("log"))?;
        let mut postgres = as_user(programs.join("postgres"), user);
        postgres
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            // The tests' data does not have to survive a crash of the machine.
            "fsync=off",
        ] {
            postgres.args(["-c", setting]);
        }
        postgres.stdout(log.try_clone()?).stderr(log);
        let server = postgres.spawn().context("cannot start PostgreSQL")?;
        let mut cluster = Self {
            port,
            server,
            _directory: directory,
        };
        cluster.wait(&programs)?;
        Ok(cluster)
    }

    /// The server's maintenance database, as superuser.
    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn wait(&mut self, programs: &std::path::Path) -> Result<()> {
        let start = now();
        while start.elapsed() < Duration::from_secs(30) {
            let mut ready = Command::new(programs.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            if ready.status()?.success() {
                return Ok(());
            }
            if let Some(status) = self.server.try_wait()? {
                bail!("PostgreSQL exited immediately ({status})");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("PostgreSQL is not ready after 30 s");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Ends open connections. SIGTERM alone would wait for them.
        let pid = self.server.id().to_string();
        let stopped = output(Command::new("kill").args(["-INT", &pid]))
            .and_then(|_| program::stop(&mut self.server));
        if let Err(error) = stopped {
            eprintln!("warning: {error}");
        }
    }
}

/// The directory of the newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// The user created by Debian's package, or nobody.
fn other_user() -> Result<User> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let find = |name: &str| {
        let line = passwd
            .lines()
            .find(|l| l.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some(User {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .context("there is no user 'postgres' or 'nobody' to run PostgreSQL as")
}

fn as_user(program: PathBuf, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}
