//! The maximum cost of a request: expensive paths, queries, headers and bodies, on every open
//! route of the License Client and of the License Server. Heads have the maximum size of both
//! services, and bodies that of the route.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::programs::{Program, license_client, license_server};
use crate::program::{cargo, step};

/// Size of a request head in bytes: the maximum of both services.
const SIZE: usize = 64 * 1024;
/// Maximum body size of most routes, in bytes …
const BODY_SIZE: usize = 8 * 1024;
/// … and of routes with large bodies.
const LONG_BODY_SIZE: usize = 64 * 1024;
/// Requests per measurement.
const REQUESTS: u32 = 100;
/// Maximum CPU time of a gateway check or a probe, in µs.
const MAX_GATE_US: f64 = 200.0;
/// Maximum CPU time of any other open route, in µs.
const MAX_OPEN_US: f64 = 2_000.0;
/// Routes in the table, with two patterns each.
const ROUTES: u32 = 1_000;
/// Parts of paths that are expensive to read.
const ODD: [&str; 32] = [
    "a",
    "/",
    "a/",
    "../",
    "%2e%2e/",
    "%2f",
    "%252f",
    "%25252f",
    ";",
    "a;",
    "%5c",
    "%zz",
    "%E9",
    "%c0%af",
    "%u002f",
    "%23",
    "%41",
    "%2541",
    "%E9%97%A8",
    "\u{95e8}",
    "..%2f",
    "..;/",
    "%2f;%5c/",
    "/a;x//b/../%2e%2e/c%2f%252e",
    "p1%zz/",
    "p1",
    "%",
    "%2",
    "a%/",
    ".%ff./",
    "/p10;/../p11;x/",
    "#",
];

/// A request and its maximum cost.
struct Case {
    name: String,
    max_us: f64,
    request: Vec<u8>,
}

pub(super) fn run() -> Result<()> {
    let build = ["build", "--release", "--locked", "--bins"];
    let packages = ["-p", "license-client", "-p", "license-server"];
    step("release build", cargo(&build).args(packages))?;
    let directory = tempfile::tempdir()?;
    let table = directory.path().join("routes.toml");
    std::fs::write(&table, routes())?;
    let table = table.display().to_string();
    let with_table = license_client(&directory.path().join("a"), &["--gate-routes", &table])?;
    let without = license_client(&directory.path().join("b"), &[])?;
    let server = license_server(&directory.path().join("c"))?;
    let mut over = Vec::new();
    for (client, group, cases) in [
        (&with_table, "gateway, with a table", gateway()),
        (&without, "gateway, without a table", gateway()),
        (&without, "probes", probes()),
        (&without, "other open routes", open()),
        (&server, "License Server", server_routes()),
    ] {
        let mut measured = Vec::new();
        for case in cases {
            let cpu_us = measure(client, &case.request)?;
            if cpu_us > case.max_us {
                over.push(format!("{group}: {} takes {cpu_us:.0} µs", case.name));
            }
            measured.push((cpu_us, case.name));
        }
        measured.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("{group}: {} requests, the most expensive", measured.len());
        for (cpu_us, name) in measured.iter().take(8) {
            println!("  {cpu_us:>7.1} µs  {name}");
        }
    }
    if !over.is_empty() {
        bail!("over the limit:\n{}", over.join("\n"));
    }
    Ok(())
}

fn routes() -> String {
    let mut table = String::new();
    for n in 0..ROUTES {
        for pattern in [format!("/api/v{}/part-{n}/**", n % 7), format!("/p{n}/*/x")] {
            let _ = writeln!(
                table,
                "[[route]]\npath = \"{pattern}\"\nmethods = [\"GET\"]\nfeature = \"f{n}\""
            );
        }
    }
    table.push_str("[[route]]\npath = \"/*/*/*/export\"\nfeature = \"export\"\n");
    table
}

/// `text` repeated to `length` bytes.
fn fill(text: &str, length: usize) -> Vec<u8> {
    text.bytes().cycle().take(length).collect()
}

