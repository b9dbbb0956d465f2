//! A real pgBouncer before the tests' PostgreSQL.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::database::TestDatabase;
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
        let server = reqwest::Url::parse(&database.url).unwrap();
        let (port, name) = (free_port(), server.path().trim_start_matches('/'));
        let settings = format!(
            "[databases]\n{name} = host=127.0.0.1 port={} dbname={name} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {pool_mode}\nlogfile = /dev/null\n",
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
