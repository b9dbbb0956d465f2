//! Paths that bypass the gate.

use anyhow::{Result, ensure};

use super::Outcome;
use crate::http::{connect, read_answer};
use crate::stage::{Running, Stage};

const ROUTES: &str = r#"
default = "allow"

[[route]]
path = "/api/cameras/*/export"
feature = "module.nope"

[[route]]
path = "/api/orders/**"
methods = ["POST"]
feature = "module.nope"
"#;

fn gate(stage: &Stage) -> Result<Running> {
    let routes = stage.path("routes.toml");
    std::fs::write(&routes, ROUTES)?;
    let mut command = stage.command("license-client", "client");
    command.env("GATE_ROUTES", &routes);
    let client = stage.serve(command)?;
    let plain = ask(&client, &[(URI, b"/api/cameras/1"), (METHOD, b"GET")])?;
    ensure!(plain == 200, "an open path is refused: {plain}");
    let gated = ask(
        &client,
        &[(URI, b"/api/cameras/1/export"), (METHOD, b"GET")],
    )?;
    ensure!(gated == 403, "a gated path passes: {gated}");
    Ok(client)
}

/// Headers of a gate check.
type Headers<'a> = Vec<(&'a str, &'a [u8])>;

const URI: &str = "X-Original-URI";
const METHOD: &str = "X-Original-Method";

/// The status of a gate check with these headers, as raw bytes.
fn ask(client: &Running, headers: &[(&str, &[u8])]) -> Result<u16> {
    let mut request = b"GET /api/license/authorize HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    for (name, value) in headers {
        request.extend_from_slice(format!("{name}: ").as_bytes());
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let mut stream = connect(client.port)?;
    std::io::Write::write_all(&mut stream, &request)?;
    Ok(read_answer(&mut stream)?.status)
}

pub(super) fn fragment(stage: &Stage) -> Result<Outcome> {
    let client = gate(stage)?;
    let mut passed = Vec::new();
    let paths: [&[u8]; 9] = [
        b"/api/cameras/1#/export",
        b"/api/cameras/1#/../1/export",
        b"/api/cameras/#1/export",
        b"/api/cameras/1/export#",
        b"/api/cameras/1%23/export#",
        b"/api/cameras/1\\export",
        b"/api/cameras/1 /export",
        b"/api/cameras/1\t/export",
        b"/#/api/cameras/1/export",
    ];
    for path in paths {
        if ask(&client, &[(URI, path), (METHOD, b"GET")])? == 200 {
            passed.push(String::from_utf8_lossy(path).into_owned());
        }
    }
    let seen = match passed.as_slice() {
        [] => format!("all {} are refused", paths.len()),
        passed => format!("passed: {}", passed.join(" ")),
    };
    Ok(Outcome::new(passed.is_empty(), seen))
}

pub(super) fn method(stage: &Stage) -> Result<Outcome> {
    let client = gate(stage)?;
    let path: &[u8] = b"/api/orders/1";
    let forwarded = ("X-Forwarded-Method", b"GET".as_slice());
    let (get, post) = ((METHOD, b"GET".as_slice()), (METHOD, b"POST".as_slice()));
    let uri = (URI, path);
    let forwarded_uri = ("X-Forwarded-Uri", path);
    let cases: [(&str, Headers<'_>); 8] = [
        ("two methods", vec![uri, get, post]),
        ("two methods in reverse order", vec![uri, post, get]),
        ("a duplicate method", vec![uri, get, get]),
        ("methods of two gateways", vec![uri, post, forwarded]),
        ("the other gateway's method", vec![forwarded_uri, get]),
        ("no method", vec![uri]),
        ("an empty method", vec![uri, (METHOD, b"")]),
        ("two paths", vec![uri, (URI, b"/api/cameras/1"), get]),
    ];
    let mut passed = Vec::new();
    for (name, headers) in &cases {
        if ask(&client, headers)? == 200 {
            passed.push(*name);
        }
    }
    let seen = match passed.as_slice() {
        [] => format!("all {} are refused", cases.len()),
        passed => format!("passed: {}", passed.join(", ")),
    };
    Ok(Outcome::new(passed.is_empty(), seen))
}
