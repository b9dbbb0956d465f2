//! An impostor of the License Server can neither forge log lines, nor fill the log, nor make the
//! site show its license key.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use license_core::keyring::Jwk;
use license_core::license_key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::KEY;
use crate::program::Program;
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};

/// The start of a line that the other side would like to see in the log.
const FORGED: &str = "2026-11-24T12:00:00.000000Z ERROR forged";

/// Text from an attacker who knows the key and wants it shown.
fn hostile() -> String {
    let spellings = [
        KEY.to_owned(),
        KEY.to_lowercase(),
        KEY.replace('-', ""),
        KEY.replace('-', " "),
        KEY[7..].replace('-', "."),
    ];
    format!(
        "x\n{FORGED}\r\n\u{202e}\u{2028}\0\u{1b}[31m{}{}",
        spellings.join(" "),
        format!("\n{FORGED} {KEY}").repeat(800)
    )
}

/// The spellings of the key without what may separate its characters.
fn shows_key(text: &str) -> bool {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    let letters: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    letters.contains(&KEY[7..].replace('-', ""))
}

fn document(name: &str) -> String {
    let mut header = json!({"alg": "EdDSA", "kid": "k", "typ": "foxsight-license+jwt"});
    header[name] = hostile().into();
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    let payload = part("{}".into());
    format!(
        "{}.{payload}.{}",
        part(header.to_string()),
        part("s".into())
    )
}

fn answer_with(jws: &str) -> Scripted {
    let mut license = usual_license(KEY);
    license["signature"] = jws.into();
    let data = json!({"isValid": true, "license": license});
    Scripted::new(200, json!({"success": true, "data": data}).to_string())
}

fn refusals() -> Vec<Scripted> {
    let text = hostile();
    [
        json!({"success": false, "error": {"code": text, "message": text}}),
        json!({"success": false, "error": text}),
        json!({"isValid": false, "reason": text, "message": text}),
    ]
    .into_iter()
    .map(|body| Scripted::new(403, body.to_string()))
    .collect()
}

