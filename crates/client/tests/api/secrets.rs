//! No license key, token or password is in logs, metrics, errors or the
//! support file.

use std::process::Command;

use reqwest::Method;
use serde_json::json;

use crate::database::{Engine, TestDatabase};
use crate::program::Program;
use crate::scripted_cloud::{Scripted, ScriptedCloud};

const LICENSE_KEY: &str = "FXSGHT-S3CR-ETKE-YOFA-SITE";
const OTHER_KEY: &str = "a-key-of-another-maker-91827364";
const TOKEN: &str = "a-token-that-nobody-may-see-5566";
const DATABASE_PASSWORD: &str = "pa55word-of-the-database";
const PROXY_PASSWORD: &str = "pa55word-of-the-cloud";
const SIGNATURE: &str = "the-signature-of-the-license-7788";

fn found(text: &str) -> Vec<&'static str> {
    let secrets = [
        LICENSE_KEY,
        OTHER_KEY,
        TOKEN,
        DATABASE_PASSWORD,
        PROXY_PASSWORD,
        SIGNATURE,
    ];
    secrets
        .into_iter()
        .filter(|secret| text.contains(secret))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_logged_measured_or_bundled() {
    let cloud = ScriptedCloud::start().await;
    cloud.license(json!({"enabledFeatures": ["module.map_view"], "signature": SIGNATURE}));
    let database = TestDatabase::new(Engine::Postgres).await;
    let with_password = database
        .url
        .replace("postgres@", &format!("postgres:{DATABASE_PASSWORD}@"))
        + &format!("?application_name={DATABASE_PASSWORD}&sslpassword={DATABASE_PASSWORD}");
    let cloud_url = cloud
        .url
        .replace("http://", &format!("http://user:{PROXY_PASSWORD}@"));
    for format in ["text", "json"] {
        let flags = [
            "--database-url",
            &with_password,
            "--license-api-url",
            &cloud_url,
            "--log",
            "trace",
            "--log-format",
            format,
        ];
        let environment = [
            ("ADMIN_TOKEN", TOKEN.to_owned()),
            // The License Server is called by plain HTTP, so not through this.
            ("HTTPS_PROXY", format!("corp:{PROXY_PASSWORD}@127.0.0.1:9")),
        ];
        let mut program = Program::start_with(&flags, &environment).await;
        let mut seen = String::new();
        let mut look = |text: &str| {
            seen.push_str(text);
            seen.push('\n');
        };
        use_every_call(&program, &cloud, &mut look).await;
        let bundle = program.file("support.json");
        let doctor = Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(["doctor", "--bundle"])
            .arg(&bundle)
            .args(["--port", &program.port.to_string()])
            .args(&flags[..6])
            .envs(environment)
            .output()
            .unwrap();
        look(&String::from_utf8_lossy(&doctor.stdout));
        look(&String::from_utf8_lossy(&doctor.stderr));
        let bundle = std::fs::read_to_string(bundle).unwrap();
        assert!(bundle.contains("\"standing\": \"active\""), "{bundle}");
        look(&bundle);
        look(&program.text("/metrics").await);
        look(&program.text("/readyz").await);
        let check = "/console/diagnostics";
        let (status, _) = program.send(Method::POST, check, &json!({})).await;
        assert_eq!(status, 200);
        let diagnostics = program.text(check).await;
        assert!(diagnostics.contains("HTTPS_PROXY=http://127.0.0.1:9"));
        look(&diagnostics.replace(LICENSE_KEY, ""));
        let support_file = "/console/support-file";
        let (status, file) = program.send(Method::POST, support_file, &json!({})).await;
        assert_eq!(status, 200, "{file}");
        look(&file);
        let log = program.log();
        program.kill();
        assert!(log.len() > 10_000, "the log is there: {}", log.len());
        assert!(log.contains("SITE"), "the masked key is there");
        look(&log);
        assert_eq!(found(&seen), [""; 0], "{format}");
    }
    mistakes_in_settings_show_no_secrets();
    database.drop_database().await;
}

/// Activates, and makes every call with every kind of answer.
async fn use_every_call(program: &Program, cloud: &ScriptedCloud, look: &mut impl FnMut(&str)) {
    let activate = "/api/license/activate";
    for key in [LICENSE_KEY, OTHER_KEY, LICENSE_KEY] {
        program
            .send(Method::POST, activate, &json!({"licenseKey": key}))
            .await;
    }
    for (status, body) in [
        (503, String::new()),
        (200, "<html>".into()),
        (
            403,
            json!({"success": false, "error": {"message": "no"}}).to_string(),
        ),
        (
            200,
            json!({"success": true, "data": {"isValid": false, "message": "revoked"}}).to_string(),
        ),
    ] {
        cloud.always(Some(Scripted::new(status, body)));
        for path in ["validate", "heartbeat", "deactivate"] {
            let path = format!("/api/license/{path}");
            let (_, answer) = program.send(Method::POST, &path, &json!({})).await;
            // A trusted caller is shown the license itself.
            look(&answer.replace(LICENSE_KEY, "").replace(SIGNATURE, ""));
        }
        let refused = program
            .send(Method::POST, activate, &json!({"licenseKey": OTHER_KEY}))
            .await;
        look(&refused.1);
    }
    cloud.always(None);
    program
        .send(Method::POST, activate, &json!({"licenseKey": LICENSE_KEY}))
        .await;
}

fn mistakes_in_settings_show_no_secrets() {
    for (variable, value) in [
        ("DATABASE_URL", format!("mysql://u:{DATABASE_PASSWORD}@h/d")),
        ("ADMIN_TOKEN", TOKEN[..15].to_owned()),
        ("ADMIN_TOKEN_FILE", TOKEN.to_owned()),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(["serve", "--port", "1"])
            .env(variable, &value)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            !error.contains(&value) || variable.ends_with("FILE"),
            "{error}"
        );
        assert!(
            found(&error).is_empty() || variable.ends_with("FILE"),
            "{error}"
        );
    }
}

/// The search itself finds what it looks for.
#[test]
fn a_secret_would_be_found() {
    assert_eq!(found(&format!("x {TOKEN} y")), [TOKEN]);
}
