//! Forward authentication over gRPC, as Envoy speaks it: messages are written and
//! read by the numbers of their fields.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::database::Engine;
use crate::gates::process::free_port;
use crate::harness::{KEY, Site};
use crate::scripted_cloud::ScriptedCloud;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const ROUTES: &str = r#"
[[route]]
path = "/api/analytics/**"
feature = "module.analytics_advanced"

[[route]]
path = "/api/alarms/**"
methods = ["POST"]
feature = "module.alarm_advanced"

[[route]]
path = "/caf/**"
feature = "module.alarm_advanced"
"#;

struct Gate {
    site: Site,
    url: String,
    http: reqwest::Client,
    _directory: tempfile::TempDir,
}

/// A licensed site; it has analytics and the map, and no alarms.
async fn gate(routes: Option<&str>) -> Gate {
    let gate = unlicensed(routes).await;
    gate.site.activate(KEY).await;
    gate
}

async fn unlicensed(routes: Option<&str>) -> Gate {
    let cloud = ScriptedCloud::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routes.toml");
    std::fs::write(&file, routes.unwrap_or_default()).unwrap();
    let (file, port) = (file.display().to_string(), free_port().to_string());
    let mut flags = vec!["--ext-authz-port", port.as_str()];
    if routes.is_some() {
        flags.extend(["--gate-routes", file.as_str()]);
    }
    let site = Site::start(Engine::Sqlite, &cloud.url, &flags).await;
    let http = reqwest::Client::builder().no_proxy();
    Gate {
        site,
        url: format!("http://127.0.0.1:{port}"),
        http: http.http2_prior_knowledge().build().unwrap(),
        _directory: directory,
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn field(number: usize, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [
        varint(number << 3 | 2),
        varint(content.len()),
        content.to_vec(),
    ]
    .concat()
}

fn entry(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [field(1, key), field(2, value)].concat()
}

/// What Envoy says of a request.
#[derive(Clone, Default)]
struct Asked<'a> {
    method: &'a str,
    path: &'a [u8],
    raw_paths: Vec<&'a [u8]>,
    headers: Vec<(&'a str, &'a str)>,
    feature: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(method: &'a str, path: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self {
            method,
            path: path.as_ref(),
            ..Self::default()
        }
    }

    fn message(&self) -> Vec<u8> {
        let mut http = [field(2, self.method), field(4, self.path)].concat();
        for (name, value) in &self.headers {
            http.extend(field(3, entry(name, value)));
        }
        let raw: Vec<Vec<u8>> = self
            .raw_paths
            .iter()
            .map(|path| field(1, [field(1, ":path"), field(3, path)].concat()))
            .collect();
        if !raw.is_empty() {
            http.extend(field(13, raw.concat()));
        }
        let extensions = self.feature.map(|key| field(10, entry("feature", key)));
        let attributes = [field(4, field(2, http)), extensions.unwrap_or_default()].concat();
        field(1, attributes)
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The values of a field: the contents of texts and messages, or a number.
fn values(message: &[u8], number: usize) -> Vec<Vec<u8>> {
    let read_varint = |at: &mut usize| {
        let (mut value, mut shift) = (0usize, 0);
        loop {
            let byte = message[*at];
            *at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    let (mut at, mut found) = (0, Vec::new());
    while at < message.len() {
        let tag = read_varint(&mut at);
        let value = match tag & 7 {
            0 => read_varint(&mut at).to_string().into_bytes(),
            2 => {
                let length = read_varint(&mut at);
                at += length;
                message[at - length..at].to_vec()
            }
            other => panic!("wire type {other}"),
        };
        if tag >> 3 == number {
            found.push(value);
        }
    }
    found
}

fn texts(message: &[u8], number: usize) -> Vec<String> {
    let values = values(message, number).into_iter();
    values.map(|it| String::from_utf8(it).unwrap()).collect()
}

fn first(message: &[u8], number: usize) -> Vec<u8> {
    values(message, number)
        .into_iter()
        .next()
        .unwrap_or_default()
}

fn text(message: &[u8], number: usize) -> String {
    String::from_utf8(first(message, number)).unwrap()
}

/// A `CheckResponse`.
#[derive(Debug)]
struct Answer {
    code: String,
    /// The status that the visitor gets, 200 where the request passes.
    status: String,
    headers: BTreeMap<String, String>,
    removed: Vec<String>,
    body: String,
    metadata: BTreeMap<String, String>,
}

impl Answer {
    fn read(message: &[u8]) -> Self {
        let (denied, ok) = (first(message, 2), first(message, 3));
        assert!(denied.is_empty() != ok.is_empty(), "one of two");
        let mut headers = BTreeMap::new();
        for option in [values(&denied, 2), values(&ok, 2)].concat() {
            assert_eq!(text(&option, 3), "2", "it replaces what there is");
            let header = first(&option, 1);
            headers.insert(text(&header, 1), text(&header, 2));
        }
        let entries = values(&first(message, 4), 1);
        let metadata = entries.iter().map(|entry| {
            let value = first(entry, 2);
            (text(entry, 1), text(&value, 3) + &text(&value, 4))
        });
        Self {
            code: text(&first(message, 1), 1),
            status: match denied.is_empty() {
                true => "200".to_owned(),
                false => text(&first(&denied, 1), 1),
            },
            headers,
            removed: texts(&ok, 5),
            body: text(&denied, 3),
            metadata: metadata.collect(),
        }
    }

    fn reason(&self) -> &str {
        &self.headers["x-license-reason"]
    }
}

impl Gate {
    async fn send(&self, path: &str, body: Vec<u8>) -> reqwest::Response {
        let request = self.http.post(format!("{}{path}", self.url)).body(body);
        let request = request.header("content-type", "application/grpc");
        request.header("te", "trailers").send().await.unwrap()
    }

    async fn ask(&self, asked: &Asked<'_>) -> Answer {
        let response = self.send(CHECK, framed(&asked.message())).await;
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let body = response.bytes().await.unwrap();
        Answer::read(&body[5..])
    }

    /// The status and the reason.
    async fn short(&self, asked: &Asked<'_>) -> (String, String) {
        let answer = self.ask(asked).await;
        (answer.status.clone(), answer.reason().to_owned())
    }
}

fn pair(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_is_answered_as_over_http() {
    let gate = gate(None).await;
    let long = "x".repeat(401);
    for (feature, status, reason) in [
        ("module.map_view", "200", "licensed"),
        ("module.live_view", "200", "core"),
        ("module.alarm_advanced", "403", "not_in_license"),
        ("module.nope", "403", "not_in_license"),
        ("", "403", "not_in_license"),
        ("module.map_view ", "403", "not_in_license"),
        (&long, "400", "bad_feature"),
    ] {
        let asked = Asked {
            feature: Some(feature),
            ..Asked::of("GET", "/x/../y%zz")
        };
        let answer = gate.ask(&asked).await;
        assert_eq!(answer.status, status, "{feature}: {answer:?}");
        assert_eq!(answer.reason(), reason, "{feature}");
        assert_eq!(answer.headers["x-license-tier"], "professional");
        assert_eq!(answer.metadata["reason"], reason);
        let allowed = status == "200";
        assert_eq!(answer.metadata["allowed"], if allowed { "1" } else { "0" });
        let named = answer.metadata.get("feature").map(String::as_str);
        assert_eq!(named, (reason != "bad_feature").then_some(feature));
        if allowed {
            assert_eq!((answer.code.as_str(), answer.body.as_str()), ("", ""));
            continue;
        }
        assert_eq!(answer.code, "7");
        assert_eq!(answer.headers["content-type"], "application/json");
        let feature = feature.replace(' ', "%20");
        let path = format!("/api/license/authorize?feature={feature}");
        let request = gate.site.http.get(format!("{}{path}", gate.site.url));
        let over_http = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(answer.body, over_http, "{feature}");
    }
    let nothing = gate.short(&Asked::of("GET", "/x")).await;
    assert_eq!(nothing, pair("403", "no_table"));
    // No request of a visitor is there: Envoy asks about a connection.
    let tcp = framed(&field(1, field(10, entry("feature", "module.map_view"))));
    let body = gate.send(CHECK, tcp).await.bytes().await.unwrap();
    assert_eq!(Answer::read(&body[5..]).reason(), "licensed");
    let body = gate.send(CHECK, framed(b"")).await.bytes().await.unwrap();
    assert_eq!(Answer::read(&body[5..]).reason(), "no_feature");
    // An unlicensed site has no tier.
    gate.site.end().await;
    let unlicensed = unlicensed(None).await;
    let core = Asked {
        feature: Some("module.live_view"),
        ..Asked::default()
    };
    let answer = unlicensed.ask(&core).await;
    assert_eq!((answer.status.as_str(), answer.reason()), ("200", "core"));
    // What a visitor claims is not left in its place.
    assert_eq!(answer.removed, ["x-license-tier"]);
    unlicensed.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_is_looked_up_with_its_method_and_the_strictest_counts() {
    let gate = gate(Some(ROUTES)).await;
    for (method, path, status, reason) in [
        ("GET", "/api/analytics/heat?x=1", "200", "licensed"),
        ("GET", "/api/alarms/7", "200", "no_feature_needed"),
        ("POST", "/api/alarms/7", "403", "not_in_license"),
        ("post", "/api/alarms/7", "403", "not_in_license"),
        ("", "/api/alarms/7", "403", "not_in_license"),
        ("P ST", "/api/alarms/7", "403", "not_in_license"),
        (
            "GET",
            "/open?feature=module.nope",
            "200",
            "no_feature_needed",
        ),
        ("POST", "/open/..%2fapi/alarms/7", "400", "bad_path"),
        ("POST", "//api/alarms/7", "400", "bad_path"),
        ("GET", "/a\\b", "400", "bad_path"),
        ("CONNECT", "", "400", "bad_path"),
        ("OPTIONS", "*", "400", "bad_path"),
        ("GET", "https://vms.example/open", "400", "bad_path"),
    ] {
        let short = gate.short(&Asked::of(method, path)).await;
        // Doubled slashes are read both ways by services.
        let is_odd = path.starts_with("//") && short.1 == "not_in_license";
        assert!(
            is_odd || short == pair(status, reason),
            "{method} {path}: {short:?}"
        );
    }
    let long = format!("/{}", "a".repeat(9_000));
    let short = gate.short(&Asked::of("GET", &long)).await;
    assert_eq!(short, pair("400", "bad_path"));
    // All headers are under the visitor's control.
    for header in [
        ("x-license-feature", "module.live_view"),
        ("x-license-feature", "module.nope"),
        ("x-forwarded-uri", "/open"),
        ("x-forwarded-method", "GET"),
        ("x-original-uri", "/api/alarms/7"),
        ("x-original-url", "https://vms.example/open"),
        ("x-original-method", "GET"),
        (":path", "/open"),
        (":method", "GET"),
    ] {
        for (path, expected) in [
            ("/api/alarms/7", pair("403", "not_in_license")),
            ("/api/analytics/1", pair("200", "licensed")),
        ] {
            let asked = Asked {
                headers: vec![header],
                ..Asked::of("POST", path)
            };
            assert_eq!(gate.short(&asked).await, expected, "{header:?} {path}");
        }
    }
    for (feature, path, expected) in [
        (
            "module.map_view",
            "/api/alarms/7",
            pair("403", "not_in_license"),
        ),
        ("module.nope", "/open", pair("403", "not_in_license")),
        ("module.map_view", "/open", pair("200", "no_feature_needed")),
    ] {
        let asked = Asked {
            feature: Some(feature),
            ..Asked::of("POST", path)
        };
        assert_eq!(gate.short(&asked).await, expected, "{feature} {path}");
    }
    gate.site.end().await;
}

/// Envoy writes `!` for bytes that are not UTF-8, unless it sends raw headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_utf_8_hide_no_path() {
    let gate = gate(Some(ROUTES)).await;
    for (path, reason) in [
        ("/files/caf!/x", "no_feature_needed"),
        ("/hello!", "no_feature_needed"),
        ("/caf!/x", "bad_path"),
        ("/a!pi/alarms/7", "bad_path"),
        ("/api/alarms!/7", "bad_path"),
        ("/api/analytics/hello!", "licensed"),
    ] {
        let answer = gate.ask(&Asked::of("POST", path)).await;
        assert_eq!(answer.reason(), reason, "{path}");
    }
    // The raw path is the truth, and then a '!' is one.
    for (raw, reason) in [
        (&b"/caf!/x"[..], "no_feature_needed"),
        (b"/caf\xe9/x", "bad_path"),
        (b"/a\xffpi/alarms/7", "bad_path"),
        (b"/files/caf\xe9/x", "no_feature_needed"),
        (b"/api/alarms/7", "not_in_license"),
    ] {
        let asked = Asked {
            raw_paths: vec![raw],
            ..Asked::of("POST", "/caf!/x")
        };
        assert_eq!(gate.ask(&asked).await.reason(), reason, "{raw:?}");
    }
    let twice = Asked {
        raw_paths: vec![b"/open", b"/open"],
        ..Asked::of("POST", "/open")
    };
    assert_eq!(gate.ask(&twice).await.reason(), "bad_path");
    gate.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_question_is_answered_in_the_terms_of_grpc() {
    let gate = gate(None).await;
    let question = |bytes: usize| {
        let padding = field(3, entry("x", "y".repeat(bytes)));
        framed(&field(1, field(4, field(2, padding))))
    };
    let answer = gate.send(CHECK, question(60 * 1024)).await;
    assert!(answer.headers().get("grpc-status").is_none(), "{answer:?}");
    let compressed = [&[1, 0, 0, 0, 1], &b"x"[..]].concat();
    let cut = framed(&field(1, "")[..1]);
    for (path, body, status) in [
        (CHECK, question(65 * 1024), "8"),
        (CHECK, question(1024 * 1024), "8"),
        (CHECK, compressed, "13"),
        (CHECK, cut, "13"),
        (
            "/envoy.service.auth.v2.Authorization/Check",
            framed(b""),
            "12",
        ),
        ("/api/license/status", framed(b""), "12"),
        ("/", Vec::new(), "12"),
    ] {
        let answer = gate.send(path, body).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["grpc-status"], status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
    }
    let get = gate.http.get(format!("{}{CHECK}", gate.url));
    assert_eq!(get.send().await.unwrap().headers()["grpc-status"], "12");
    let http1 = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(http1.get(&gate.url).send().await.is_err());
    gate.site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_off_unless_there_is_a_port_which_has_to_be_free() {
    let cloud = ScriptedCloud::start().await;
    let site = Site::start(Engine::Sqlite, &cloud.url, &[]).await;
    assert_eq!(site.settings().ext_authz_port, None);
    let question = site.http.post(format!("{}{CHECK}", site.url));
    let question = question
        .header("content-type", "application/grpc")
        .body(framed(b""));
    assert_eq!(question.send().await.unwrap().status(), 404);
    site.end().await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(crate::PROGRAM)
        .args(["serve", "--port", "0", "--ext-authz-port", &port])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!("cannot listen on 127.0.0.1:{port}");
    assert!(
        said.contains(&expected) && said.contains("EXT_AUTHZ_PORT"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_both_ports_count_and_end_with_the_service() {
    let gate = gate(None).await;
    let core = Asked {
        feature: Some("module.live_view"),
        ..Asked::default()
    };
    let open = || async {
        let url = format!("{}/metrics", gate.site.url);
        let response = gate.site.http.get(url).send().await.unwrap();
        let text = response.text().await.unwrap();
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("foxsight_license_connections "));
        let number = line.and_then(|line| line.rsplit(' ').next()).unwrap();
        number.trim_end_matches(".0").parse::<u64>().unwrap()
    };
    // Connections of the start may end in the meantime.
    let mut before = open().await;
    let mut steady = 0;
    while steady < 5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = open().await;
        steady = if now == before { steady + 1 } else { 0 };
        before = now;
    }
    gate.ask(&core).await;
    assert_eq!(open().await, before + 1);
    // It stops within 10 s, although the connection of the gateway is open.
    let url = gate.url.clone();
    gate.site.end().await;
    assert!(gate.http.post(url).send().await.is_err());
}
