//! Targets of requests that are not paths, and paths whose end a rule may overlook.

use futures_util::future::join_all;

use super::requests::exchange;

/// The target of a request is a path, or a URL whose path is the one that is checked.
const ODD: [&str; 15] = [
    "http:http://x/alarms/1",
    "http:http://x/map/1",
    "http:http://x/api/license/status",
    "http:http://x",
    "http:/live/1",
    "http:live/1",
    "https:/live/1",
    "mailto:/live/1",
    "x:y",
    "*",
    "live/1",
    "?/live/1",
    "http://localhost//x/alarms/1",
    "http://localhost/%2fx/alarms/1",
    "http://localhost/%252fx/alarms/1",
];

/// The gates' own names, open paths and gated ones: an expression that ends with `$` also matches a
/// path with a newline at its end.
const ENDS: [&str; 12] = [
    "/_license",
    "/_license_by_path",
    "/_license_unreadable",
    "/_license_variables",
    "/map/../_license",
    "/live/../_license_by_path",
    "/health",
    "/health/1",
    "/live/1",
    "/map/1",
    "/map",
    "/alarms/1",
];
const NEWLINES: [&str; 5] = ["%0a", "%0A", "%0d%0a", "%250a", "%0a?x"];

/// A gateway that merges slashes itself passes on the merged path.
const MERGED: &str = r#""path":"/x/alarms/1""#;

/// None of these targets is passed on.
pub(super) async fn are_refused(name: &str, gateway: &str) {
    let ends = ENDS.iter();
    let ends = ends.flat_map(|path| NEWLINES.map(|newline| format!("{path}{newline}")));
    let targets: Vec<_> = ODD.map(str::to_owned).into_iter().chain(ends).collect();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        for host in ["vms.example", r"x\map\alarms\1?"] {
            // Together, because gateways close the connection of an invalid request late.
            let answers = join_all(targets.iter().map(async |target| {
                let head = format!("GET {target} {version}\r\nHost: {host}\r\n");
                exchange(
                    gateway,
                    format!("{head}Connection: close\r\n\r\n").as_bytes(),
                )
                .await
            }));
            for (target, answer) in targets.iter().zip(answers.await) {
                let is_refused = !answer.contains("\"path\":") || answer.contains(MERGED);
                assert!(is_refused, "{name}, {target}, {host}: {answer}");
            }
        }
    }
}
