//! A License Server that is not there, and things that answer in its place.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::database::{Engine, on_both_engines};
use crate::harness::{KEY, Site};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

on_both_engines! {
    answers_from_other_programs_are_no_contact;
}

const PAID: &str = "module.analytics_advanced";

/// Status, body, the word for it.
const ANSWERS: [(u16, &str, &str); 12] = [
    (500, "oops", "server_fault"),
    (502, "<html>Bad Gateway</html>", "server_fault"),
    (
        503,
        r#"{"success":false,"error":{"message":"revoked"}}"#,
        "server_fault",
    ),
    (
        200,
        "<html>Welcome to our Wi-Fi</html>",
        "unexpected_answer",
    ),
    (200, "", "unexpected_answer"),
    (200, "[]", "unexpected_answer"),
    (200, r#"{"success":true}"#, "unexpected_answer"),
    (302, "{}", "redirected"),
    (407, r#"{"success":false}"#, "proxy_sign_in"),
    (429, r#"{"success":false}"#, "server_busy"),
    (511, "<html>", "proxy_sign_in"),
    (404, "{}", "unexpected_answer"),
];

async fn answers_from_other_programs_are_no_contact(engine: Engine) {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(engine, &cloud.url, &[]).await;
    assert_eq!(site.activate(KEY).await.0, StatusCode::OK);
    for (status, body, reason) in ANSWERS {
        cloud.next(Scripted::new(status, body));
        let (code, answer) = site.activate("FXSGHT-OTHER").await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{status} {body}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("The license was not activated: "),
            "{detail}"
        );

        cloud.next(Scripted::new(status, body));
        let answer = site.validate().await;
        assert_eq!(answer["inGracePeriod"], true, "{status} {body}");
        assert_eq!(answer["reason"], serde_json::Value::Null);
        let status = site.status().await;
        assert_eq!(status["lastFailure"]["reason"], reason, "{body}");
        assert_eq!(status["licenseKey"], KEY);
        assert!(site.is_available(PAID).await);

        assert_eq!(site.validate().await["inGracePeriod"], false);
    }
    let attempts = "SELECT result FROM local_license_validation_attempts WHERE result = 'offline'";
    assert_eq!(site.database.texts(attempts).await.len(), ANSWERS.len());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsigned_denial_starts_the_grace_period_and_shows_its_reason() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let denial = r#"{"success":true,"data":{"isValid":false,"reason":"revoked","message":"No."}}"#;
    cloud.next(Scripted::new(200, denial));
    let answer = site.validate().await;
    assert_eq!(answer["valid"], true);
    assert_eq!(answer["reason"], "revoked");
    assert_eq!(answer["message"], "No.");
    assert!(answer["gracePeriodExpires"].is_string());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a time-out is real time")]
async fn a_slow_license_server_times_out_and_delays_no_other_caller() {
    let cloud = ScriptedCloud::start().await;
    let flags = ["--license-api-timeout", "0.5"];
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    site.activate(KEY).await;
    cloud.next(Scripted {
        delay: Duration::from_secs(20),
        ..Scripted::new(200, "{}")
    });
    let start = Instant::now();
    let checks = async {
        for _ in 0..20 {
            assert!(site.is_available(PAID).await);
            assert_eq!(site.status().await["hasLicense"], true);
        }
        start.elapsed()
    };
    let (answer, checked) = tokio::join!(site.validate(), checks);
    assert_eq!(answer["inGracePeriod"], true);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(checked < start.elapsed());
    assert_eq!(site.status().await["lastFailure"]["reason"], "timed_out");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "stopping is real time")]
async fn the_service_stops_in_time_while_the_license_server_hangs() {
    let cloud = ScriptedCloud::start().await;
    let mut site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    cloud.always(Some(Scripted {
        delay: Duration::from_secs(60),
        ..Scripted::new(200, "{}")
    }));
    let url = format!("{}/api/license/validate", site.url);
    let hanging = tokio::spawn(site.http.post(url).send());
    site.until("the request reached the License Server", async || {
        cloud.arrived().len() == 2
    })
    .await;
    let start = Instant::now();
    site.stop().await;
    assert!(start.elapsed() < Duration::from_secs(10));
    hanging.abort();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_checks_never_call_the_license_server() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    for _ in 0..10 {
        site.status().await;
        site.is_available(PAID).await;
        site.get("/health").await;
    }
    assert_eq!(cloud.arrived().len(), 1);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_activation_of_the_cached_key_asks_about_it() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    site.activate(KEY).await;
    let refusal = r#"{"success":false,"error":{"code":"SEATS","message":"No seat is free"}}"#;
    cloud.next(Scripted::new(200, refusal));
    let (status, answer) = site.activate(KEY).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["detail"], "No seat is free");
    site.until("a validation", async || {
        cloud
            .arrived()
            .iter()
            .any(|r| r.path.ends_with("/validate"))
    })
    .await;
    assert_eq!(site.standing().await, "active");
    site.end().await;
}

/// An answer that would exhaust the memory of a client that read all of it.
async fn exhausting(kind: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 8192]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
            let answer = match kind {
                "deep" => {
                    let body = "[".repeat(900_000);
                    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
                }
                "mislabelled" => {
                    format!("{head}content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
                }
                "bomb" => {
                    let bomb = bomb();
                    let length = bomb.len();
                    let head =
                        format!("{head}content-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
                    let _ = stream.write_all(&[head.as_bytes(), &bomb].concat()).await;
                    continue;
                }
                _ => format!("{head}transfer-encoding: chunked\r\n\r\n"),
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                continue;
            }
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            // Without end, until the reader has had enough.
            while kind != "deep" && stream.write_all(chunk.as_bytes()).await.is_ok() {}
        }
    });
    url
}

/// 64 MiB of spaces, in some 64 KB.
fn bomb() -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = gzip.stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        let spaces = " ".repeat(1 << 20);
        for _ in 0..64 {
            std::io::Write::write_all(&mut input, spaces.as_bytes()).unwrap();
        }
    });
    let output = gzip.wait_with_output().unwrap();
    writing.join().unwrap();
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_ends_unpacks_or_nests_is_no_contact() {
    for (kind, expected) in [
        ("endless", "longer than 1048576 bytes"),
        ("bomb", "longer than 1048576 bytes"),
        ("mislabelled", "gzip"),
        ("deep", "not JSON"),
    ] {
        let cloud = exhausting(kind).await;
        let site = Site::start(Engine::Sqlite, &cloud, &[]).await;
        let (status, answer) = site.activate(KEY).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{kind}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{kind}: {detail}");
        assert_eq!(site.get("/livez").await.0, StatusCode::OK);
        site.end().await;
    }
}