/// A request with these headers and an optional body.
fn request(method: &str, target: &[u8], headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut request = [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"].concat();
    request.extend_from_slice(b"Host: localhost\r\n");
    if headers.iter().all(|(name, _)| *name != "Content-Type") {
        request.extend_from_slice(b"Content-Type: application/json\r\n");
    }
    for (name, value) in headers {
        request.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    let length = format!("Content-Length: {}\r\n\r\n", body.len());
    [&request, length.as_bytes(), body].concat()
}

fn gateway() -> Vec<Case> {
    const PATH: &[u8] = b"/api/license/authorize";
    let mut cases = Vec::new();
    let mut add = |name: String, target: &[u8], headers: &[(&str, &[u8])]| {
        cases.push(Case {
            name,
            max_us: MAX_GATE_US,
            request: request("GET", target, headers, b""),
        });
    };
    let room = SIZE - 200;
    for odd in ODD {
        for length in [40, 120, 400, 1_300, 3_900, room] {
            let path = [b"/", &*fill(odd, length)].concat();
            let shown = format!("'{odd}' for {length} bytes");
            add(
                format!("path of {shown}"),
                PATH,
                &[("X-Original-URI", &path)],
            );
            if length <= room / 3 {
                let both = [("X-Original-URI", &*path), ("X-Forwarded-Uri", &*path)];
                let is_target = !odd.contains(['#', '\u{95e8}']);
                let below = if is_target {
                    [PATH, &path].concat()
                } else {
                    PATH.to_vec()
                };
                add(format!("three paths of {shown}"), &below, &both);
            }
        }
    }
    for odd in [
        "&",
        "feature=x&",
        "f%65ature=x&",
        "a=%zz&",
        "feature=%E9",
        "+",
    ] {
        let query = [PATH, b"?", &*fill(odd, room)].concat();
        let mirrored = [b"/?", &*fill(odd, room / 2)].concat();
        add(format!("query of '{odd}'"), &query, &[]);
        let query = [PATH, b"?", &*fill(odd, room / 2)].concat();
        add(
            format!("mirrored query of '{odd}'"),
            &query,
            &[("X-Original-URI", &mirrored)],
        );
    }
    let feature = fill("x", room);
    add(
        "long feature".to_owned(),
        PATH,
        &[("X-License-Feature", &feature)],
    );
    for (name, count) in [
        ("X-Original-URI", 90),
        ("X-License-Feature", 90),
        ("A", 99),
        ("A", 800),
    ] {
        let headers = vec![(name, &b"/"[..]); count];
        add(format!("{count} headers {name}"), PATH, &headers);
    }
    let long = fill("GET,", room);
    let headers = [
        ("X-Original-URI", &b"/p1/a/x"[..]),
        ("X-Original-Method", &*long),
    ];
    add("long method".to_owned(), PATH, &headers);
    add(
        "plain path".to_owned(),
        PATH,
        &[("X-Original-URI", b"/p1/a/x")],
    );
    add(
        "feature".to_owned(),
        b"/api/license/authorize?feature=module.map_view",
        &[],
    );
    cases
}

/// Request heads of the maximum size, on a path.
fn heads(method: &str, path: &str, body: &[u8], max_us: f64) -> Vec<Case> {
    let room = SIZE - 200;
    let long = fill("a=b; license_session=x, W/\"y\", ", room);
    let commas = fill(",", room);
    let ranges = fill("text/plain;version=1;q=0.5,", room);
    let parameters = fill(";", room);
    // Every cookie that may be a session is compared by its hash.
    let name = "a".repeat(43);
    let of_client = fill(&format!("license_session={name};"), room);
    let of_server = fill(&format!("license_server_session={name}.{name};"), room);
    let many = vec![("A", &b"b"[..]); 95];
    let lines = vec![("Accept", &commas[..room / 95]); 90];
    [
        ("plain", vec![], ""),
        ("long cookie", vec![("Cookie", &*long)], ""),
        ("long ETag", vec![("If-None-Match", &*long)], ""),
        ("long token", vec![("Authorization", &*long)], ""),
        ("long forwarding", vec![("X-Forwarded-For", &*long)], ""),
        ("long origin", vec![("Origin", &*long)], ""),
        ("Accept of commas", vec![("Accept", &*commas)], ""),
        ("Accept of ranges", vec![("Accept", &*ranges)], ""),
        ("Accept of parameters", vec![("Accept", &*parameters)], ""),
        ("Accept in 90 lines", lines, ""),
        ("ETags of commas", vec![("If-None-Match", &*commas)], ""),
        (
            "forwarding of commas",
            vec![("X-Forwarded-For", &*commas)],
            "",
        ),
        ("cookies of semicolons", vec![("Cookie", &*parameters)], ""),
        ("cookies of sessions", vec![("Cookie", &*of_client)], ""),
        ("cookies of staff", vec![("Cookie", &*of_server)], ""),
        ("95 headers", many, ""),
        ("query of 'limit=1&'", vec![], "limit=1&"),
        ("query of '%zz'", vec![], "%zz"),
    ]
    .into_iter()
    .map(|(name, headers, query)| {
        let target = match query {
            "" => path.as_bytes().to_vec(),
            query => [path.as_bytes(), b"?", &*fill(query, room)].concat(),
        };
        Case {
            name: format!("{method} {path}: {name}"),
            max_us,
            request: request(method, &target, &headers, body),
        }
    })
    .collect()
}

fn probes() -> Vec<Case> {
    let paths = ["/health", "/livez", "/readyz"];
    let cases = paths.map(|path| heads("GET", path, b"", MAX_GATE_US));
    cases.into_iter().flatten().collect()
}

fn open() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/api/license/status",
        "/api/license/features",
        "/api/license/attempts",
        "/api/license/hardware",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/nowhere",
        "/",
    ] {
        cases.extend(heads("GET", path, b"", MAX_OPEN_US));
    }
    let one = br#"{"featureKey":"x","resource":"cameras","context":{}}"#;
    for (path, size) in [
        ("/api/license/feature/check", BODY_SIZE),
        ("/api/license/features/check", LONG_BODY_SIZE),
        ("/api/license/limits/check", BODY_SIZE),
        ("/ofrep/v1/evaluate/flags", BODY_SIZE),
        ("/ofrep/v1/evaluate/flags/module.map_view", BODY_SIZE),
    ] {
        cases.extend(heads("POST", path, one, MAX_OPEN_US));
        cases.extend(json_bodies(path, size));
    }
    for odd in ["a&", "token=x&", "token=%zz&", "%E9=%E9&", "token=+"] {
        let body = fill(odd, BODY_SIZE);
        let form = [("Content-Type", &b"application/x-www-form-urlencoded"[..])];
        cases.push(Case {
            name: format!("POST /console/sign-in: '{odd}'"),
            max_us: MAX_OPEN_US,
            request: request("POST", b"/console/sign-in", &form, &body),
        });
    }
    for odd in ["%2f", "/", "a", "%zz", "%E9%97%A8"] {
        let path = [b"/ofrep/v1/evaluate/flags/", &*fill(odd, SIZE - 200)].concat();
        cases.push(Case {
            name: format!("POST /ofrep/v1/evaluate/flags/ and '{odd}'"),
            max_us: MAX_OPEN_US,
            request: request("POST", &path, &[], one),
        });
    }
    cases
}

