//! The certificate of a real PostgreSQL server, made by the real `openssl`: what this program and
//! `psql` make of it, and that its advice works.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use license_service::database::{Database, Timeouts};
use tempfile::TempDir;

use crate::failover::{postgres, run};
use crate::gates::process::{Process, free_port};
use crate::nginx::{openssl, self_signed};

struct Server {
    _process: Process,
    directory: TempDir,
    port: u16,
}

impl Server {
    /// A server with the certificate and the key in a directory.
    async fn start(of: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let mut initdb = postgres("initdb", directory.path());
        initdb.args(["--auth=trust", "--username=postgres", "--encoding=UTF8"]);
        run(initdb
            .args(["--locale=C", "--no-sync", "--pgdata"])
            .arg(&data));
        let port = free_port();
        let mut command = postgres("postgres", directory.path());
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "ssl=on",
        ] {
            command.args(["-c", setting]);
        }
        give(of, &data);
        let log = fs::File::create(directory.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self {
            _process: Process::start(&mut command, port).await,
            directory,
            port,
        }
    }

    /// The same server with another certificate.
    async fn uses(&self, of: &Path) {
        let data = self.directory.path().join("data");
        give(of, &data);
        let mut reload = postgres("pg_ctl", self.directory.path());
        run(reload.arg("reload").arg("-D").arg(&data));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// The same server, which admits connections only by these lines of `pg_hba.conf`.
    async fn admits(&self, lines: &str) {
        let data = self.directory.path().join("data");
        fs::write(data.join("pg_hba.conf"), lines).unwrap();
        let mut reload = postgres("pg_ctl", self.directory.path());
        run(reload.arg("reload").arg("-D").arg(&data));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    fn url(&self, parameters: &str) -> String {
        let port = self.port;
        format!("postgresql://postgres@localhost:{port}/postgres?{parameters}")
    }

    /// Why this program does not connect.
    async fn refusal(&self, parameters: &str) -> Option<String> {
        let url = self.url(parameters).parse().unwrap();
        match Database::connect(&url, Timeouts::default()).await {
            Ok(database) => {
                database.close().await;
                None
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Whether `psql` connects.
    fn psql(&self, parameters: &str) -> bool {
        let psql = Command::new("psql")
            .args(["-c", "SELECT 1", &self.url(parameters)])
            .env("HOME", self.directory.path())
            .stdin(Stdio::null())
            .output();
        psql.unwrap().status.success()
    }
}

/// Gives a certificate and its key to a server.
fn give(of: &Path, data: &Path) {
    let owner = fs::metadata(data).unwrap();
    for (from, to) in [("certificate.pem", "server.crt"), ("key.pem", "server.key")] {
        let to = data.join(to);
        fs::copy(of.join(from), &to).unwrap();
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
    }
}

fn verify_full(directory: &Path, file: &str) -> String {
    let file = directory.join(file).display().to_string();
    format!("sslmode=verify-full&sslrootcert={file}")
}

/// A server certificate that an intermediate authority has signed.
fn signed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("ca.ext"),
        "basicConstraints=critical,CA:TRUE\n",
    )
    .unwrap();
    fs::write(
        directory.path().join("server.ext"),
        "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n",
    )
    .unwrap();
    let make = "req -newkey rsa:2048 -nodes -subj";
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=root -keyout rk.pem -out root.pem",
        &format!("{make} /CN=middle -keyout mk.pem -out middle.csr"),
        "x509 -req -in middle.csr -CA root.pem -CAkey rk.pem -CAcreateserial -days 9 \
         -extfile ca.ext -out middle.pem",
        &format!("{make} /CN=localhost -keyout key.pem -out server.csr"),
        "x509 -req -in server.csr -CA middle.pem -CAkey mk.pem -CAcreateserial -days 9 \
         -extfile server.ext -out certificate.pem",
    ] {
        openssl(directory.path(), arguments);
    }
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_psql_accepts_is_replaced_by_following_the_advice() {
    let made = tempfile::tempdir().unwrap();
    // As PostgreSQL's manual makes it (section 19.9.5).
    self_signed(made.path(), "-newkey rsa:2048 -subj /CN=localhost");
    let server = Server::start(made.path()).await;
    for (arguments, why) in [
        ("", "is a CA certificate (CA:TRUE"),
        (
            "-addext subjectAltName=DNS:localhost",
            "is a CA certificate (CA:TRUE",
        ),
        (
            "-addext basicConstraints=critical,CA:FALSE",
            "it names no host as subjectAltName",
        ),
    ] {
        let made = tempfile::tempdir().unwrap();
        let arguments = format!("-newkey rsa:2048 -subj /CN=localhost {arguments}");
        self_signed(made.path(), &arguments);
        server.uses(made.path()).await;
        let listed = verify_full(made.path(), "certificate.pem");
        assert!(server.psql(&listed), "{arguments}");
        let said = server.refusal(&listed).await.unwrap();
        assert!(said.contains(why), "{arguments}: {said}");
        assert!(!said.contains("not listed"), "{arguments}: {said}");

        // The command at the end of the message makes one that both accept.
        let (_, command) = said.split_once(": openssl ").unwrap();
        let followed = tempfile::tempdir().unwrap();
        openssl(followed.path(), command);
        server.uses(followed.path()).await;
        let listed = verify_full(followed.path(), "certificate.pem");
        assert!(server.psql(&listed), "{command}");
        assert_eq!(server.refusal(&listed).await, None, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_are_verified_as_by_psql() {
    let made = signed();
    let server = Server::start(made.path()).await;
    let file = |name: &str| made.path().join(name).display().to_string();
    let (root, middle) = (file("root.pem"), file("middle.pem"));

    // The server sends only its own certificate.
    let said = server.refusal(&verify_full(made.path(), "root.pem")).await;
    let said = said.unwrap();
    assert!(said.contains("append that authority's certificate to ssl_cert_file"));
    assert!(said.contains("root.pem'"), "{said}");
    assert!(!server.psql(&verify_full(made.path(), "root.pem")));

    // Following that helps.
    let [leaf, above] = ["certificate.pem", "middle.pem"].map(|name| fs::read(file(name)).unwrap());
    fs::write(file("certificate.pem"), [leaf, above].concat()).unwrap();
    server.uses(made.path()).await;
    let other = tempfile::tempdir().unwrap();
    self_signed(other.path(), "-newkey rsa:2048 -subj /CN=other");
    let other = other.path().join("certificate.pem").display().to_string();
    for (parameters, connects) in [
        (format!("sslmode=verify-full&sslrootcert={root}"), true),
        (format!("sslmode=verify-ca&sslrootcert={root}"), true),
        (format!("sslmode=require&sslrootcert={root}"), true),
        (format!("sslmode=require&sslrootcert={other}"), false),
        (format!("sslmode=verify-ca&sslrootcert={other}"), false),
        (format!("sslmode=prefer&sslrootcert={other}"), true),
        ("sslmode=require".to_owned(), true),
    ] {
        let refusal = server.refusal(&parameters).await;
        assert_eq!(refusal.is_none(), connects, "{parameters}: {refusal:?}");
        assert_eq!(server.psql(&parameters), connects, "{parameters}");
    }
    // An intermediate authority alone is enough here, and not for psql.
    let alone = format!("sslmode=verify-full&sslrootcert={middle}");
    assert_eq!(server.refusal(&alone).await, None);
    assert!(!server.psql(&alone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_advice_helps_where_only_one_way_to_connect_is_admitted() {
    let made = signed();
    let server = Server::start(made.path()).await;
    for (kind, refused, advised) in [
        ("hostnossl", "sslmode=prefer", "sslmode=disable"),
        ("hostnossl", "sslmode=require", "sslmode=disable"),
        ("hostssl", "sslmode=allow", "sslmode=require"),
        ("hostssl", "sslmode=disable", "sslmode=require"),
    ] {
        server.admits(&format!("{kind} all all all trust\n")).await;
        let said = server.refusal(refused).await.unwrap();
        assert!(said.contains(advised), "{kind} {refused}: {said}");
        assert_eq!(server.refusal(advised).await, None, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_certificates_is_named_with_what_is_wrong_with_it() {
    let made = tempfile::tempdir().unwrap();
    self_signed(
        made.path(),
        "-newkey rsa:2048 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
         -addext basicConstraints=critical,CA:FALSE",
    );
    let server = Server::start(made.path()).await;
    let file = |name: &str| made.path().join(name);
    let pem = fs::read(file("certificate.pem")).unwrap();
    openssl(
        made.path(),
        "x509 -in certificate.pem -outform der -out der",
    );
    let utf_16 = pem.iter().flat_map(|byte| [*byte, 0]);
    let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(utf_16).collect();
    fs::write(file("mark"), [b"\xef\xbb\xbf", &pem[..]].concat()).unwrap();
    fs::write(file("utf-16"), utf_16).unwrap();
    fs::write(file("empty"), "").unwrap();
    for (name, why) in [
        (
            "mark",
            "begins with a byte order mark; remove it: tail -c +4 FILE",
        ),
        ("utf-16", "is in UTF-16"),
        ("der", "is in DER"),
        ("empty", "is empty"),
        ("key.pem", "contains a private key and no certificate"),
    ] {
        for mode in ["verify-full", "verify-ca"] {
            let path = file(name).display().to_string();
            let said = server
                .refusal(&format!("sslmode={mode}&sslrootcert={path}"))
                .await;
            let said = said.unwrap();
            assert!(said.contains(&format!("/{name}' ")), "{mode}: {said}");
            assert!(said.contains(why), "{mode} {name}: {said}");
        }
    }
    // Following the advice helps.
    fs::write(file("followed"), &fs::read(file("mark")).unwrap()[3..]).unwrap();
    assert_eq!(
        server.refusal(&verify_full(made.path(), "followed")).await,
        None
    );
}
