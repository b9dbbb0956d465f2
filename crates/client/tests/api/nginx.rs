//! A real nginx.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use tempfile::TempDir;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx");

/// A running nginx on a port of its own.
pub struct Nginx {
    child: Child,
    pub url: String,
    directory: TempDir,
}

impl Nginx {
    /// The VMS's gateway with our rules, before `license_client`.
    pub async fn gateway(license_client: &str) -> Self {
        let server = format!("include {SHIPPED}/api.conf;");
        let directory = tempfile::tempdir().unwrap();
        Self::start(directory, "http", &upstream(license_client), &server).await
    }

    /// A gateway that asks `license_client` before it lets pass: by feature below
    /// `/feature/`, by path below `/api/`.
    pub async fn gate(license_client: &str) -> Self {
        let server = format!(
            "include {SHIPPED}/gate.conf; \
             location ~ ^/feature/(?<key>.+)$ {{ set $license_feature $key; auth_request /_license; \
             error_page 403 = @unlicensed; root /; try_files /nowhere @behind; }} \
             location /api/ {{ auth_request /_license_by_path; root /; try_files /nowhere @behind; }} \
             location @behind {{ return 200 'behind the gate'; }}"
        );
        let directory = tempfile::tempdir().unwrap();
        Self::start(directory, "http", &upstream(license_client), &server).await
    }

    /// A proxy that speaks TLS before a License Server, with a certificate of
    /// its own that is good for a year from now.
    pub async fn with_tls(license_server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "365",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
            ])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(directory.path())
            .output()
            .expect("openssl is installed by 'cargo xtask test'");
        assert!(made.status.success(), "{made:?}");
        let root = directory.path().display();
        let server = format!(
            "ssl_certificate {root}/certificate.pem; ssl_certificate_key {root}/key.pem; \
             location / {{ proxy_pass {}; }}",
            license_server.trim_end_matches("/api")
        );
        Self::start(directory, "https", "", &server).await
    }

    /// The file with the certificate of [`Nginx::with_tls`].
    pub fn certificate(&self) -> String {
        let file = self.directory.path().join("certificate.pem");
        file.display().to_string()
    }

    async fn start(directory: TempDir, scheme: &str, http: &str, server: &str) -> Self {
        let root = directory.path();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", root.display()))
            .collect();
        let ssl = if scheme == "https" { " ssl" } else { "" };
        let config = format!(
            "daemon off;\npid {root}/pid;\nerror_log stderr warn;\nevents {{}}\n\
             http {{\naccess_log off;\n{scratch}{http}\n\
             server {{ listen 127.0.0.1:{port}{ssl}; {server} }}\n}}\n",
            root = root.display(),
        );
        let file = root.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(root)
            .spawn()
            .expect("nginx is installed by 'cargo xtask test'");
        let nginx = Self {
            child,
            url: format!("{scheme}://127.0.0.1:{port}"),
            directory,
        };
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                return nginx;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nginx did not start");
    }
}

/// What we ship, for another address.
fn upstream(license_client: &str) -> String {
    let upstream = std::fs::read_to_string(Path::new(SHIPPED).join("upstream.conf")).unwrap();
    let address = license_client.strip_prefix("http://").unwrap();
    upstream.replace("license-client:8010", address)
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM lets nginx end its workers, which SIGKILL would leave behind.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}
