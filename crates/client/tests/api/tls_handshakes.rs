//! Servers whose TLS settings this program cannot use, made by the real `openssl`, and what the
//! doctor says about them: License Servers, and PostgreSQL.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::PROGRAM;
use crate::gates::process::free_port;
use crate::nginx::openssl;

/// `openssl s_server`, which ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts it with the key and the certificate in `directory`.
    fn start(directory: &Path, arguments: &str) -> Self {
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-key", "key.pem"])
            .args(["-cert", "certificate.pem", "-accept"])
            .arg(port.to_string())
            .args(arguments.split_whitespace())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("openssl s_server {arguments} did not start");
    }

    /// A port that does TLS as PostgreSQL does: after a question of eight bytes. For as long as the
    /// tests run.
    fn behind_postgres(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = self.port;
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut outer = connection.unwrap();
                outer.read_exact(&mut [0; 8]).unwrap();
                outer.write_all(b"S").unwrap();
                let inner = TcpStream::connect(("127.0.0.1", inner)).unwrap();
                pass_on(outer.try_clone().unwrap(), inner.try_clone().unwrap());
                pass_on(inner, outer);
            }
        });
        port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // Either end may be gone.
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
}

/// A directory with a certificate of this kind of key.
fn made(key: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let arguments = format!(
        "req -x509 -newkey {key} -nodes -days 30 -keyout key.pem -out certificate.pem \
         -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    );
    openssl(directory.path(), &arguments);
    directory
}

/// A certificate of version 1.
fn version_1() -> TempDir {
    let directory = made("rsa:2048");
    openssl(
        directory.path(),
        "req -new -key key.pem -subj /CN=127.0.0.1 -out request.pem",
    );
    openssl(
        directory.path(),
        "x509 -req -in request.pem -signkey key.pem -days 30 -out certificate.pem",
    );
    directory
}

/// What the doctor finds.
fn finding(what: &str, environment: &[(&str, String)]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["doctor", "--json", "--port", "1"])
        .env("LICENSE_API_URL", "http://127.0.0.1:1")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = findings.as_array().unwrap().iter();
    findings.find(|it| it["what"] == what).unwrap().clone()
}

#[test]
fn a_license_server_that_offers_other_tls_is_told_what_to_offer() {
    let rsa = made("rsa:2048");
    for arguments in [
        "-tls1_2 -cipher AES128-SHA",
        "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256",
        "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256",
        "-tls1_1 -cipher ALL:@SECLEVEL=0",
        "-tls1_3 -Verify 1",
        "-tls1_2 -Verify 1",
    ] {
        let server = Server::start(rsa.path(), arguments);
        let ca = rsa.path().join("certificate.pem").display().to_string();
        let url = format!("https://127.0.0.1:{}/api", server.port);
        let finding = finding(
            "License Server",
            &[("LICENSE_API_URL", url), ("LICENSE_CA_FILE", ca)],
        );
        let found = finding["found"].as_str().unwrap();
        let expected = "the server must offer TLS 1.3, or TLS 1.2 with ECDHE and AES-GCM or \
                        ChaCha20-Poly1305, and require no client certificate";
        assert!(found.contains(expected), "{arguments}: {finding:#}");
        let advice = finding["advice"].as_str().unwrap();
        assert!(
            advice.contains("TLS settings of the License Server"),
            "{finding:#}"
        );
        assert!(!advice.contains("network"), "{finding:#}");
    }
}

/// What the doctor finds of a database behind this server.
fn database(port: u16, parameters: &str) -> String {
    let url = format!("postgresql://user@127.0.0.1:{port}/name?{parameters}");
    let finding = finding("database", &[("DATABASE_URL", url)]);
    assert_eq!(finding["health"], "error", "{finding:#}");
    finding["found"].as_str().unwrap().to_owned()
}

#[test]
fn a_postgresql_certificate_is_explained_in_every_mode() {
    let old = version_1();
    let server = Server::start(old.path(), "");
    let port = server.behind_postgres();
    for mode in [
        "",
        "sslmode=prefer",
        "sslmode=require",
        "sslmode=verify-full",
    ] {
        let found = database(port, mode);
        let expected = "the server's certificate, or one sent with it, uses X.509 version 1; \
                        create a version 3 certificate: openssl req -x509";
        assert!(found.contains(expected), "{mode}: {found}");
    }
    let new = made("rsa:2048");
    let server = Server::start(new.path(), "");
    let found = database(server.behind_postgres(), "sslmode=verify-full");
    assert!(
        found.contains("is a CA certificate (CA:TRUE") && found.contains("CA:FALSE"),
        "{found}"
    );
    let weak = Server::start(new.path(), "-tls1_2 -cipher AES128-SHA");
    let found = database(weak.behind_postgres(), "");
    assert!(
        found.contains("the server must offer TLS 1.3, or TLS 1.2 with"),
        "{found}"
    );
}

#[test]
fn a_file_of_the_database_url_is_named_with_what_is_wrong() {
    let new = made("rsa:2048");
    let old = version_1();
    let server = Server::start(new.path(), "");
    let port = server.behind_postgres();
    let directory = new.path();
    for arguments in [
        "pkcs8 -topk8 -in key.pem -passout pass:x -out encrypted.pem",
        "rsa -in key.pem -aes256 -traditional -passout pass:x -out traditional.pem",
        "pkey -in key.pem -outform der -out key.der",
    ] {
        openssl(directory, arguments);
    }
    fs::write(directory.join("text.pem"), "hello").unwrap();
    let file = |name: &str| directory.join(name);
    let certificate = || file("certificate.pem");
    let other: PathBuf = old.path().join("key.pem");
    let decrypt = "is an encrypted private key; decrypt it: openssl pkey -in FILE -out client.key";
    for (certificate, key, expected) in [
        (certificate(), file("encrypted.pem"), decrypt),
        (certificate(), file("traditional.pem"), decrypt),
        (
            certificate(),
            file("key.der"),
            "convert it: openssl pkey -in FILE",
        ),
        (certificate(), certificate(), "sslkey '"),
        (
            certificate(),
            certificate(),
            "is a certificate; set sslkey to the private key",
        ),
        (certificate(), file("text.pem"), "is not a PEM private key"),
        (
            certificate(),
            file("missing.pem"),
            "missing.pem' cannot be read: No such file",
        ),
        (certificate(), other.clone(), "do not match"),
        (
            file("text.pem"),
            file("key.pem"),
            "text.pem' contains no PEM certificate",
        ),
        (
            old.path().join("certificate.pem"),
            other,
            "certificate.pem' uses X.509 version 1",
        ),
    ] {
        let parameters = format!("sslcert={}&sslkey={}", certificate.display(), key.display());
        let found = database(port, &parameters);
        assert!(found.contains(expected), "{parameters}: {found}");
        assert!(!found.contains("peer"), "{found}");
    }
}
