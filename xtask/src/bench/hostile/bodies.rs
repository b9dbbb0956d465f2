//! Expensive JSON bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::case::{Case, MAX_OPEN_US, request};

/// JSON bodies of `size` bytes for a path, with the fields of all routes.
pub(super) fn json_bodies(path: &str, size: usize) -> Vec<Case> {
    [fields(size), request_files(size)]
        .into_iter()
        .flatten()
        .map(|(name, body)| Case {
            name: format!("POST {path}: {name}"),
            max_us: MAX_OPEN_US,
            request: request("POST", path.as_bytes(), &[], &body),
        })
        .collect()
}

/// `text` repeated between `start` and `end`, to `size` bytes.
fn wrap(size: usize, start: &str, text: &str, end: &str) -> Vec<u8> {
    let times = (size - start.len() - end.len()) / text.len();
    format!("{start}{}{end}", text.repeat(times)).into_bytes()
}

fn fields(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let wrap = |start, text, end| wrap(size, start, text, end);
    let numbered: String = (0..size / 12).map(|n| format!("\"k{n}\":1,")).collect();
    let numbered = numbered.get(..size - 40).unwrap_or(&numbered);
    let numbered = numbered.rsplit_once(',').map_or("", |it| it.0);
    let list_of = |count: usize| {
        let key = "k".repeat(((size - 40) / count).saturating_sub(3).max(1));
        let keys = vec![format!("\"{key}\""); count.min((size - 40) / 4)];
        format!("{{\"featureKeys\":[{}]}}", keys.join(",")).into_bytes()
    };
    vec![
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
    ]
}

fn request_files(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let wrap = |start, text, end| wrap(size, start, text, end);
    vec![
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
