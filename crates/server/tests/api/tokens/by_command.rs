//! The commands for tokens, and a server that has no other token.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::status;
use crate::PROGRAM;
use crate::commands::{json, run, said};
use crate::database::{Engine, on_both_engines};
use crate::gates::process::{Process, free_port};
use crate::harness::Vendor;

on_both_engines! {
    commands_create_list_and_revoke_tokens;
    a_token_is_written_to_a_file_that_only_its_owner_reads;
    commands_with_a_token_have_its_name_as_their_author;
}

async fn commands_create_list_and_revoke_tokens(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let add = [
        "tokens",
        "add",
        "ana",
        "--expires",
        "2099-12-31",
        "--note",
        "Sales",
    ];
    let output = run(&vendor, &add).await;
    assert!(output.status.success(), "{}", said(&output));
    let token = String::from_utf8(output.stdout).unwrap();
    // Nothing else, so that it can be redirected to a file.
    let token = token.strip_suffix('\n').unwrap();
    assert!(license_service::token_text::is_token(token), "{token}");
    let hint = String::from_utf8(output.stderr).unwrap();
    assert!(
        hint.contains("only time") && !hint.contains(token),
        "{hint}"
    );
    assert_eq!(status(&vendor, token).await, 200);

    let listed = json(&vendor, &["tokens", "list"]).await;
    assert_eq!(
        (
            &listed[0]["name"],
            &listed[0]["note"],
            &listed[0]["expiresAt"]
        ),
        (
            &"ana".into(),
            &"Sales".into(),
            &"2099-12-31T23:59:59Z".into()
        )
    );
    let again = run(&vendor, &add).await;
    assert!(!again.status.success());
    assert!(
        said(&again).contains("there is already a token 'ana'"),
        "{}",
        said(&again)
    );
    let revoked = json(&vendor, &["tokens", "revoke", "ana"]).await;
    assert_eq!(revoked["status"], "revoked");
    let table = said(&run(&vendor, &["tokens", "list"]).await);
    assert!(
        table.contains("revoked") && !table.contains(token),
        "{table}"
    );
    let log = said(&run(&vendor, &["audit"]).await);
    assert!(
        log.contains("token_revoked") && !log.contains(token),
        "{log}"
    );
    vendor.end().await;
}

async fn a_token_is_written_to_a_file_that_only_its_owner_reads(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop-token");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let path = file.display().to_string();
    let output = run(&vendor, &["tokens", "add", "shop", "--output", &path]).await;
    assert!(output.status.success(), "{}", said(&output));
    let token = std::fs::read_to_string(&file).unwrap();
    let token = token.strip_suffix('\n').unwrap();
    assert_eq!(status(&vendor, token).await, 200);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!said(&output).contains(token), "{}", said(&output));
    let shown = json(&vendor, &["tokens", "add", "portal", "--output", &path]).await;
    assert_eq!(
        (&shown["name"], &shown["file"]),
        (&"portal".into(), &path.into())
    );
    assert!(shown.get("token").is_none(), "{shown}");
    // Nothing is created if the file cannot be written.
    let path = directory.path().join("missing/token").display().to_string();
    let output = run(&vendor, &["tokens", "add", "third", "--output", &path]).await;
    assert!(!output.status.success());
    assert_eq!(
        json(&vendor, &["tokens", "list"])
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
    vendor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_an_admin_token_accepts_a_named_one() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let command = || {
        let mut command = Command::new(PROGRAM);
        command
            .env("STATE_DIR", directory.path().join("state"))
            .env_remove("ADMIN_TOKEN")
            .current_dir(directory.path());
        command
    };
    let mut serve = command();
    serve.args(["serve", "--port", &port.to_string()]);
    let server = Process::start(serve.stdout(Stdio::null()).stderr(Stdio::null()), port).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let code = async |token: &str| {
        let request = http.get(format!("{}/api/admin/keys", server.url));
        let answer = request.bearer_auth(token).send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap();
        (status, answer["error"]["code"].clone())
    };
    assert_eq!(code("wrong").await, (403, json!("no_admin_token")));
    let page = async || {
        let page = http.get(format!("{}/console/sign-in", server.url));
        page.send().await.unwrap().text().await.unwrap()
    };
    assert!(page().await.contains("license-server tokens add"));
    let added = command().args(["tokens", "add", "ana"]).output().unwrap();
    let token = String::from_utf8(added.stdout).unwrap();
    assert_eq!(code(token.trim()).await, (200, Value::Null));
    assert_eq!(code("wrong").await, (401, json!("unauthorized")));
    assert!(page().await.contains("Your own token"));
}

async fn commands_with_a_token_have_its_name_as_their_author(engine: Engine) {
    let vendor = Vendor::start(engine).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ana-token");
    let file = file.to_str().unwrap();
    json(&vendor, &["tokens", "add", "ana", "--output", file]).await;
    let with = ["--author-token-file", file];
    let issue = ["issue", "--tier", "standard", "--customer", "Harbour Ltd"];
    let issued = json(&vendor, &[&issue[..], &with].concat()).await;
    let key = issued["licenseKey"].as_str().unwrap();
    let amend = ["amend", key, "--add", "cameras=4", "--reason", "fair"];
    let amended = json(&vendor, &[&amend[..], &with].concat()).await;
    assert_eq!(amended["amendment"]["author"], "ana", "{amended}");
    json(&vendor, &[&["suspend", key][..], &with].concat()).await;
    json(&vendor, &["reinstate", key]).await;
    let log = said(&run(&vendor, &["audit", "--json"]).await);
    let entries = log.lines().map(|line| serde_json::from_str(line).unwrap());
    let authors: Vec<_> = entries
        .map(|entry: Value| {
            let text = |field: &str| entry[field].as_str().unwrap_or("").to_owned();
            (text("action"), text("actor"), text("source"))
        })
        .filter(|(_, actor, _)| actor != "service")
        .collect();
    let by_ana = |action: &str| {
        (
            action.to_owned(),
            "ana".to_owned(),
            "command line".to_owned(),
        )
    };
    let by_none = |action: &str| (action.to_owned(), "command line".to_owned(), String::new());
    let expected = [
        by_none("token_added"),
        by_ana("issued"),
        by_ana("amended"),
        by_ana("suspended"),
        by_none("reinstated"),
    ];
    assert_eq!(authors, expected);
    let listed = json(&vendor, &["tokens", "list"]).await;
    assert!(listed[0]["lastUsedAt"].is_string(), "{listed}");

    // Nothing is changed in the name of a person whose token may no longer be used.
    json(&vendor, &["tokens", "revoke", "ana"]).await;
    let refused = run(&vendor, &[&["revoke", key][..], &with].concat()).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("it was revoked"),
        "{}",
        said(&refused)
    );
    let shown = json(&vendor, &[&["show", key][..], &with].concat()).await;
    assert_eq!(shown["license"]["status"], "active");
    vendor.end().await;
}