/// JSON bodies of `size` bytes for a path, with the fields of all routes.
fn json_bodies(path: &str, size: usize) -> Vec<Case> {
    let wrap = |start: &str, text: &str, end: &str| {
        let room = size - start.len() - end.len();
        let times = room / text.len();
        format!("{start}{}{end}", text.repeat(times)).into_bytes()
    };
    let numbered: String = (0..size / 12).map(|n| format!("\"k{n}\":1,")).collect();
    let numbered = numbered.get(..size - 40).unwrap_or(&numbered);
    let numbered = numbered.rsplit_once(',').map_or("", |it| it.0);
    let list_of = |count: usize| {
        let key = "k".repeat(((size - 40) / count).saturating_sub(3).max(1));
        let keys = vec![format!("\"{key}\""); count.min((size - 40) / 4)];
        format!("{{\"featureKeys\":[{}]}}", keys.join(",")).into_bytes()
    };
    [
        (
            "long key",
            wrap("{\"featureKey\":\"", "x", "\",\"context\":{}}"),
        ),
        (
            "escapes",
            wrap("{\"featureKey\":\"", "\\u00e9", "\",\"context\":{}}"),
        ),
        (
            "control characters",
            wrap("{\"featureKey\":[\"", "\\u0001", "\"],\"context\":{}}"),
        ),
        ("many keys", wrap("{\"featureKeys\":[", "\"x\",", "\"x\"]}")),
        ("the most keys", list_of(1_000)),
        ("numbers for keys", wrap("{\"featureKeys\":[", "1,", "1]}")),
        ("ignored list", wrap("{\"a\":[", "1,", "1],\"context\":{}}")),
        (
            "ignored objects",
            wrap("{\"context\":{\"a\":[", "{},", "{}]}}"),
        ),
        (
            "many fields",
            format!("{{{numbered},\"context\":{{}}}}").into_bytes(),
        ),
        (
            "same field",
            wrap("{", "\"featureKey\":1,", "\"context\":{}}"),
        ),
        ("deep", wrap("", "[", "")),
        ("deep objects", wrap("", "{\"a\":", "")),
        (
            "long number",
            wrap("{\"requested\":", "9", ",\"resource\":\"cameras\"}"),
        ),
        ("lines", wrap("", "\n", "x")),
        ("not UTF-8", vec![0xff; size]),
        ("request file", request_file(size, "AAAA-")),
        ("request file of words", request_file(size, "aaaa ")),
        (
            "request file of dashes",
            wrap("{\"request\":\"", "-", "\"}"),
        ),
        (
            "request file of wide characters",
            wrap("{\"request\":\"<", "\u{ff21}", "\"}"),
        ),
        (
            "request file of entities",
            wrap("{\"request\":\"", "&ndash;", "\"}"),
        ),
        (
            "request file of tags",
            wrap("{\"request\":\"", "<a>&", "\"}"),
        ),
        // Both are read only without their markup.
        (
            "request file of members",
            armoured("<b>", &members((size - 200) / 4 * 3)),
        ),
        (
            "request file of as many members as are read",
            padded(size, armoured("<b>", &members(9_200))),
        ),
    ]
    .into_iter()
    .map(|(name, body)| Case {
        name: format!("POST {path}: {name}"),
        max_us: MAX_OPEN_US,
        request: request("POST", path.as_bytes(), &[], &body),
    })
    .collect()
}

