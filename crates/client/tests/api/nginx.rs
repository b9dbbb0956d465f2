//! A real nginx.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::gates::process::{Process, free_port};

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx");

/// A running nginx on its own port.
pub struct Nginx {
    process: Process,
    pub url: String,
    directory: TempDir,
}

impl Nginx {
    /// The VMS's gateway with our rules, before `license_client`.
    pub async fn gateway(license_client: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = "include api.conf;";
        Self::start(directory, "http", &upstream(license_client), server).await
    }

    /// A gateway that asks `license_client` before it lets pass, with our rules
    /// and these locations.
    pub async fn gate(license_client: &str, locations: &str) -> Self {
        Self::gate_of_site(license_client, "", "", locations).await
    }

    /// The same with directives of a site's http block, and of its server block before our rules.
    /// DIRECTORY is replaced by nginx's own directory, in which the file `passwords` is that of the
    /// user `operator` with the password `password`.
    pub async fn gate_of_site(
        license_client: &str,
        http: &str,
        before: &str,
        locations: &str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let passwords = directory.path().join("passwords");
        std::fs::write(passwords, "operator:{PLAIN}password\n").unwrap();
        let root = directory.path().display().to_string();
        let server = format!("{before}\ninclude gate.conf;\n{locations}");
        let http = format!("{http}\n{}", upstream(license_client));
        let [http, server] = [http, server].map(|it| it.replace("DIRECTORY", &root));
        Self::start(directory, "http", &http, &server).await
    }

    /// The VMS's gateway with all our rules, of an operator whose http block caches every response,
    /// regardless of what the response says about it.
    pub async fn caching(license_client: &str, locations: &str) -> Self {
        let server = format!("include gate.conf; include api.conf; {locations}");
        let directory = tempfile::tempdir().unwrap();
        let http = format!(
            "proxy_cache_path {}/cache keys_zone=vms:1m; proxy_cache vms; \
             proxy_cache_valid any 10m; proxy_ignore_headers Cache-Control X-Accel-Expires;\n{}",
            directory.path().display(),
            upstream(license_client)
        );
        Self::start(directory, "http", &http, &server).await
    }

    /// The same before a License Client with a name, which `nameserver` knows.
    pub async fn gate_by_name(nameserver: SocketAddr, port: u16, locations: &str) -> Self {
        let server = format!("include gate.conf; {locations}");
        let directory = tempfile::tempdir().unwrap();
        let upstream = shipped("upstream.conf")
            .replace("license-client:8010", &format!("license-client:{port}"))
            .replace("127.0.0.11", &nameserver.to_string());
        Self::start(directory, "http", &upstream, &server).await
    }

    /// The consoles of both services behind TLS, as shipped, at `vms.example` and
    /// `licenses.example`.
    pub async fn consoles(license_client: &str, license_server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = "-newkey ed25519 -subj /CN=localhost \
             -addext subjectAltName=DNS:vms.example,DNS:licenses.example \
             -addext basicConstraints=critical,CA:FALSE";
        self_signed(directory.path(), arguments);
        let root = directory.path().display().to_string();
        let port = free_port();
        let license_server = license_server.strip_prefix("http://").unwrap();
        let server = shipped("server-console.conf").replace("license-server:4000", license_server);
        let client = shipped("client-console.conf");
        let http = format!("{}{client}{server}", upstream(license_client))
            .replace("listen 8443 ssl", &format!("listen 127.0.0.1:{port} ssl"))
            .replace("/etc/nginx/tls", &root);
        Self::run(directory, "https", port, &http).await
    }

    /// The License Server's console as shipped, without TLS, for a caller that is not in the
    /// vendor's own network.
    pub async fn server_console_from_outside(license_server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        self_signed(directory.path(), "-newkey ed25519 -subj /CN=localhost");
        let root = directory.path().display().to_string();
        let port = free_port();
        let license_server = license_server.strip_prefix("http://").unwrap();
        let http = shipped("server-console.conf")
            .replace("license-server:4000", license_server)
            .replace("listen 8443 ssl", &format!("listen 127.0.0.1:{port}"))
            .replace("/etc/nginx/tls", &root)
            .replace("allow 127.0.0.0/8;", "");
        Self::run(directory, "http", port, &http).await
    }

