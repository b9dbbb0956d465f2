//! Machines whose certificate authorities are missing, or are not those of the system.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::nginx::{Nginx, openssl, self_signed};
use crate::scripted_cloud::ScriptedCloud;

/// What `doctor` finds with these variables in its environment.
fn doctor(url: &str, environment: &[(&str, &str)], listed: Option<&str>) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["doctor", "--json", "--port", "1"])
        .args(["--license-api-url", url])
        .args(
            listed
                .map(|file| ["--license-ca-file", file])
                .iter()
                .flatten(),
        )
        .env("STATE_DIR", directory.path())
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .output()
        .unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    findings.as_array().unwrap().clone()
}

fn text(findings: &[Value], what: &str) -> Option<String> {
    let finding = findings.iter().find(|it| it["what"] == what)?;
    let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    Some(format!(
        "{}: {} {}",
        text("health"),
        text("found"),
        text("advice")
    ))
}

/// Makes a certificate for localhost, `leaf.pem`, of the authority `certificate.pem`.
fn issue_leaf(at: &Path) {
    self_signed(at, "-newkey ed25519 -subj /CN=Root");
    std::fs::write(at.join("san"), "subjectAltName=DNS:localhost\n").unwrap();
    for arguments in [
        "req -newkey ed25519 -nodes -keyout leaf.key -out leaf.csr -subj /CN=x",
        "x509 -req -in leaf.csr -days 9 -CA certificate.pem -CAkey key.pem -CAcreateserial -extfile san -out leaf.pem",
    ] {
        openssl(at, arguments);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_authorities_is_told_to_get_some() {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    issue_leaf(at);
    let kept = tempfile::tempdir().unwrap();
    let file = |name: &str| kept.path().join(name).display().to_string();
    let (root, empty) = (file("root.pem"), file("empty"));
    std::fs::copy(at.join("certificate.pem"), &root).unwrap();
    std::fs::create_dir(&empty).unwrap();
    let other = tempfile::tempdir().unwrap();
    self_signed(other.path(), "-newkey ed25519 -subj /CN=Other");
    let other = other.path().join("certificate.pem").display().to_string();
    let leaf = std::fs::read_to_string(at.join("leaf.pem")).unwrap();
    let chain = leaf.clone() + &std::fs::read_to_string(&root).unwrap();
    for certificates in [leaf, chain] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("certificate.pem"), certificates).unwrap();
        std::fs::copy(at.join("leaf.key"), directory.path().join("key.pem")).unwrap();
        let nginx = Nginx::with_certificate(&cloud.url, directory).await;
        let url = format!("{}/api", nginx.url.replace("127.0.0.1", "localhost"));
        // No authorities: not this server's certificate is the problem.
        for (environment, advice) in [
            (
                &[("SSL_CERT_FILE", "/nonexistent.pem")][..],
                "SSL_CERT_FILE is '/nonexistent.pem'",
            ),
            (&[("SSL_CERT_DIR", &empty)], "SSL_CERT_DIR is '"),
            (
                &[("SSL_CERT_DIR", "/nonexistent")],
                "SSL_CERT_DIR is '/nonexistent'",
            ),
        ] {
            for (listed, health) in [(None, "error"), (Some(&*other), "ok")] {
                let found = doctor(&url, environment, listed);
                let server = text(&found, "License Server").unwrap();
                let said = "the system has no certificate authorities";
                assert!(server.contains(said) && server.contains(advice), "{server}");
                assert!(server.contains("correct or unset the variable"), "{server}");
                // With a file of authorities, that may be the wrong one as well.
                let is_certain = listed.is_none();
                let pins = server.contains("openssl") || server.contains("whole chain");
                assert_eq!(pins, !is_certain, "{server}");
                let authorities = text(&found, "certificate authorities").unwrap();
                assert!(authorities.starts_with(health), "{authorities}");
                assert!(authorities.contains(said), "{authorities}");
            }
            // A private authority is enough.
            let found = doctor(&url, environment, Some(&root));
            let server = text(&found, "License Server").unwrap();
            assert!(server.contains("responds"), "{server}");
        }
        // Other authorities than the system's may be the problem.
        let found = doctor(&url, &[("SSL_CERT_FILE", &other)], None);
        let server = text(&found, "License Server").unwrap();
        let said = "has 1 certificate authority: SSL_CERT_FILE is '";
        assert!(server.contains(said), "{server}");
        let found = doctor(&url, &[("SSL_CERT_FILE", &root)], None);
        let server = text(&found, "License Server").unwrap();
        assert!(server.contains("responds"), "{server}");
        // Nothing is unusual.
        let found = doctor(&url, &[], None);
        let server = text(&found, "License Server").unwrap();
        assert!(
            server.contains("is not signed by a trusted authority"),
            "{server}"
        );
        assert!(!server.contains("the system has"), "{server}");
        let authorities = text(&found, "certificate authorities").unwrap();
        assert!(authorities.contains("of this system"), "{authorities}");
    }
    // Without TLS, no authority is needed.
    let found = doctor(&cloud.url, &[], None);
    assert_eq!(text(&found, "certificate authorities"), None);
}