/// A request file whose purpose is `text` repeated, in JSON.
fn request_file(size: usize, text: &str) -> Vec<u8> {
    let room = (size - 200) / 4 * 3 - 20;
    let times = room / text.len();
    armoured("", &format!("{{\"purpose\":\"{}\"}}", text.repeat(times)))
}

/// A request file with this JSON inside, and some text in the line that begins it.
fn armoured(markup: &str, json: &str) -> Vec<u8> {
    let inside = STANDARD.encode(json);
    let end = "LICENSE REQUEST-----";
    let file = format!("-----BEGIN FOXSIGHT {markup}{end}\\n{inside}\\n-----END FOXSIGHT {end}\\n");
    format!("{{\"request\":\"{file}\"}}").into_bytes()
}

/// A body of `size` bytes that begins with a JSON object and ends with a further text in it.
fn padded(size: usize, mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(body.len() - 1);
    body.extend_from_slice(b",\"more\":\"");
    body.resize(size - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

/// A JSON object of `size` bytes whose members have distinct names of two characters, in no
/// order.
fn members(size: usize) -> String {
    let letters: Vec<char> = ('#'..='~').filter(|c| *c != '\\').collect();
    let count = size / 7 - 1;
    // A prime number, so that all of them are different.
    let member = |n: usize| {
        let n = n * 7_919 % (letters.len() * letters.len());
        let (a, b) = (letters[n / letters.len()], letters[n % letters.len()]);
        format!("\"{a}{b}\":0")
    };
    let members: Vec<String> = (0..count).map(member).collect();
    format!("{{{}}}", members.join(","))
}

/// Requests to the License Server, without a license key or a token.
fn server_routes() -> Vec<Case> {
    let calls = ["activate", "validate", "heartbeat", "deactivate", "offline"];
    let bodies = calls.map(|call| json_bodies(&format!("/api/licenses/{call}"), LONG_BODY_SIZE));
    let paths = [
        "/metrics",
        "/livez",
        "/readyz",
        "/api/licenses/keys",
        "/api/admin/licenses",
        "/console/licenses",
        "/console/sign-in",
        "/openapi.json",
        "/nowhere",
        "/",
    ];
    let heads = paths.map(|path| heads("GET", path, b"", MAX_OPEN_US));
    bodies.into_iter().chain(heads).flatten().collect()
}

/// The program's CPU time per request over [`REQUESTS`], in µs.
fn measure(client: &Program, request: &[u8]) -> Result<f64> {
    let mut connection = None;
    let mut send = |times: u32| -> Result<()> {
        for _ in 0..times {
            let mut open = match connection.take() {
                Some(open) => open,
                None => connect(client.port)?,
            };
            // A refused head may be answered before it was read completely.
            let written = open.get_mut().write_all(request);
            if written.is_ok() && is_kept(&mut open).unwrap_or_default() {
                connection = Some(open);
            }
        }
        Ok(())
    };
    send(5)?;
    let before = cpu_ns(client.pid())?;
    send(REQUESTS)?;
    let spent = cpu_ns(client.pid())? - before;
    Ok(spent as f64 / f64::from(REQUESTS) / 1_000.0)
}

fn connect(port: u16) -> Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(BufReader::new(stream))
}

/// Reads a response; returns whether the connection stays open.
fn is_kept(stream: &mut BufReader<TcpStream>) -> Result<bool> {
    let (mut is_kept, mut length) = (true, None);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse::<u64>()?);
        }
        is_kept &= line != "connection: close";
    }
    let Some(length) = length else {
        return Ok(false);
    };
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    Ok(is_kept)
}

/// CPU time of all threads of a process, in ns (proc(5), `schedstat`).
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        sum += on_cpu(&task?.path().join("schedstat"))?;
    }
    Ok(sum)
}

fn on_cpu(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let first = text.split(' ').next().context("an unexpected schedstat")?;
    Ok(first.parse()?)
}
