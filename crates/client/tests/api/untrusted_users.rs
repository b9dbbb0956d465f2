//! A machine whose users are not all trusted, set up as `docs/security.md` says.

use std::process::{Command, Output};

use reqwest::StatusCode;
use serde_json::Value;

use crate::program::Program;

const DOCUMENT: &str = include_str!("../../../../docs/security.md");
const TOKEN: &str = "a-token-of-a-good-length";

/// The settings that the document names for such a machine, as it writes them.
fn advised() -> Vec<(&'static str, String)> {
    let mut rows = DOCUMENT.lines();
    let row = rows.find(|row| row.contains("| call the License Client from the machine itself |"));
    let (_, advice) = row
        .unwrap()
        .split_once("are not all trusted, set ")
        .unwrap();
    let (advice, _) = advice.split_once(':').unwrap();
    // Every second part is between backticks.
    let settings = advice.split('`').skip(1).step_by(2);
    settings
        .map(|setting| match setting.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (setting, TOKEN.to_owned()),
        })
        .collect()
}

fn output(arguments: &[&str], environment: &[(&str, String)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("STATE_DIR", directory.path())
        .current_dir(directory.path())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_advised_settings_keep_local_users_from_changes() {
    let advised = advised();
    let names: Vec<&str> = advised.iter().map(|it| it.0).collect();
    assert_eq!(names, ["TRUSTED_NETWORKS", "ADMIN_TOKEN"]);
    let program = Program::start_with(&[], &advised).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = |path: &str| http.post(program.url(path));
    for path in ["deactivate", "validate", "heartbeat"] {
        let path = format!("/api/license/{path}");
        let answer = call(&path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    let usage = "/api/license/usage";
    let report = serde_json::json!({"source": "recorder", "cameras": 1});
    for (token, status) in [("wrong", 401), (TOKEN, 200)] {
        let call = http.put(program.url(usage)).bearer_auth(token);
        let answer = call.json(&report).send().await.unwrap();
        assert_eq!(answer.status(), status, "{token}");
    }
    let port = ("PORT", program.port.to_string());
    let settings = output(
        &["config", "--json"],
        &[&advised[..], std::slice::from_ref(&port)].concat(),
    );
    let settings: Value = serde_json::from_slice(&settings.stdout).unwrap();
    assert_eq!(settings["of"], "service");
    assert_eq!(settings["settings"]["TRUSTED_NETWORKS"]["value"], "none");
    let doctor = output(&["doctor", "--json"], &[&advised[..], &[port]].concat());
    let findings: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let access = findings
        .iter()
        .find(|it| it["what"] == "permission to make changes");
    let found = access.unwrap()["found"].as_str().unwrap();
    assert!(found.starts_with("TRUSTED_NETWORKS is none"), "{found}");
}

/// An empty value must not mean the default, which permits more than any value that an operator may
/// have meant.
#[test]
fn a_setting_that_would_open_something_is_not_accepted_empty() {
    for (variable, advice) in [
        ("TRUSTED_NETWORKS", "write 'none'"),
        ("LICENSE_TRUSTED_KEYS", "specify the file"),
        ("GATE_ROUTES", "specify the routes file"),
    ] {
        for blank in ["", " ", "\r", "\u{feff}", "\"\"", "''\r"] {
            refused(variable, blank, advice);
        }
    }
    for blank in [",", " , ,", "\"\",''", "\" , \""] {
        refused("TRUSTED_NETWORKS", blank, "write 'none'");
    }
    // Settings whose default is the strictest value.
    for variable in ["ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "TRUSTED_PROXIES"] {
        let output = output(&["config"], &[(variable, String::new())]);
        assert!(output.status.success(), "{variable}: {output:?}");
    }
}

fn refused(variable: &str, blank: &str, advice: &str) {
    // The address is for documents (RFC 5737): no service could listen there.
    let serve = ["serve", "--host", "192.0.2.1"];
    for arguments in [&serve[..], &["config"], &["doctor"]] {
        let output = output(arguments, &[(variable, blank.to_owned())]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{variable} {blank:?}: {said}"
        );
        let expected = format!("error: {variable} is empty");
        assert!(
            said.starts_with(&expected) && said.contains(advice),
            "{said}"
        );
    }
    // Commands that do not use the setting run.
    let output = output(&["completions", "bash"], &[(variable, blank.to_owned())]);
    assert!(output.status.success());
}

#[test]
fn none_is_a_word_for_itself() {
    for (arguments, is_accepted) in [
        (&["config", "--trusted-networks", "none"][..], true),
        (&["config", "--trusted-networks", "none,loopback"], false),
        (&["config", "--trusted-networks", "10.0.0.0/8,none"], false),
        (&["config", "--trusted-networks", ""], false),
        (&["config", "--trusted-networks", ","], false),
    ] {
        let output = output(arguments, &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        let code = if is_accepted { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(is_accepted || said.contains("TRUSTED_NETWORKS"), "{said}");
    }
    // An empty variable is not used where the flag is.
    let flag = ["config", "--trusted-networks", "none"];
    let output = output(&flag, &[("TRUSTED_NETWORKS", String::new())]);
    assert!(output.status.success(), "{output:?}");
}