async fn assert_harmless(program: &mut Program, format: &str) {
    let status = program.json("/api/license/status").await;
    let failure = status["lastFailure"]["message"].as_str();
    if let Some(message) = failure {
        assert!(message.chars().count() <= 1_100, "{message}");
        assert!(!message.contains(['\n', '\r', '\u{202e}', '\u{2028}', '\0']));
    }
    let attempts = program.text("/api/license/attempts?limit=500").await;
    assert!(attempts.contains("errorMessage") && attempts.len() < 64 * 1024);
    let bundle = program.file("support.json");
    let doctor = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["doctor", "--bundle"])
        .arg(&bundle)
        .args(["--port", &program.port.to_string()])
        .output()
        .unwrap();
    let bundle = std::fs::read_to_string(bundle).unwrap();
    assert!(bundle.len() < 256 * 1024, "{}", bundle.len());
    let log = program.log();
    for line in log.lines() {
        assert!(!line.starts_with(FORGED), "{line}");
        assert!(line.len() <= 9 * 1024);
    }
    if format == "json" {
        let refused = log
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].to_string());
        assert!(refused.count() > 0);
    }
    let copy = std::fs::read_to_string(program.file("state/local-copy.json")).unwrap_or_default();
    assert!(copy.len() < 64 * 1024);
    for (what, text) in [
        ("status", failure.unwrap_or_default()),
        ("doctor", &String::from_utf8_lossy(&doctor.stdout)),
        ("support file", &bundle),
        ("log", &log),
        ("metrics", &program.text("/metrics").await),
    ] {
        assert!(!shows_key(text), "{what}: {text}");
    }
    // The log of attempts names the key in its own field.
    let attempts: Value = serde_json::from_str(&attempts).unwrap();
    for attempt in attempts["attempts"].as_array().unwrap() {
        let message = attempt["errorMessage"].as_str().unwrap_or_default();
        assert!(!shows_key(message) && message.chars().count() <= 1000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_header_writes_no_line_and_shows_no_key() {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    let keys = directory.path().join("keys.json");
    let set = json!({"keys": [Jwk::from_verifying_key(&key)]});
    std::fs::write(&keys, set.to_string()).unwrap();
    let keys = keys.display().to_string();
    let flags = [
        "--license-api-url",
        &cloud.url,
        "--license-trusted-keys",
        &keys,
    ];
    let mut program = Program::start(&flags).await;
    let before = program.log().lines().count();
    for name in ["kid", "alg", "typ"] {
        cloud.always(Some(answer_with(&document(name))));
        let body = json!({"licenseKey": KEY});
        let (status, said) = program
            .send(Method::POST, "/api/license/activate", &body)
            .await;
        assert_eq!(status, 400, "{said}");
        assert!(said.len() < 2_000 && !shows_key(&said), "{said}");
    }
    let log = program.log();
    assert!(log.contains("no contact with the License Server"), "{log}");
    // One line for each call, and none that the other side has made.
    let written = log.lines().count() - before;
    assert!(written <= 6, "{log}");
    assert_harmless(&mut program, "text").await;
    program.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_writes_no_line_and_shows_no_key() {
    for format in ["text", "json"] {
        let cloud = ScriptedCloud::start().await;
        let flags = ["--license-api-url", &cloud.url, "--log-format", format];
        let mut program = Program::start(&flags).await;
        let body = json!({"licenseKey": KEY});
        let activate = "/api/license/activate";
        let (status, said) = program.send(Method::POST, activate, &body).await;
        assert_eq!(status, 200, "{said}");
        for refusal in refusals() {
            cloud.always(Some(refusal));
            program
                .send(Method::POST, "/api/license/validate", &json!({}))
                .await;
            program
                .send(Method::POST, "/api/license/heartbeat", &json!({}))
                .await;
            let (_, said) = program.send(Method::POST, activate, &body).await;
            assert!(said.len() < 4_000 && !shows_key(&said), "{said}");
        }
        let log = program.log();
        assert!(log.contains("the License Server refused the call"), "{log}");
        assert!(log.contains(&license_key::mask(KEY)), "{log}");
        assert_harmless(&mut program, format).await;
        program.kill();
    }
}

#[test]
fn a_password_in_the_place_of_a_file_name_is_not_shown() {
    for variable in [
        "LICENSE_TRUSTED_KEYS",
        "LICENSE_CA_FILE",
        "STATE_DIR",
        "GATE_ROUTES",
        "ADMIN_TOKEN_FILE",
    ] {
        for value in ["http://u:hunter2@h", "u:hunter2@h/x"] {
            // A directory that cannot be written stops the start.
            let directory = tempfile::tempdir().unwrap();
            for obstacle in ["http:", "u:hunter2@h"] {
                std::fs::write(directory.path().join(obstacle), "").unwrap();
            }
            for arguments in [
                &["doctor", "--bundle", "support.json", "--port", "1"][..],
                &["config"],
                &["serve", "--port", "1"],
            ] {
                // With a bad STATE_DIR alone the service starts all the same.
                if arguments[0] == "serve" && variable == "STATE_DIR" {
                    continue;
                }
                let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
                    .args(arguments)
                    .env("LICENSE_API_URL", "http://127.0.0.1:1")
                    .env(variable, value)
                    .current_dir(directory.path())
                    .output()
                    .unwrap();
                let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
                said.push_str(&String::from_utf8_lossy(&output.stderr));
                let bundle = directory.path().join("support.json");
                said.push_str(&std::fs::read_to_string(bundle).unwrap_or_default());
                assert!(!said.is_empty());
                assert!(
                    !said.contains("hunter2"),
                    "{variable} {arguments:?}: {said}"
                );
            }
        }
    }
}
