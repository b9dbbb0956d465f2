//! Questions that are answered before the router get the same answers as those that the router
//! answers, in any form.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use reqwest::{Method, RequestBuilder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::database::Engine;
use crate::harness::{KEY, Site};
use crate::raw_http::{connect, read_head, short_body_limits, short_limits};
use crate::scripted_cloud::{Scripted, ScriptedCloud};

const CHECK: &str = "/api/license/feature/check";
const CHECK_MANY: &str = "/api/license/features/check";
const FLAGS: &str = "/ofrep/v1/evaluate/flags";
const STATUS: &str = "/api/license/status";

/// Only the router answers with this header.
const BY_ROUTER: &str = "x-request-id";

/// Status, headers and body, and whether the router answered.
async fn answer(request: RequestBuilder) -> ((u16, BTreeMap<String, Vec<u8>>, String), bool) {
    let response = request.send().await.unwrap();
    let is_routed = response.headers().contains_key(BY_ROUTER);
    let headers = response.headers().iter();
    let headers = headers.filter(|(name, _)| !["date", BY_ROUTER].contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let headers = headers.collect();
    let status = response.status().as_u16();
    ((status, headers, response.text().await.unwrap()), is_routed)
}

/// The question is answered in the same way on both ways, and before the router if
/// `is_direct`.
async fn same_on_both_ways(
    site: &Site,
    (method, path): (Method, &str),
    (headers, body): (&[(&str, &str)], &[u8]),
    is_direct: bool,
) {
    let ask = || {
        let mut request = site
            .http
            .request(method.clone(), format!("{}{path}", site.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method == Method::POST {
            request = request.body(body.to_vec());
        }
        request
    };
    let question = format!(
        "{method} {path} {headers:?} {}",
        String::from_utf8_lossy(body)
    );
    // A request with an id goes to the router.
    let (routed, is_routed) = answer(ask().header(BY_ROUTER, "an-id-as-long-16")).await;
    assert!(is_routed, "{question}");
    let (mut asked, is_routed) = answer(ask()).await;
    assert_eq!(is_routed, !is_direct, "{question}");
    if routed.2.contains("requestId") {
        // A random one.
        asked.2 = routed.2.clone();
    }
    assert_eq!(asked, routed, "{question}");
}

/// Bodies for [`CHECK`], and which of them are answered directly.
fn bodies() -> Vec<(Vec<u8>, bool)> {
    let deep = format!(
        "{{\"featureKey\":\"a\",\"x\":{}{}}}",
        "[".repeat(200),
        "]".repeat(200)
    );
    let long = format!("{{\"featureKey\":\"{}\"}}", "x".repeat(4100));
    let many = format!("{{\"featureKeys\":[{}\"a\"]}}", "\"a\",".repeat(1000));
    let mut bodies: Vec<(Vec<u8>, bool)> = [
        r#"{"featureKey":"module.map_view"}"#,
        r#" { "featureKey" : "module.alarm_advanced" } "#,
        r#"{"featureKey":"core.recording"}"#,
        r#"{"featureKey":"module.l\u0069ve_view"}"#,
        r#"{"featureKey":"a \" \\ \n ä 門 \ud83d\ude00 \u2028"}"#,
        r#"{"featureKey":""}"#,
    ]
    .map(|body| (body.as_bytes().to_vec(), true))
    .into();
    bodies.extend(
        [
            "",
            "{}",
            "null",
            r#"["module.map_view"]"#,
            r#"{"featureKey":null}"#,
            r#"{"featureKey":1}"#,
            r#"{"featureKey":["a"]}"#,
            r#"{"featureKey":"a\u0000"}"#,
            r#"{"featureKey":"\ud800"}"#,
            r#"{"featureKey":"a","featureKey":"module.map_view"}"#,
            r#"{"featureKey":"a","other":1}"#,
            r#"{"featureKey":"a"} x"#,
            r#"{"featureKey":"a",}"#,
            "{\"featureKey\":\"a\n\"}",
            "\u{feff}{\"featureKey\":\"module.map_view\"}",
            &deep,
            &long,
            &many,
        ]
        .map(|body| (body.as_bytes().to_vec(), false)),
    );
    bodies.push((b"{\"featureKey\":\"\xff\"}".to_vec(), false));
    bodies
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn all_questions(site: &Site) {
    questions_about_features(site).await;
    headers_of_questions(site).await;
    questions_of_openfeature(site).await;
    questions_about_the_status(site).await;
}

async fn questions_about_features(site: &Site) {
    for (body, is_direct) in bodies() {
        same_on_both_ways(site, (Method::POST, CHECK), (&JSON, &body), is_direct).await;
        // A list with the same text, and with another one.
        let Ok(text) = String::from_utf8(body) else {
            continue;
        };
        let list = text
            .replace("\"featureKey\":\"", "\"featureKeys\":[\"")
            .replace("\"featureKey\" : ", "\"featureKeys\":[")
            .replacen("\"}", "\",\"module.live_view\"]}", 1)
            .replacen("\" }", "\"]}", 1);
        let list = (&JSON[..], list.as_bytes());
        same_on_both_ways(site, (Method::POST, CHECK_MANY), list, is_direct).await;
    }
    same_on_both_ways(site, (Method::GET, CHECK), (&[], b""), false).await;
}

async fn headers_of_questions(site: &Site) {
    let check = br#"{"featureKey":"module.map_view"}"#;
    for (headers, is_direct) in [
        (&[][..], true),
        (&[("content-type", "application/json; charset=utf-8")], true),
        (&[("content-type", "application/x+json")], true),
        (&[("content-type", "text/plain")], false),
        (&[("origin", "https://evil.example")], false),
        (&[("sec-fetch-site", "cross-site")], false),
        (&[("cookie", "a=b")], false),
        (&[("host", "evil.example")], false),
        (&[("host", "localhost.")], true),
        (&[("host", "")], false),
        (&[("authorization", "Bearer wrong")], true),
        (
            &[(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )],
            true,
        ),
        (&[("x-forwarded-for", "192.0.2.1")], true),
    ] {
        let question = (Method::POST, CHECK);
        same_on_both_ways(site, question, (headers, check), is_direct).await;
    }
}

async fn questions_of_openfeature(site: &Site) {
    let contexts: [(&[u8], bool); 8] = [
        (br#"{"context":{}}"#, true),
        (
            br#"{"context":{"targetingKey":"a","n":[1,-2.5e300,null,true]}}"#,
            true,
        ),
        (b"", false),
        (b"{}", false),
        (br#"{"context":null}"#, false),
        (br#"{"context":[]}"#, false),
        (br#"{"context":{},"more":1}"#, false),
        (br#"{"context":{"a":"\ud800"}}"#, false),
    ];
    for (body, is_direct) in contexts {
        for (flag, is_known) in [
            ("", true),
            ("/module.map_view", true),
            ("/limit.cameras", true),
            ("/limit.storage_gb", true),
            ("/module.none", false),
            ("/module%2emap_view", false),
            ("/module.map_view/x", false),
            ("/", false),
        ] {
            let path = format!("{FLAGS}{flag}");
            let question = (Method::POST, &*path);
            same_on_both_ways(site, question, (&JSON, body), is_direct && is_known).await;
        }
    }
    let (_, flags) = site
        .post(FLAGS, Some(serde_json::json!({"context": {}})))
        .await;
    assert!(!flags["flags"].as_array().unwrap().is_empty());
    for tag in ["*", "\"other\"", "W/\"x\", *"] {
        let headers = [JSON[0], ("if-none-match", tag)];
        let question = (Method::POST, FLAGS);
        same_on_both_ways(site, question, (&headers, br#"{"context":{}}"#), true).await;
    }
}

async fn questions_about_the_status(site: &Site) {
    for (headers, is_direct) in [
        (&[][..], true),
        (&[("x-forwarded-for", "192.0.2.1")], true),
        (&[("authorization", "Bearer wrong")], true),
        (&[("cookie", "license_session=x")], false),
        (&[("host", "evil.example")], false),
    ] {
        same_on_both_ways(site, (Method::GET, STATUS), (headers, b""), is_direct).await;
    }
    same_on_both_ways(site, (Method::HEAD, STATUS), (&[], b""), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_has_one_answer_on_both_ways_in_every_standing() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(
        Engine::Sqlite,
        &cloud.url,
        &["--trusted-networks", "loopback"],
    )
    .await;
    assert_eq!(site.standing().await, "unlicensed");
    all_questions(&site).await;
    site.activate(KEY).await;
    assert_eq!(site.standing().await, "active");
    all_questions(&site).await;
    cloud.always(Some(Scripted::new(503, "")));
    site.advance(TimeDelta::hours(30));
    site.validate().await;
    assert_eq!(site.standing().await, "grace");
    all_questions(&site).await;
    site.advance(TimeDelta::hours(80));
    site.validate().await;
    assert_eq!(site.standing().await, "lapsed");
    all_questions(&site).await;
    site.end().await;
}

/// Reads answers until there are this many.
async fn read_answers(stream: &mut tokio::net::TcpStream, count: usize) -> String {
    let mut text = String::new();
    while text.matches("\"reason\"").count() < count {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "{text}");
        text.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_in_any_pieces_are_answered_once_and_in_order() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    let question = |key: &str| {
        let body = format!("{{\"featureKey\":\"{key}\"}}");
        format!(
            "POST {CHECK} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    // All in one write.
    let mut stream = connect(&site.url).await;
    let keys = ["one", "two", "three", "four"];
    let all: String = keys.map(question).concat();
    stream.write_all(all.as_bytes()).await.unwrap();
    let answers = read_answers(&mut stream, keys.len()).await;
    let places = keys.map(|key| answers.find(&format!("\"{key}\"")).unwrap());
    assert!(places.is_sorted(), "{answers}");
    // Cut at every byte.
    let whole = question("five");
    for cut in 1..whole.len() {
        let (first, rest) = whole.split_at(cut);
        stream.write_all(first.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // The pieces arrive one after the other.
        tokio::time::sleep(Duration::from_millis(1)).await;
        stream.write_all(rest.as_bytes()).await.unwrap();
        let answer = read_answers(&mut stream, 1).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{cut}: {answer}");
        assert_eq!(answer.matches("\"five\"").count(), 1, "{cut}: {answer}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_not_waited_for_longer_than_by_the_router() {
    let cloud = ScriptedCloud::start().await;
    let (limits, bodies) = (short_limits(), short_body_limits());
    let site = Site::start_within(Engine::Sqlite, &cloud.url, &[], limits, bodies).await;
    let long = format!("x: {}\r\n", "x".repeat(9 * 1024));
    let flag = format!("{FLAGS}/module.map_view");
    let mut waits = Vec::new();
    for path in [CHECK, CHECK_MANY, FLAGS, &flag] {
        for header in ["", &long] {
            for is_first in [true, false] {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: localhost\r\n{header}content-length: 9\r\n\r\n"
                );
                let mut stream = connect(&site.url).await;
                waits.push(async move {
                    if !is_first {
                        let whole = head.replace("content-length: 9", "content-length: 0");
                        stream.write_all(whole.as_bytes()).await.unwrap();
                        read_head(&mut stream).await;
                    }
                    stream.write_all(head.as_bytes()).await.unwrap();
                    let mut answer = Vec::new();
                    let read = stream.read_to_end(&mut answer);
                    // Until the connection is closed.
                    tokio::time::timeout(Duration::from_secs(8), read)
                        .await
                        .unwrap()
                        .unwrap();
                    String::from_utf8(answer).unwrap()
                });
            }
        }
    }
    for answer in futures_util::future::join_all(waits).await {
        assert!(answer.contains("HTTP/1.1 408 "), "{answer}");
    }
    site.end().await;
}
