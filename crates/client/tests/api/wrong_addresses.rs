//! Addresses of License Servers at which something else answers, or in another protocol.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::PROGRAM;

/// Answers every connection with these bytes, for as long as the tests run.
fn answering(bytes: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            // The request does not matter, and the caller may be gone.
            drop(connection.read(&mut [0; 4096]));
            drop(connection.write_all(&bytes));
        }
    });
    port
}

fn http(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What the doctor says of the License Server at this address.
fn finding(url: &str, environment: &[(&str, &str)]) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["doctor", "--json", "--port", "1"])
        .env("LICENSE_API_URL", url)
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut findings = findings.as_array().unwrap().iter();
    let found = findings.find(|it| it["what"] == "License Server");
    found.unwrap().clone()
}

fn assert_says(finding: &Value, health: &str, found: &str, advice: &str) {
    let says = |field: &str, text: &str| finding[field].as_str().unwrap().contains(text);
    let is_right = finding["health"] == health && says("found", found) && says("advice", advice);
    assert!(
        is_right,
        "{finding:#}; expected {health}: {found}; {advice}"
    );
}

#[test]
fn the_doctor_warns_of_an_address_that_is_no_license_server() {
    let html = "<!DOCTYPE HTML><p>Error code: 404";
    let not_found = answering(http("404 Not Found", "text/html", html));
    let other_service = answering(http(
        "404 Not Found",
        "application/json",
        r#"{"detail":"Not Found"}"#,
    ));
    let sign_in = answering(http("200 OK", "text/html", "<h1>Sign in</h1>"));
    let other_json = answering(http("200 OK", "application/json", r#"{"keys":"none"}"#));
    let publishes = answering(http("200 OK", "application/json", r#"{"keys":[]}"#));
    let no_server = "it is not a License Server";
    for (port, path, found, advice) in [
        (not_found, "", no_server, "usually ends with /api"),
        (not_found, "/", no_server, "usually ends with /api"),
        (not_found, "/api", no_server, "check LICENSE_API_URL"),
        (not_found, "/api/licenses", no_server, "remove /licenses"),
        (not_found, "/licenses/", no_server, "remove /licenses"),
        (other_service, "/api", no_server, "another service"),
        (sign_in, "/api", "does not publish keys", "a sign-in page"),
        (
            other_json,
            "/api",
            "does not publish keys",
            "another service",
        ),
        (
            publishes,
            "/api",
            "publishes its keys",
            "LICENSE_TRUSTED_KEYS",
        ),
    ] {
        let url = format!("http://127.0.0.1:{port}{path}");
        assert_says(&finding(&url, &[]), "warning", found, advice);
        // Where keys are trusted, a server without keys is of no use.
        if port != publishes {
            let found = finding(&url, &[("LICENSE_TRUSTED_KEYS", "keys.json")]);
            assert_eq!(found["health"], "error", "{found:#}");
        }
    }
}

#[test]
fn an_answer_with_too_many_or_malformed_headers_is_said() {
    let head = |headers: &str| {
        let body = r#"{"keys":[]}"#;
        let length = body.len();
        let text = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        );
        format!("http://127.0.0.1:{}/api", answering(text.into_bytes()))
    };
    let many = |count| "x: 1\r\n".repeat(count);
    let found = finding(&head(&many(200)), &[]);
    assert_says(
        &found,
        "warning",
        "publishes its keys",
        "LICENSE_TRUSTED_KEYS",
    );
    for headers in [
        many(300),
        "x: 1\r\n folded: 2\r\n".to_owned(),
        "x y: 1\r\n".to_owned(),
    ] {
        let found = finding(&head(&headers), &[]);
        let expected = "the server or a proxy sent more than 256 headers, or malformed headers";
        assert_says(&found, "error", expected, "check whether the response");
        let text = found["found"].as_str().unwrap();
        assert!(!text.contains("cannot be reached"), "{text}");
        assert!(!text.contains("https://"), "{text}");
    }
}

#[test]
fn a_port_that_speaks_another_protocol_is_said() {
    let plain = answering(http("400 Bad Request", "text/plain", "no"));
    let url = format!("https://127.0.0.1:{plain}/api");
    let expected = format!("127.0.0.1:{plain} speaks HTTP, not TLS; write http://");
    assert_says(&finding(&url, &[]), "error", &expected, "LICENSE_API_URL");
    // An alert of TLS 1.2: protocol_version.
    let tls = answering(vec![21, 3, 3, 0, 2, 2, 70]);
    let url = format!("http://127.0.0.1:{tls}/api");
    let expected = "does not speak HTTP: if it speaks TLS, write https://";
    assert_says(&finding(&url, &[]), "error", expected, "LICENSE_API_URL");
}
