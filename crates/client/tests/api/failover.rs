//! A failover behind a real `HAProxy`: a primary and its standby, with what Patroni would say of
//! them, and both programs on a database of theirs.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::database::{Engine, TestDatabase};
use crate::gates::process::{Process, free_port};
use crate::harness::Site;
use crate::vendor::Vendor;

/// What docs/operations.md says of the time after which changes are stored again.
const DOCUMENTED: Duration = Duration::from_secs(10);

/// What docs/operations.md says of `HAProxy`.
const CHECK: &str = "option httpchk OPTIONS /primary";
const SERVERS: &str = "inter 1s fall 2 rise 1 on-marked-down shutdown-sessions";

/// A separate PostgreSQL server, and what Patroni reports about it.
struct Server {
    _process: Process,
    directory: TempDir,
    port: u16,
    is_primary: Arc<AtomicBool>,
    health: SocketAddr,
}

impl Server {
    async fn primary() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut initdb = postgres("initdb", directory.path());
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8"]);
        initdb.args(["--locale=C", "--no-sync", "--pgdata"]);
        run(initdb.arg(directory.path().join("data")));
        Self::start(directory, true).await
    }

    /// A standby that has what the primary has, and follows it.
    async fn standby(primary: &Self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut copy = postgres("pg_basebackup", directory.path());
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-R", "--no-sync"]);
        copy.args(["--checkpoint=fast", "-p", &primary.port.to_string(), "-D"]);
        run(copy.arg(directory.path().join("data")));
        Self::start(directory, false).await
    }

    async fn start(directory: TempDir, is_primary: bool) -> Self {
        let port = free_port();
        let mut command = postgres("postgres", directory.path());
        command.arg("-D").arg(directory.path().join("data"));
        command.args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        ] {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let is_primary = Arc::new(AtomicBool::new(is_primary));
        Self {
            _process: Process::start(&mut command, port).await,
            directory,
            port,
            health: health(is_primary.clone()).await,
            is_primary,
        }
    }

    /// One of its databases, directly.
    fn database(&self, name: &str, any: &TestDatabase) -> TestDatabase {
        database(self.port, name, any)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

fn database(port: u16, name: &str, any: &TestDatabase) -> TestDatabase {
    let mut database = TestDatabase::same_as(any);
    database.url = format!("postgresql://postgres@127.0.0.1:{port}/{name}");
    database
}

/// Patroni's REST API, as far as `HAProxy` asks it.
async fn health(is_primary: Arc<AtomicBool>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async move || {
        if is_primary.load(Ordering::SeqCst) {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let router = axum::Router::new().route("/primary", axum::routing::options(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// One of PostgreSQL's programs, as a user other than root, whom it refuses.
pub fn postgres(program: &str, directory: &Path) -> Command {
    let mut programs: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL is installed by 'cargo xtask test'")
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    programs.sort();
    let mut command = Command::new(programs.pop().unwrap().join(program));
    command.current_dir("/").stdin(Stdio::null());
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0 {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let user = ["postgres:", "nobody:"]
            .iter()
            .find_map(|name| passwd.lines().find(|line| line.starts_with(name)))
            .unwrap();
        let mut ids = user.split(':').skip(2).map(|id| id.parse().unwrap());
        let (uid, gid) = (ids.next().unwrap(), ids.next().unwrap());
        std::os::unix::fs::chown(directory, Some(uid), Some(gid)).unwrap();
        command.uid(uid).gid(gid);
    }
    command
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// `HAProxy` before both servers, with the settings of docs/operations.md.
async fn haproxy(servers: [&Server; 2]) -> (Process, TempDir, u16) {
    let operations = crate::gates::shipped::file("docs/operations.md");
    let operations = std::fs::read_to_string(operations).unwrap();
    for setting in [CHECK, SERVERS] {
        assert!(operations.contains(setting), "{setting}");
    }
    let port = free_port();
    let mut config = format!(
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 30m\n timeout server 30m\n\
         listen postgresql\n bind 127.0.0.1:{port}\n {CHECK}\n http-check expect status 200\n \
         default-server {SERVERS}\n"
    );
    for (name, server) in ["a", "b"].iter().zip(servers) {
        config.push_str(&format!(
            " server {name} 127.0.0.1:{} check port {}\n",
            server.port,
            server.health.port()
        ));
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file).stderr(log);
    (Process::start(&mut command, port).await, directory, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_programs_write_to_the_new_primary_in_time() {
    let any = TestDatabase::new(Engine::Sqlite).await;
    let old = Server::primary().await;
    let maintenance = old.database("postgres", &any);
    maintenance.execute("CREATE DATABASE client").await;
    maintenance.execute("CREATE DATABASE server").await;
    let new = Server::standby(&old).await;
    // As in Patroni's synchronous mode: what is acknowledged is on both.
    let synchronous = "ALTER SYSTEM SET synchronous_standby_names = '*'";
    maintenance.execute(synchronous).await;
    maintenance.execute("SELECT pg_reload_conf()").await;
    let (_haproxy, _directory, port) = haproxy([&old, &new]).await;
    // HAProxy takes both for primaries until its checks have failed two times.
    let through = database(port, "postgres", &any);
    let mut primaries = 0;
    while primaries < 4 {
        // It closes the connections of a server that fails.
        let recovers = through.try_texts("SELECT pg_is_in_recovery()::text").await;
        let is_primary = recovers.is_ok_and(|it| it == [Some("false".to_owned())]);
        primaries = if is_primary { primaries + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let vendor = Vendor::start_on(&database(port, "server", &any)).await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start_on(database(port, "client", &any), &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    assert_eq!(site.activate(&key).await.0, 200);

    // The old primary keeps running, but is no longer a primary.
    let start = Instant::now();
    old.is_primary.store(false, Ordering::SeqCst);
    let promoted = new.database("postgres", &any);
    let promotion = promoted.texts("SELECT pg_promote()::text").await;
    assert_eq!(promotion, [Some("true".to_owned())], "{}", new.log());
    new.is_primary.store(true, Ordering::SeqCst);

    // Decisions never wait for it.
    assert!(site.is_available("module.map_view").await);
    let switch = "/api/license/features/module.map_view";
    let off = json!({"systemEnabled": false});
    let on_new = async |name: &str, sql: &str| new.database(name, &any).texts(sql).await.len();
    let switched = "SELECT feature_key FROM local_feature_flags \
         WHERE feature_key = 'module.map_view' AND NOT system_enabled";
    loop {
        let (status, _) = site.put(switch, off.clone()).await;
        if status == StatusCode::OK && on_new("client", switched).await > 0 {
            break;
        }
        assert!(start.elapsed() < DOCUMENTED, "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let client = start.elapsed();
    loop {
        let issued = vendor.try_issue_professional().await;
        if issued.is_ok() && on_new("server", "SELECT id::text FROM licenses").await == 2 {
            break;
        }
        assert!(start.elapsed() < DOCUMENTED, "{:?}", issued.err());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("client after {client:?}, both after {:?}", start.elapsed());
    site.until("it is ready", async || site.get("/readyz").await.0 == 200)
        .await;
    assert_eq!(site.validate().await["valid"], true);
    site.end().await;
}