    /// A proxy that speaks TLS before a License Server, with a certificate of
    /// its own that is good for a year from now.
    pub async fn with_tls(license_server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = "-newkey ed25519 -subj /CN=localhost \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        self_signed(directory.path(), arguments);
        Self::with_certificate(license_server, directory).await
    }

    /// The same with `certificate.pem` and `key.pem` of this directory.
    pub async fn with_certificate(license_server: &str, directory: TempDir) -> Self {
        let root = directory.path().display();
        let server = format!(
            "ssl_certificate {root}/certificate.pem; ssl_certificate_key {root}/key.pem; \
             location / {{ proxy_buffering off; proxy_pass {}; }}",
            license_server.trim_end_matches("/api")
        );
        Self::start(directory, "https", "", &server).await
    }

    /// The program, and the directory that it needs.
    pub fn into_process(self) -> (Process, TempDir) {
        (self.process, self.directory)
    }

    /// The file with the certificate of [`Nginx::with_tls`].
    pub fn certificate(&self) -> String {
        let file = self.directory.path().join("certificate.pem");
        file.display().to_string()
    }

    /// A proxy before `license_server` that compresses every response that may be compressed.
    pub async fn compressing(license_server: &str) -> Self {
        let server = format!(
            "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; gzip_http_version 1.0; \
             location / {{ proxy_pass {}; }}",
            license_server.trim_end_matches("/api")
        );
        Self::start(tempfile::tempdir().unwrap(), "http", "", &server).await
    }

    async fn start(directory: TempDir, scheme: &str, http: &str, server: &str) -> Self {
        let port = free_port();
        let ssl = if scheme == "https" { " ssl" } else { "" };
        let http = format!("{http}\nserver {{ listen 127.0.0.1:{port}{ssl}; {server} }}\n");
        Self::run(directory, scheme, port, &http).await
    }

    async fn run(directory: TempDir, scheme: &str, port: u16, http: &str) -> Self {
        let root = directory.path();
        for entry in std::fs::read_dir(SHIPPED).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, root.join(from.file_name().unwrap())).unwrap();
        }
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", root.display()))
            .collect();
        // Other users cannot read the directory of the test.
        let user = match std::fs::metadata(root).unwrap().uid() {
            0 => "user root;\n",
            _ => "",
        };
        let config = format!(
            "daemon off;\n{user}pid {root}/pid;\nerror_log stderr warn;\nevents {{}}\n\
             http {{\naccess_log off;\n{scratch}{http}\n}}\n",
            root = root.display(),
        );
        let file = root.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&file).arg("-p").arg(root);
        let process = Process::start(&mut command, port).await;
        Self {
            process,
            url: format!("{scheme}://127.0.0.1:{port}"),
            directory,
        }
    }
}

/// Makes `certificate.pem` and `key.pem` with `openssl req -x509` and these arguments.
pub fn self_signed(directory: &Path, arguments: &str) {
    let fixed = "req -x509 -nodes -days 365 -keyout key.pem -out certificate.pem";
    openssl(directory, &format!("{fixed} {arguments}"));
}

/// Runs the real `openssl` in a directory.
pub fn openssl(directory: &Path, arguments: &str) {
    let made = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl is installed by 'cargo xtask test'");
    assert!(made.status.success(), "openssl {arguments}: {made:?}");
}

/// What we ship, for another address.
fn upstream(license_client: &str) -> String {
    let address = license_client.strip_prefix("http://").unwrap();
    shipped("upstream.conf").replace("license-client:8010", address)
}

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(SHIPPED).join(name)).unwrap()
}
