//! A real pgBouncer before the tests' PostgreSQL.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use license_service::database::{ConnectError, Database, Failure, Timeouts};
use license_service::database_url::DatabaseUrl;
use tempfile::TempDir;

use crate::database::{Engine, TestDatabase};
use crate::gates::process::{Process, free_port};

/// A pooler before one database; it ends with this value.
pub struct PgBouncer {
    _process: Process,
    _directory: TempDir,
    /// The database through it.
    pub url: String,
}

impl PgBouncer {
    /// Starts it with a `pool_mode`.
    pub async fn before(database: &TestDatabase, pool_mode: &str) -> Self {
        Self::start(database, pool_mode, "auth_type = any").await
    }

    async fn start(database: &TestDatabase, pool_mode: &str, login: &str) -> Self {
        let server = reqwest::Url::parse(&database.url).unwrap();
        let (port, name) = (free_port(), server.path().trim_start_matches('/'));
        let settings = format!(
            "[databases]\n{name} = host=127.0.0.1 port={} dbname={name} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             {login}\npool_mode = {pool_mode}\nlogfile = /dev/null\n",
            server.port().unwrap()
        );
        let directory = tempfile::tempdir().unwrap();
        // It refuses to run as root.
        let anyone = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.path(), anyone(0o755)).unwrap();
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        std::fs::set_permissions(&file, anyone(0o644)).unwrap();
        let mut command = Command::new("pgbouncer");
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.args(["--user", "nobody"]);
        }
        command
            .args(["--quiet"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            _process: Process::start(&mut command, port).await,
            _directory: directory,
            url: format!("postgresql://postgres@127.0.0.1:{port}/{name}"),
        }
    }
}

/// The failure to connect to a database, and whether a starting server would wait for it.
async fn failure(url: &str) -> (Failure, bool) {
    let url: DatabaseUrl = url.parse().unwrap();
    let error = Database::connect(&url, Timeouts::default()).await;
    let error = error.err().unwrap();
    let is_away = matches!(error, ConnectError::NotReached(_));
    (error.trouble().failure, is_away)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_a_pooler_refuses_is_no_lost_connection() {
    let direct = TestDatabase::new(Engine::Postgres).await;
    let users = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(users.path(), "\"known\" \"secret\"\n").unwrap();
    let anyone = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(users.path(), anyone).unwrap();
    let login = format!("auth_type = plain\nauth_file = {}", users.path().display());
    let pooler = PgBouncer::start(&direct, "session", &login).await;
    let url = reqwest::Url::parse(&pooler.url).unwrap();
    let at = format!("127.0.0.1:{}", url.port().unwrap());
    let name = url.path();
    for (user, name, expected) in [
        ("known:wrong", name, Failure::Login),
        ("unknown:secret", name, Failure::Login),
        ("known:secret", "/other", Failure::NoDatabase),
    ] {
        let found = failure(&format!("postgresql://{user}@{at}{name}")).await;
        assert_eq!(found, (expected, false), "{user} {name}");
    }
    drop(pooler);
    let away = failure(&format!("postgresql://known:secret@{at}{name}")).await;
    assert_eq!(away, (Failure::Connection(false), true));
    direct.drop_database().await;
}
