//! Addresses of the service in commands: https with an authority of the site, and redirects.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use crate::PROGRAM;
use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::nginx::{Nginx, self_signed};
use crate::scripted_cloud::ScriptedCloud;

/// What a command prints, with these variables.
async fn said(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null());
    command.envs(environment.iter().copied());
    let directory = tempfile::tempdir().unwrap();
    command.current_dir(directory.path());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = running.await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    (output.status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_trust_the_listed_certificates() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let arguments = "-newkey rsa:2048 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    self_signed(directory.path(), arguments);
    let listed = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(directory.path().join("certificate.pem"), listed.path()).unwrap();
    let listed = listed.path().display().to_string();
    let nginx = Nginx::with_certificate(&site.url, directory).await;
    let url = nginx.url.replace("127.0.0.1", "localhost");
    let address = ("LICENSE_CLIENT_URL", &*url);
    let (_, text) = said(&["status"], &[address]).await;
    assert!(text.contains("cannot establish a TLS connection"), "{text}");
    assert!(
        text.contains("to LICENSE_CA_FILE: openssl s_client"),
        "{text}"
    );
    assert!(!text.contains("start it with"), "{text}");
    let trusted = [address, ("LICENSE_CA_FILE", &*listed)];
    let (_, text) = said(&["status"], &trusted).await;
    assert!(
        !text.contains("TLS") && !text.contains("no License Client"),
        "{text}"
    );
    let (is_done, text) = said(&["activate", KEY], &trusted).await;
    assert!(is_done, "{text}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_reported_and_not_followed() {
    for (code, location, said_of_it) in [
        (
            "301 Moved Permanently",
            "https://vms.example/api/license/status",
            "redirects to https://vms.example; use that",
        ),
        (
            "308 Permanent Redirect",
            "https://u:pa55@vms.example/",
            "redirects to https://",
        ),
        ("302 Found", "/elsewhere", "that cannot be shown"),
        (
            "307 Temporary Redirect",
            "ftp://vms.example/",
            "that cannot be shown",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                drop(connection.read(&mut [0; 4096]));
                let head = format!("HTTP/1.1 {code}\r\nLocation: {location}\r\n");
                let rest = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                drop(connection.write_all(format!("{head}{rest}").as_bytes()));
            }
        });
        let environment = [("LICENSE_CLIENT_URL", &*url)];
        for arguments in [&["status"][..], &["validate"], &["activate", KEY]] {
            let (is_done, text) = said(arguments, &environment).await;
            assert!(
                !is_done && text.contains("redirects to"),
                "{arguments:?}: {text}"
            );
            assert!(!text.contains("pa55"), "{text}");
        }
        let (_, text) = said(&["status"], &environment).await;
        assert!(text.contains(said_of_it), "{text}");
    }
}
