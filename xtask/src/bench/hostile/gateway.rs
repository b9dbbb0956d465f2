//! The checks that gateways ask for.

use super::case::{Case, MAX_GATE_US, SIZE, SMALL, fill, request};

/// The path of the check.
const PATH: &[u8] = b"/api/license/authorize";
/// Bytes of a head that one value may take.
const ROOM: usize = SIZE - 200;

/// Every check that is expensive for the service.
pub(super) fn gateway() -> Vec<Case> {
    let mut cases = Vec::new();
    add_paths(&mut cases);
    add_queries(&mut cases);
    add_headers(&mut cases);
    cases
}

/// Parts of paths that are expensive to read.
const ODD: [&str; 40] = [
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
    // The character whose compatibility form is the longest.
    "\u{fdfa}",
    "%ef%b7%ba",
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
    // Characters that may be dropped or replaced, alone and where routes begin.
    "%C3%A1",
    "p%D0%B0rt-%C2%AD1",
    "\u{ff0f}\u{e9}",
    "%\u{ff12}\u{e9}",
    "%c1%30",
    "\u{672f}p",
];

/// Paths of odd parts, in one place and in several.
fn add_paths(cases: &mut Vec<Case>) {
    for odd in ODD {
        for length in [40, 120, 400, 1_300, SMALL, ROOM] {
            let path = [b"/", &*fill(odd, length)].concat();
            let shown = format!("'{odd}' for {length} bytes");
            cases.push(check(
                format!("path of {shown}"),
                PATH,
                &[("X-Original-URI", &path)],
            ));
            if length <= ROOM / 4 {
                // Equal paths are read once.
                let numbers = ["/1", "/2", "/3"];
                let [one, two, three] = numbers.map(|it| [it.as_bytes(), &*path].concat());
                let headers = [
                    ("X-Original-URI", &*one),
                    ("X-Forwarded-Uri", &*two),
                    ("X-Original-URL", &*three),
                ];
                let is_target = odd.is_ascii() && !odd.contains('#');
                let below = if is_target {
                    [PATH, &path].concat()
                } else {
                    PATH.to_vec()
                };
                cases.push(check(format!("several paths of {shown}"), &below, &headers));
            }
        }
    }
}

fn add_queries(cases: &mut Vec<Case>) {
    for odd in [
        "&",
        "feature=x&",
        "f%65ature=x&",
        "a=%zz&",
        "feature=%E9",
        "+",
    ] {
        for room in [SMALL, ROOM] {
            let query = [PATH, b"?", &*fill(odd, room)].concat();
            let mirrored = [b"/?", &*fill(odd, room / 2)].concat();
            let shown = format!("query: '{odd}' repeated, {room} bytes");
            cases.push(check(shown.clone(), &query, &[]));
            let query = [PATH, b"?", &*fill(odd, room / 2)].concat();
            let headers = [("X-Original-URI", &*mirrored)];
            cases.push(check(format!("mirrored {shown}"), &query, &headers));
        }
    }
}

fn add_headers(cases: &mut Vec<Case>) {
    let feature = fill("x", ROOM);
    cases.push(check(
        "long feature".to_owned(),
        PATH,
        &[("X-License-Feature", &feature)],
    ));
    for (name, count) in [
        ("X-Original-URI", 90),
        ("X-License-Feature", 90),
        ("A", 99),
        ("A", 800),
    ] {
        let headers = vec![(name, &b"/"[..]); count];
        cases.push(check(format!("{count} headers {name}"), PATH, &headers));
    }
    let long = fill("GET,", ROOM);
    let headers = [
        ("X-Original-URI", &b"/p1/a/x"[..]),
        ("X-Original-Method", &*long),
    ];
    cases.push(check("long method".to_owned(), PATH, &headers));
    cases.push(check(
        "plain path".to_owned(),
        PATH,
        &[("X-Original-URI", b"/p1/a/x")],
    ));
    cases.push(check(
        "feature".to_owned(),
        b"/api/license/authorize?feature=module.map_view",
        &[],
    ));
}

fn check(name: String, target: &[u8], headers: &[(&str, &[u8])]) -> Case {
    Case {
        name,
        max_us: MAX_GATE_US,
        request: request("GET", target, headers, b""),
    }
}
