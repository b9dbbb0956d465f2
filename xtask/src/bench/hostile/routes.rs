//! The probes and all other open routes.

use super::bodies::json_bodies;
use super::case::{Case, MAX_GATE_US, MAX_OPEN_US, SIZE, SMALL, fill, request};

pub(super) fn probes() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["/health", "/livez", "/readyz"] {
        for size in [SMALL, SIZE] {
            let heads = heads("GET", path, b"", size).into_iter();
            cases.extend(heads.map(|case| Case {
                name: format!("{} in {size} bytes", case.name),
                max_us: MAX_GATE_US,
                ..case
            }));
        }
    }
    cases
}

pub(super) fn open() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/api/license/status",
        "/api/license/features",
        "/api/license/limits",
        "/api/license/attempts",
        "/api/license/hardware",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/nowhere",
        "/",
    ] {
        cases.extend(heads("GET", path, b"", SIZE));
    }
    let one = br#"{"featureKey":"x","resource":"cameras","context":{},
        "version":"9.0.0","released":"2099-01-01"}"#;
    for (path, size) in [
        ("/api/license/feature/check", BODY_SIZE),
        ("/api/license/features/check", LONG_BODY_SIZE),
        ("/api/license/limits/check", BODY_SIZE),
        ("/api/license/upgrade/check", BODY_SIZE),
        ("/ofrep/v1/evaluate/flags", BODY_SIZE),
        ("/ofrep/v1/evaluate/flags/module.map_view", BODY_SIZE),
    ] {
        cases.extend(heads("POST", path, one, SIZE));
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

/// Requests to the License Server, without a license key or a token.
pub(super) fn server_routes() -> Vec<Case> {
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
    let heads = paths.map(|path| heads("GET", path, b"", SIZE));
    bodies.into_iter().chain(heads).flatten().collect()
}

/// Maximum body size of most routes, in bytes …
const BODY_SIZE: usize = 8 * 1024;
/// … and of routes with large bodies.
const LONG_BODY_SIZE: usize = 64 * 1024;

/// Request heads of this size, on a path.
fn heads(method: &str, path: &str, body: &[u8], size: usize) -> Vec<Case> {
    let room = size - 200;
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
        (
            "long X-Forwarded-For",
            vec![("X-Forwarded-For", &*long)],
            "",
        ),
        ("long origin", vec![("Origin", &*long)], ""),
        ("Accept: commas", vec![("Accept", &*commas)], ""),
        ("Accept: ranges", vec![("Accept", &*ranges)], ""),
        ("Accept: semicolons", vec![("Accept", &*parameters)], ""),
        ("Accept in 90 lines", lines, ""),
        (
            "If-None-Match: commas",
            vec![("If-None-Match", &*commas)],
            "",
        ),
        (
            "X-Forwarded-For: commas",
            vec![("X-Forwarded-For", &*commas)],
            "",
        ),
        ("Cookie: semicolons", vec![("Cookie", &*parameters)], ""),
        ("Cookie: sites' sessions", vec![("Cookie", &*of_client)], ""),
        ("Cookie: staff sessions", vec![("Cookie", &*of_server)], ""),
        ("95 headers", many, ""),
        ("query: 'limit=1&' repeated", vec![], "limit=1&"),
        ("query: '%zz' repeated", vec![], "%zz"),
    ]
    .into_iter()
    .map(|(name, headers, query)| {
        let target = match query {
            "" => path.as_bytes().to_vec(),
            query => [path.as_bytes(), b"?", &*fill(query, room)].concat(),
        };
        Case {
            name: format!("{method} {path}: {name}"),
            max_us: MAX_OPEN_US,
            request: request(method, &target, &headers, body),
        }
    })
    .collect()
}
