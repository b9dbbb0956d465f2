//! Keys, files and answers as people and old servers hand them over.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output, Stdio};

use chrono::TimeDelta;
use license_client::doctor::{Examiner, examine};
use license_server::audit::Actor;
use license_server::licensing::offline::{read, sign};
use license_service::clock::SystemClock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};
use crate::vendor::Vendor;

const PAID: &str = "module.map_view";

/// Text as PowerShell's `>` writes it.
fn utf_16(text: &str) -> Vec<u8> {
    let marked = format!("\u{feff}{text}");
    marked.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

async fn run(site: &Site, arguments: &[&str], input: Vec<u8>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command
        .args(arguments)
        .args(["--url", &site.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let running = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(running).await.unwrap()
}

/// Enters a key at the console.
async fn enter(site: &Site, key: &str) -> reqwest::Response {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("key", key);
    let entering = site.http.post(format!("{}/console/activate", site.url));
    let entering = entering
        .header("origin", &site.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.finish());
    entering.send().await.unwrap()
}

fn sent_key(cloud: &ScriptedCloud) -> String {
    let arrived = cloud.arrived();
    let body: Value = serde_json::from_str(&arrived.last().unwrap().body).unwrap();
    body["licenseKey"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_the_same_by_api_command_line_and_console() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let wide: String = KEY
        .chars()
        .map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap())
        .collect();
    let pasted = [
        format!("\u{feff}{KEY}"),
        KEY.replace("AAAA", "AA\u{200b}AA"),
        format!("“{KEY}”"),
        wide,
        KEY.replace('-', "–").to_lowercase(),
        format!("Your key is {KEY}. Kind regards"),
    ];
    for text in &pasted {
        let (status, body) = site.activate(text).await;
        assert_eq!(status, StatusCode::OK, "{text}: {body}");
        assert_eq!(sent_key(&cloud), KEY, "{text}");
        let answer = enter(&site, text).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{text}");
        assert_eq!(sent_key(&cloud), KEY, "{text}");
        for input in [
            text.clone().into_bytes(),
            utf_16(&format!("{text}\r\nmore")),
        ] {
            let output = run(&site, &["activate", "-"], input).await;
            assert!(output.status.success(), "{text}: {output:?}");
            assert_eq!(sent_key(&cloud), KEY, "{text}");
        }
    }
    // Keys of other makers are sent as they are.
    for (text, sent) in [("clé-日本", "clé-日本"), (" 'ACME 1' \n", "ACME 1")] {
        let (status, body) = site.activate(text).await;
        assert_eq!(status, StatusCode::OK, "{text}: {body}");
        assert_eq!(sent_key(&cloud), sent);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_characters_in_a_refused_key_are_shown_by_their_numbers() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let unknown =
        r#"{"success":false,"error":{"code":"unknown","message":"License key not found"}}"#;
    cloud.always(Some(Scripted::new(200, unknown)));
    let refused = async |key: &str| {
        let (status, body) = site.activate(key).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        body["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(refused(KEY).await, "License key not found");
    assert_eq!(refused("FXSGHT-AAAA").await, "License key not found");
    assert_eq!(
        refused("FXSGHT-\u{410}AAA-BB\u{200b}BB-CCCC-DDDD").await,
        "License key not found (the license key that was entered contains U+0410, U+200B; type it again)"
    );
    let output = run(
        &site,
        &["activate", "FXSGHT-\u{410}AAA-BBBB-CCCC-DDDD"],
        Vec::new(),
    )
    .await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("license keys never contain the character U+0410"),
        "{said}"
    );
    let answer = enter(&site, "\u{200b} \u{2060}").await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = answer.text().await.unwrap();
    assert!(
        page.contains("this text contains U+200B, U+2060."),
        "{page}"
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_license_server_names_odd_characters_in_a_key() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &[]).await;
    let key = vendor.issue_professional().await;
    let (status, body) = site
        .activate(&format!("{}\u{410}{}", &key[..7], &key[8..]))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let said = body["detail"].as_str().unwrap();
    let expected = "No license has this key, which contains U+0410; type it again";
    assert_eq!(said, expected);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_sets_and_license_files_are_read_in_every_encoding() {
    let vendor = Vendor::start().await;
    let directory = tempfile::tempdir().unwrap();
    let keys = std::fs::read_to_string(vendor.trusted_keys()).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file.display().to_string()
    };
    let pretty = keys.replace('"', "\u{201c}");
    for (name, bytes) in [
        ("utf-8", format!("\u{feff}{keys}").into_bytes()),
        ("utf-16", utf_16(&keys)),
        ("quotes", utf_16(&pretty)),
    ] {
        let trusted = file(name, &bytes);
        let flags = ["--license-trusted-keys", trusted.as_str()];
        let site = Site::start(Engine::Sqlite, "http://127.0.0.1:1/api", &flags).await;
        let key = vendor.issue_professional().await;
        let request = file("request.txt", b"");
        let arguments = ["offline", "request", "activate", "-", "--output", &request];
        let output = run(&site, &arguments, utf_16(&key)).await;
        assert!(output.status.success(), "{output:?}");
        let text = std::fs::read_to_string(&request).unwrap();
        // It was open to everyone before.
        let mode = std::fs::metadata(&request).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "it contains the license key");
        let signed = sign(
            &vendor.app,
            read(&text).unwrap(),
            TimeDelta::days(90),
            Actor::CommandLine,
        );
        let license = signed.await.unwrap().file;
        let autocorrected = license.replace("-----", "—–");
        let page = format!("<p>{}</p>", license.replace('\n', "<br>\n"));
        for (name, bytes) in [
            ("license", utf_16(&license)),
            ("license", autocorrected.clone().into_bytes()),
            ("license", utf_16(&page)),
            // The Windows code page.
            ("license", {
                let mut bytes = b"\x97\x96BEGIN FOXSIGHT LICENSE FILE\x97\x96\r\n".to_vec();
                let inside = license.lines().filter(|line| !line.starts_with("-----"));
                bytes.extend(inside.flat_map(|line| [line.as_bytes(), b"\r\n"].concat()));
                bytes.extend(b"\x97\x96END FOXSIGHT LICENSE FILE\x97\x96\r\n");
                bytes
            }),
        ] {
            let carried = file(name, &bytes);
            let output = run(&site, &["offline", "import", &carried], Vec::new()).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // Every file counts one time.
            let is_used = said.contains("was already used");
            assert!(output.status.success() || is_used, "{said}");
            assert_eq!(site.standing().await, "active");
        }
        let archive = file("license", b"PK\x03\x04");
        let output = run(&site, &["offline", "import", &archive], Vec::new()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains("a ZIP archive or an Office document, not text"),
            "{said}"
        );
        site.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_servers_license_says_is_read_or_shown() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let license = |expires_at: Value, max_users: Value| {
        let mut license = usual_license(KEY);
        license["expiresAt"] = expires_at;
        license["maxUsers"] = max_users;
        license
    };
    let activate = async |license: Value| {
        cloud.license(license);
        let (status, body) = site.activate(KEY).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        site.status().await
    };
    // Over, in another spelling of the offset.
    let status = activate(license(json!("2020-01-01T00:00:00+0000"), json!("20"))).await;
    assert_eq!(
        (&status["standing"], &status["reason"]),
        (&json!("lapsed"), &json!("license_expired"))
    );
    // The last day, which is not over at its beginning: it is 20:58.
    let status = activate(license(json!("2026-11-23"), json!("20"))).await;
    assert_eq!(status["standing"], "active");
    assert_eq!(status["maxUsers"], 20);
    assert_eq!(status["unreadableFields"], json!([]));
    let asked = json!({"resource": "users", "requested": 21});
    let (_, limit) = site.post("/api/license/limits/check", Some(asked)).await;
    assert_eq!(
        (&limit["allowed"], &limit["limit"]),
        (&json!(false), &json!(20))
    );
    let status = activate(license(json!("2026-11-22"), json!("20"))).await;
    assert_eq!(status["reason"], "license_expired");

    let status = activate(license(json!("31.12.2027"), json!("many"))).await;
    assert_eq!(status["standing"], "active");
    assert_eq!(status["unreadableFields"], json!(["expiresAt", "maxUsers"]));
    let metrics = site.get("/metrics").await.1.as_str().unwrap().to_owned();
    for field in ["expiresAt", "maxUsers"] {
        let line = format!("foxsight_license_unreadable_field{{field=\"{field}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
    let mut settings = site.settings().clone();
    settings.port = site.url.rsplit(':').next().unwrap().parse().unwrap();
    let findings = examine(&settings, &SystemClock, Examiner::Command, |_| {}).await;
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let warned = "warning  license: unreadable fields, treated as absent: expiresAt, maxUsers";
    assert!(shown.iter().any(|it| it.starts_with(warned)), "{shown:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_servers_short_answers_confirm_and_a_portals_never_free_a_seat() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    for body in [
        r#"{"success":true,"data":{"isValid":true}}"#,
        "\u{feff}{\"isValid\":true}",
    ] {
        site.advance(TimeDelta::hours(20));
        cloud.next(Scripted::new(200, body));
        let answer = site.validate().await;
        assert_eq!(answer["standing"], "active", "{body}: {answer}");
        assert_eq!(answer["license"]["tier"], "professional");
        assert!(site.is_available(PAID).await);
    }
    for body in [
        r#"{"status":"please sign in"}"#,
        r#"{"success":null}"#,
        r#"{"success":"false"}"#,
        r#"{"success":false,"success":true}"#,
        "{}",
    ] {
        cloud.next(Scripted::new(200, body));
        let (status, answer) = site.post("/api/license/deactivate", None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}: {answer}");
        assert_eq!(site.status().await["hasLicense"], true, "{body}");
    }
    cloud.next(Scripted::new(200, r#"{"success":true}"#));
    let (status, answer) = site.post("/api/license/deactivate", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(site.status().await["hasLicense"], false);
    site.end().await;
}
