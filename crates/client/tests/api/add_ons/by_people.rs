//! Add-on keys at the command line and the console.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use super::{by_staff, cameras, licensed, limit};
use crate::database::Engine;
use crate::harness::Site;
use crate::vendor::Vendor;

async fn run(site: &Site, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command
        .args(arguments)
        .args(["--url", &site.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let input = input.to_owned();
    let running = move || {
        let mut child = command.spawn().unwrap();
        let _sent = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(running).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_redeemed_by_command() {
    let vendor = Vendor::start().await;
    let (site, key) = licensed(Engine::Sqlite, &vendor).await;
    let add_on = cameras(&vendor, &site).await;
    let mistyped = run(&site, &["redeem", "FXSADD-2222-2222-2222-2222"], "").await;
    assert_eq!(mistyped.status.code(), Some(1));
    assert!(
        said(&mistyped).contains("typing error"),
        "{}",
        said(&mistyped)
    );
    let license = run(&site, &["redeem", &key], "").await;
    assert!(
        said(&license).contains("This is a license key"),
        "{}",
        said(&license)
    );
    // A mail program has wrapped it.
    let (begin, end) = add_on.split_at(16);
    let redeemed = run(
        &site,
        &["redeem", "-"],
        &format!("Your key:\n{begin}\n{end}\n"),
    )
    .await;
    assert_eq!(redeemed.status.code(), Some(0), "{}", said(&redeemed));
    assert!(
        said(&redeemed).contains("Add-on key redeemed"),
        "{}",
        said(&redeemed)
    );
    assert!(!said(&redeemed).contains(&add_on), "{}", said(&redeemed));
    assert_eq!(limit(&site).await, 32);
    let activate = run(&site, &["activate", &add_on], "").await;
    assert_eq!(activate.status.code(), Some(1));
    assert!(
        said(&activate).contains("license-client redeem"),
        "{}",
        said(&activate)
    );
    let output = run(&site, &["offline", "request", "redeem", "-"], &add_on).await;
    assert!(
        said(&output).contains("BEGIN FOXSIGHT LICENSE REQUEST"),
        "{}",
        said(&output)
    );
    site.end().await;
}

/// Sends a form of the console.
async fn enter(site: &Site, path: &str, fields: &[(&str, &str)]) -> (u16, String) {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let entering = client.unwrap().post(format!("{}{path}", site.url));
    let entering = entering
        .header("origin", &site.url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.finish());
    let answer = entering.send().await.unwrap();
    let to = answer.headers().get("location").cloned();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let to = to.map(|to| to.to_str().unwrap().to_owned());
    (status, to.unwrap_or(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_redeemed_at_the_console() {
    let vendor = Vendor::start().await;
    let (site, _) = licensed(Engine::Sqlite, &vendor).await;
    let add_on = cameras(&vendor, &site).await;
    let (status, page) = enter(&site, "/console/redeem", &[("key", "hello")]).await;
    assert_eq!(status, 400);
    assert!(
        page.contains("should look like FXSADD") && page.contains("hello"),
        "{page}"
    );
    let (status, to) = enter(&site, "/console/redeem", &[("key", &add_on)]).await;
    assert_eq!((status, to.as_str()), (303, "/?done=redeemed"));
    assert_eq!(limit(&site).await, 32);
    let fields = [("purpose", "redeem"), ("add_on_key", add_on.as_str())];
    let (status, page) = enter(&site, "/console/offline/request", &fields).await;
    assert_eq!(status, 200);
    assert!(page.contains("foxsight-redeem-request.txt"), "{page}");
    // Without a license there is nothing to add to.
    site.post("/api/license/deactivate", None).await;
    let (_, page) = enter(&site, "/console/redeem", &[("key", &add_on)]).await;
    assert!(page.contains("Activate the license key first"), "{page}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_license_key_replaces_the_first_after_a_question() {
    let vendor = Vendor::start().await;
    let (site, first) = licensed(Engine::Sqlite, &vendor).await;
    let second = vendor.issue_professional().await;
    let body = json!({"end": ["module.map_view"]});
    by_staff(
        &vendor,
        &site,
        &format!("/licenses/{second}/amendments"),
        body,
    )
    .await;
    let (status, page) = enter(&site, "/console/activate", &[("key", &second)]).await;
    assert_eq!(status, 200, "{page}");
    let (losses, gains) = page.split_once("What this site gains").unwrap();
    assert!(losses.contains("What this site loses") && losses.contains("module.map_view"));
    assert!(gains.contains("cameras") && gains.contains("64"), "{page}");
    assert_eq!(
        site.status().await["licenseKey"],
        first.as_str(),
        "nothing has changed"
    );
    let seats = async |key: &str| {
        let url = format!("{}/admin/licenses/{key}/seats", vendor.url);
        let request = site.http.get(url).bearer_auth(crate::vendor::ADMIN_TOKEN);
        let seats: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        let held = seats["seats"].as_array().unwrap().iter();
        held.filter(|seat| seat["freedAt"].is_null()).count()
    };
    assert_eq!((seats(&first).await, seats(&second).await), (1, 0));
    let fields = [
        ("key", second.as_str()),
        ("replace", "true"),
        ("give_back", "true"),
    ];
    let (status, to) = enter(&site, "/console/activate", &fields).await;
    assert_eq!((status, to.as_str()), (303, "/?done=replaced"));
    assert_eq!(site.status().await["licenseKey"], second.as_str());
    assert_eq!((seats(&first).await, seats(&second).await), (0, 1));

    // By command, without a terminal: shown, and replaced as before.
    let output = run(&site, &["activate", "-"], &first).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for part in [
        "another license is active",
        "- cameras: 16 instead of 64",
        "+ module.map_view: on instead of off",
        "--give-back",
    ] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    assert_eq!((seats(&first).await, seats(&second).await), (1, 1));
    let output = run(&site, &["activate", "-", "--give-back"], &second).await;
    assert!(
        said(&output).contains("the seat of the previous license is free"),
        "{}",
        said(&output)
    );
    assert_eq!((seats(&first).await, seats(&second).await), (0, 1));
    // The same key again replaces nothing.
    let output = run(&site, &["activate", "-"], &second).await;
    assert!(
        !said(&output).contains("another license is active"),
        "{}",
        said(&output)
    );
    // The API replaces as recorded.
    let (status, answer) = site.activate(&first).await;
    assert_eq!(
        (status.as_u16(), &answer["formerSeatFreed"]),
        (200, &serde_json::Value::Null)
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_is_possible_although_nobody_tells_what_it_changes() {
    use crate::harness::KEY;
    use crate::scripted_cloud::{Scripted, ScriptedCloud, usual_license};
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    cloud.license(usual_license(KEY));
    assert_eq!(site.activate(KEY).await.0, 200);
    let other = "ANOTHER-KEY-OF-VERSION-1";
    cloud.next(Scripted::new(404, r#"{"detail":"Not Found"}"#));
    let (status, page) = enter(&site, "/console/activate", &[("key", other)]).await;
    assert_eq!(status, 200);
    assert!(page.contains("does not support previews"), "{page}");
    cloud.license(usual_license(other));
    let fields = [("key", other), ("replace", "true")];
    let (status, to) = enter(&site, "/console/activate", &fields).await;
    assert_eq!((status, to.as_str()), (303, "/?done=activated"));
    site.end().await;
}
