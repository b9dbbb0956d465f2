//! The meaning of every spelling of a path, and the first matching route.

use license_core::feature::FeatureKey;
use license_core::route::{
    MAX_ODD_PLACES, MAX_PATH_BYTES, MAX_SEGMENTS, Need, Otherwise, PathError, Pattern,
    PatternError, PlainPath, Route, RouteTable,
};
use proptest::prelude::*;

use crate::naive_paths;

fn plain(raw: &str) -> String {
    let path = PlainPath::parse(raw).unwrap();
    format!("/{}", path.segments().join("/"))
}

fn route(methods: &[&str], pattern: &str, feature: Option<&str>) -> Route {
    Route {
        methods: methods.iter().map(ToString::to_string).collect(),
        pattern: Pattern::parse(pattern).unwrap(),
        feature: feature.map(|key| FeatureKey::parse(key).unwrap()),
    }
}

fn table() -> RouteTable {
    let routes = vec![
        route(&[], "/api/analytics/public", None),
        route(&["GET"], "/api/analytics/**", Some("analytics")),
        route(
            &["POST", "PUT"],
            "/api/analytics/**",
            Some("analytics.edit"),
        ),
        route(&[], "/api/*/map", Some("map")),
        route(&[], "/", Some("root")),
    ];
    RouteTable::new(routes, Otherwise::Allow, false)
}

/// The feature, `-` for none, or the reason for refusing the path.
fn need(table: &RouteTable, method: &str, path: impl AsRef<[u8]>) -> String {
    in_short(table.need(method, path))
}

fn in_short(need: Need<'_>) -> String {
    match need {
        Need::Feature(key) => key.as_str().to_owned(),
        Need::Nothing => "-".to_owned(),
        Need::Unlisted => "unlisted".to_owned(),
        Need::BadPath(error) => format!("{error:?}"),
    }
}

/// Spellings of `/api/analytics/heat` that an attacker may try.
const SPELLINGS: [&str; 31] = [
    "/api/analytics/heat",
    "/api/analytics/heat/",
    "/api/analytics/heat?x=1",
    "/api/analytics/heat?x=/../../public",
    "//api/analytics/heat",
    "/api//analytics///heat",
    "/./api/./analytics/./heat/.",
    "/x/../api/analytics/heat",
    "/api/analytics/public/../heat",
    "/api/analytics/%68eat",
    "/api/an%61lytics/heat",
    "/%61pi/%61nalytics/heat",
    "/api%2fanalytics%2Fheat",
    "/api/analytics%2fheat",
    "/api/x/%2e%2e/analytics/heat",
    "/api/x/%2E%2E/analytics/heat",
    "/api/x/.%2e/analytics/heat",
    "/api/x/..%2fanalytics/heat",
    "/api/x/%2e%2e%2fanalytics/heat",
    "/api/analytics/%2e/heat",
    "/api;v=1/analytics;x/heat;y=2",
    "/api/x/..;/analytics/heat",
    "/api/x/..;a=b/analytics/heat",
    "/api/analytics%3bx/heat",
    "/api%5canalytics%5Cheat",
    "/api/%61nalytics/heat",
    "/api/%2561nalytics/heat",
    "/api/%25%36%31nalytics/heat",
    "/api/x/%252e%252e/analytics/heat",
    "/api/x/%252e%252e%252fanalytics/heat",
    "/api/analytics/heat%3Fx",
];

#[test]
fn every_spelling_of_a_path_is_the_same_path() {
    for spelling in &SPELLINGS[..SPELLINGS.len() - 1] {
        assert_eq!(plain(spelling), "/api/analytics/heat", "{spelling}");
    }
    // Ambiguous paths are refused if it makes a difference.
    for spelling in SPELLINGS {
        let need = need(&table(), "GET", spelling);
        let is_safe = ["analytics", "Ambiguous"].contains(&need.as_str());
        assert!(is_safe, "{spelling}: {need}");
    }
    assert_eq!(plain("/"), "/");
    assert_eq!(plain("/a/.."), "/");
    assert_eq!(plain("/caf%C3%A9"), "/café");
}

#[test]
fn a_path_of_no_legitimate_client_is_refused() {
    for (path, error) in [
        ("", PathError::NotAbsolute),
        ("api", PathError::NotAbsolute),
        ("?x", PathError::NotAbsolute),
        ("http://h/api", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("/a%00b", PathError::ControlCharacter),
        ("/a%0d%0ab", PathError::ControlCharacter),
        ("/a\tb", PathError::ControlCharacter),
        ("/a\0", PathError::ControlCharacter),
        ("/a\x7f", PathError::ControlCharacter),
        ("/a%c2%85", PathError::ControlCharacter),
        ("/a%250ab", PathError::ControlCharacter),
        ("/a b", PathError::ForbiddenCharacter),
        ("/a#", PathError::ForbiddenCharacter),
        ("/a#?b", PathError::ForbiddenCharacter),
        ("/api/analytics/heat#/x", PathError::ForbiddenCharacter),
        ("/api\\analytics\\heat", PathError::ForbiddenCharacter),
        ("/api/x\\..\\analytics/heat", PathError::ForbiddenCharacter),
        ("/a%7f", PathError::ControlCharacter),
        ("/..", PathError::AboveRoot),
        ("/a/../../b", PathError::AboveRoot),
        ("/%2e%2e/a", PathError::AboveRoot),
        ("/%2525252561", PathError::EscapedTooOften),
    ] {
        assert_eq!(PlainPath::parse(path), Err(error), "{path}");
        let word = format!("{error:?}");
        assert_eq!(need(&table(), "GET", path), word, "{path}");
    }
    assert!(PlainPath::parse("/%25252561").is_ok());
    // A percent sign may be intended, and a query is not part of the path.
    assert_eq!(plain("/100%25.png"), "/100%.png");
    assert_eq!(plain("/100%25"), "/100%");
    assert_eq!(plain(&format!("/a?{}", "q".repeat(MAX_PATH_BYTES))), "/a");
    assert_eq!(MAX_PATH_BYTES, 8192);
    let long = format!("/{}", "a".repeat(MAX_PATH_BYTES - 1));
    assert!(PlainPath::parse(&long).is_ok());
    assert_eq!(
        PlainPath::parse(&format!("{long}a")),
        Err(PathError::TooLong)
    );
    // In a table, such an escape is a mistake.
    for path in ["/a%", "/a%2", "/a%zz", "/a%2g", "/%ff", "/%c0%ae%c0%ae/"] {
        assert_eq!(PlainPath::parse(path), Err(PathError::BadEscape), "{path}");
    }
}

/// Bytes from 0x80, and escapes without a meaning.
#[test]
fn undecodable_paths_are_refused_only_where_they_may_reach_a_route() {
    let routes = vec![
        route(&[], "/api/analytics/public", None),
        route(&[], "/api/analytics/**", Some("analytics")),
        route(&["POST"], "/api/cameras/*/export", Some("export")),
        route(&[], "/straße/1", Some("street")),
    ];
    let table = RouteTable::new(routes, Otherwise::Allow, false);
    for (path, expected) in [
        // No gated route is similar, so it is allowed like any path.
        (&b"/files/caf\xe9.jpg"[..], "-"),
        (b"/files/caf%E9.jpg", "-"),
        (b"/files/100%.jpg", "-"),
        (b"/files/%zz", "-"),
        (b"/files/%", "-"),
        (b"/caf\xe9", "-"),
        (b"/a%", "-"),
        (b"/a%2", "-"),
        (b"/a%2g/b", "-"),
        (b"/x%ff/x%fe", "-"),
        (b"/api/caf\xc3\xa9/analytics", "-"),
        (b"/api/cameras/\xc3\xa9x/import", "-"),
        (b"/api/cameras/%B4%F3%C3%C5/import", "-"),
        // A name that is not entirely UTF-8 keeps its length.
        (b"/%E9t%E9/1.jpg", "-"),
        (b"/\xe9t\xe9/1.jpg", "-"),
        (b"/%E9", "-"),
        (b"/%E9/analytics/heat", "-"),
        (b"/api/%E9t%E9/heat", "-"),
        (b"/api/%E0%E9%E8-x-%E7/heat", "-"),
        (b"/api/cameras/1/%E9t%E9", "-"),
        // The routes that it may reach all require the same.
        (b"/api/analytics/heat/\xe9", "analytics"),
        (b"/api/analytics/heat%zz", "analytics"),
        (b"/api/cameras/x%E9/export", "export"),
        (b"/api/cameras/\xc3\xa9x/export", "export"),
        (b"/stra%C3%9Fe/1", "street"),
        (b"/stra\xc3\x9fe/1", "street"),
        // It may be a gated path.
        (b"/api/an%zzlytics/heat", "Ambiguous"),
        (b"/api/an\xe1lytics/heat", "Ambiguous"),
        (b"/api/analytic%/heat", "Ambiguous"),
        (b"/%61pi%/analytics/heat", "Ambiguous"),
        (b"/\xffapi/analytics/heat", "Ambiguous"),
        (b"/api\xff/analytics/heat", "Ambiguous"),
        (b"/api/analytics/publi%zz", "Ambiguous"),
        (b"/api/analytics/public%E9", "Ambiguous"),
        (b"/stra\xdfe/1", "Ambiguous"),
        (b"/\xf1tra\xdfe/1", "Ambiguous"),
        (b"/%F0traxxe/1", "-"),
        (b"/%E0p%E9/analytics/heat", "Ambiguous"),
        (b"/api/%E0%EE%E1lytic%F3/heat", "Ambiguous"),
        (b"/api/%E1%EE%E1%EC%F9%F4%E9%E3%F3/heat", "Ambiguous"),
        (b"/api/an%E6lytics/heat", "Ambiguous"),
        // Decoders that skip what they cannot decode.
        (b"/x/.\xc3\xa9./api/analytics/heat", "Ambiguous"),
        (b"/x/.%C3%A9./api/analytics/heat", "Ambiguous"),
        (b"/x/.\xff./api/analytics/heat", "Ambiguous"),
        (b"/x/.%ff./api/analytics/heat", "Ambiguous"),
        (b"/x/.%./api/analytics/heat", "Ambiguous"),
        (b"/api/x/..%\xff2fanalytics/heat", "Ambiguous"),
        // Decoders that remove non-ASCII characters.
        (b"/api/analytics%C3%A9/heat", "Ambiguous"),
        (b"/api/analytics\xc3\xa9/heat", "Ambiguous"),
        (b"/%C3%A9/api/analytics/heat", "Ambiguous"),
        (b"/api/%E9%97%A8/analytics/heat", "Ambiguous"),
        (b"/%C3%A9api/%C3%A9analytics/heat", "Ambiguous"),
        (b"/api/an%25C3%25A9alytics/heat", "Ambiguous"),
        (b"/api%%C3%A92fanalytics/heat", "Ambiguous"),
        (b"/api/x/%\xc3\xa92e./analytics/heat", "Ambiguous"),
        (b"/api/cameras%C3%A9/1/export", "Ambiguous"),
        (b"/api/analytics/public%C3%A9", "analytics"),
        (b"/api/cameras/%E9%97%A8/export", "export"),
        (b"/api/cameras/%E9%97%A8/import", "-"),
        (b"/files/caf%C3%A9/%E9%97%A8.mp4", "-"),
        (b"/api/%ff/analytics/heat", "Ambiguous"),
        // Decoders that accept overlong forms.
        (b"/api/x/%c0%ae%c0%ae/analytics/heat", "Ambiguous"),
        (b"/api/x/\xc0\xae./analytics/heat", "Ambiguous"),
        (b"/api%c0%afanalytics%c0%afheat", "Ambiguous"),
        (b"/api%e0%80%afanalytics/heat", "Ambiguous"),
        (b"/api%f0%80%80%afanalytics/heat", "Ambiguous"),
        (b"/api%25c0%25afanalytics/heat", "Ambiguous"),
        (b"/api/%c1%a1nalytics/heat", "Ambiguous"),
        (b"/api%u002fanalytics/heat", "Ambiguous"),
        (b"/api/x/%u002e%u002E/analytics/heat", "Ambiguous"),
        (b"/api%c0%a52fanalytics/heat", "Ambiguous"),
        (b"/%c0%ae%c0%ae/", "AboveRoot"),
        (b"/%c0%80", "ControlCharacter"),
    ] {
        let shown = String::from_utf8_lossy(path);
        assert_eq!(need(&table, "POST", path), expected, "{shown}");
    }
}

/// Services that bring Unicode to its compatibility form, look for the best fit in their
/// character set, or open files as Windows does.
#[test]
fn what_looks_like_a_gated_path_or_is_trimmed_to_one_is_refused() {
    let routes = || {
        vec![
            route(&[], "/api/map/public", None),
            route(&[], "/api/map/**", Some("map")),
            route(&[], "/api/cameras/*/export", Some("export")),
            route(&[], "/caf\u{e9}/**", Some("cafe")),
        ]
    };
    let table = RouteTable::new(routes(), Otherwise::Allow, false);
    for path in [
        // Full width, raw and escaped, one time and two times.
        "/%EF%BD%81pi/map/x",
        "/\u{ff41}\u{ff50}\u{ff49}/map/x",
        "/%25EF%25BD%2581pi/map/x",
        "/api%EF%BC%8Fmap/x",
        "/api\u{ff3c}map/x",
        "/api/x/%EF%BC%8E%EF%BC%8E/map/x",
        "/api/x/\u{2025}/map/x",
        "/api\u{ff05}2fmap/x",
        "/%uff41pi/map/x",
        "/api%uff0fmap/x",
        "/api%UFF0Fmap/x",
        "/api%25uff0fmap/x",
        "/api%25u002fmap/x",
        "/api%2525uff0fmap/x",
        "/api/x/%uff0e%uff0e/map/x",
        "/api/%ud835%udcc2%u24d0p/x",
        // Letters, slashes and dots that look like those of ASCII.
        "/api/m%C4%81p/x",
        "/api/ma%CC%84p/x",
        "/api/m\u{1d44e}p/x",
        "/api/\u{24dc}ap/x",
        "/api/ma\u{3c0}/x",
        "/api\u{2215}map/x",
        "/api\u{2044}map/x",
        "/api\u{2216}map/x",
        "/api\u{a5}map/x",
        "/api/x/\u{3002}\u{3002}/map/x",
        "/api/cameras/%E9%97%A8/e\u{ff58}port",
        "/cafe%CC%81/x",
        // Trimmed segments.
        "/api/map./x",
        "/api/map../x",
        "/api/map%2e/x",
        "/api/map%20/x",
        "/api/%20map/x",
        "/api/map%20.%20/x",
        "/api/map%2520/x",
        "/api/x/..%20/map/x",
        "/api/map%20;a/x",
        "/api/map%u0020/x",
        "/api/.../map/x",
        "/api/map%C2%A0/x",
        "/api/map\u{ff0e}/x",
        "/api/cameras/1/export.",
        "/api/map%20",
        "/api/m%C4%81p./x",
        "/api/map\u{ff05}20/x",
    ] {
        let found = need(&table, "GET", path);
        assert_eq!(found, "Ambiguous", "{path}");
        let deny = RouteTable::new(routes(), Otherwise::Deny, false);
        let found = need(&deny, "GET", path);
        assert_eq!(found, "Ambiguous", "{path}");
    }
    // What reaches no route with another decision is allowed like any path.
    for (path, expected) in [
        ("/files/report.%20/x", "-"),
        ("/files/v1./x.", "-"),
        (
            "/files/\u{ff21}\u{ff22}\u{ff23}\u{ff0f}\u{95e8}\u{ff1f}.mp4",
            "-",
        ),
        ("/files/Z%C3%BCrich%20\u{2026}/%C2%BD", "-"),
        ("/api/map/x.", "map"),
        ("/api/map/public.", "map"),
        ("/api/map/publ\u{ed}c", "map"),
        ("/api/cameras/Hof%20./export", "export"),
        ("/api/cameras/\u{ff21}\u{ff22}/export", "export"),
        ("/caf%C3%A9/x", "cafe"),
        ("/files/%ud835", "-"),
    ] {
        assert_eq!(need(&table, "GET", path), expected, "{path}");
    }
    let folded = RouteTable::new(routes(), Otherwise::Allow, true);
    for path in ["/API/M%C4%80P/x", "/\u{ff21}PI/map/x", "/api/MAP./x"] {
        assert_eq!(need(&folded, "GET", path), "Ambiguous", "{path}");
    }
}

#[test]
fn a_path_that_some_services_cut_or_split_differently_is_refused_where_it_matters() {
    let routes = vec![
        route(&[], "/api/cameras/*/export", Some("export")),
        route(&[], "/api/cameras/**", None),
        route(&[], "/one", Some("one")),
        route(&[], "/*", Some("any")),
    ];
    let table = RouteTable::new(routes, Otherwise::Allow, false);
    for (path, expected) in [
        ("/api/cameras/1/export", "export"),
        ("/api/cameras/1?#/export", "-"),
        ("/api/cameras/1#/export", "ForbiddenCharacter"),
        ("/api/cameras/1/export#", "ForbiddenCharacter"),
        ("/api/cameras/1%23/export", "Ambiguous"),
        ("/api/cameras/1%2523/export", "Ambiguous"),
        ("/api/cameras/1%3f/export", "Ambiguous"),
        ("/api/cameras/1/export%3fx", "Ambiguous"),
        ("/api/cameras/1%23/import", "-"),
        ("/two%23", "any"),
        ("/one%23", "Ambiguous"),
        // Some services read a host name after two slashes.
        ("//host/api/cameras/1/export", "Ambiguous"),
        ("///host/api/cameras/1/export", "Ambiguous"),
        ("/%2fhost/api/cameras/1/export", "Ambiguous"),
        ("//host/files/1", "-"),
        // Escapes with different depths.
        ("/a/%252e%252e/x%25252fy", "Ambiguous"),
        ("/a/%2e%2e/b/../c", "Ambiguous"),
    ] {
        assert_eq!(need(&table, "GET", path), expected, "{path}");
    }
}

#[test]
fn a_path_with_too_many_segments_or_ambiguous_places_is_refused() {
    let nothing = RouteTable::default();
    let table = table();
    for table in [&nothing, &table] {
        let most = "/a".repeat(MAX_SEGMENTS);
        assert_eq!(need(table, "GET", &most), "-");
        let more = format!("{most}/");
        assert_eq!(need(table, "GET", &more), "TooManySegments");
        for slash in ["/", "%2f", "%5C", "%255c"] {
            let more = format!("/{}", slash.repeat(MAX_SEGMENTS));
            let need = need(table, "GET", &more);
            assert!(
                ["TooManySegments", "TooOdd"].contains(&need.as_str()),
                "{need}"
            );
        }
        for odd in [";x", "%3bx", "%23x", "%zzx", "%E9x", "x%2f"] {
            let path = format!("/a{}", odd.repeat(MAX_ODD_PLACES + 1));
            assert_eq!(need(table, "GET", &path), "TooOdd", "{odd}");
        }
        // Adjacent places count as one; places that every service reads in the same way do
        // not count.
        let name = format!("/files/{}", "\u{95e8}".repeat(100));
        assert_eq!(need(table, "GET", &name), "-");
        let name = format!("/files/{}", "%E9%97%A8".repeat(300));
        assert_eq!(need(table, "GET", &name), "-");
        let everything = "/a;x//b/../%2e%2e/c%2f%252e/%5c;%3f%23%zz%25252f/\u{e9}%c0%ae";
        assert_eq!(need(table, "GET", everything), "TooOdd");
    }
}

#[test]
fn a_request_with_an_unknown_method_needs_the_features_of_every_method() {
    let routes = vec![
        route(&["get"], "/api/alarms/**", None),
        route(&["PROPFIND"], "/api/alarms/**", Some("find")),
        route(&["HEAD", "M-SEARCH"], "/api/search", Some("search")),
        route(&["POST", "PUT"], "/api/*/1", Some("first")),
        route(&[], "/api/alarms/**", Some("alarms")),
    ];
    let table = RouteTable::new(routes, Otherwise::Allow, false);
    let needs = |path: &str| {
        let needs = table.needs_of_any_method(path);
        let needs: Vec<String> = needs.into_iter().map(in_short).collect();
        needs.join(" ")
    };
    assert_eq!(needs("/api/alarms/1"), "alarms - first find");
    assert_eq!(needs("/api/alarms/2"), "alarms - find");
    assert_eq!(needs("/api/search"), "- search");
    assert_eq!(needs("/api/x/1"), "- first");
    assert_eq!(needs("/elsewhere"), "-");
    assert_eq!(needs("/api/x%E9/1"), "- first");
    assert_eq!(needs("/api/alarms/2%2f1"), "alarms - find");
    assert_eq!(needs("/api/x%2f..%2fy/1"), "- Ambiguous");
    assert_eq!(needs("/a#"), "ForbiddenCharacter");
    assert_eq!(need(&table, "HEAD", "/api/search"), "search");
    assert_eq!(need(&table, "GET", "/api/search"), "search");
    assert_eq!(need(&table, "m-search", "/api/search"), "search");
    assert_eq!(need(&table, "QUERY", "/api/alarms/1"), "alarms");
}

#[test]
fn the_first_route_that_matches_counts() {
    let table = table();
    for (method, path, expected) in [
        ("GET", "/api/analytics/public", "-"),
        ("DELETE", "/api/analytics/public", "-"),
        ("GET", "/api/analytics", "analytics"),
        ("HEAD", "/api/analytics/x", "analytics"),
        ("GET", "/api/analytics/public/x", "analytics"),
        ("PUT", "/api/analytics/x/y/z", "analytics.edit"),
        ("DELETE", "/api/analytics/x", "-"),
        ("GET", "/api/analytics/map", "analytics"),
        ("DELETE", "/api/analytics/map", "map"),
        ("GET", "/api/x/map", "map"),
        ("GET", "/api/x/y/map", "-"),
        ("GET", "/api/map", "-"),
        ("GET", "/API/analytics", "-"),
        ("GET", "/", "root"),
        ("GET", "/a/..", "Ambiguous"),
        ("get", "/api/analytics/x", "analytics"),
        ("GET", "/a", "-"),
    ] {
        assert_eq!(need(&table, method, path), expected, "{method} {path}");
    }
}

#[test]
fn ambiguous_paths_are_refused_where_it_matters() {
    let routes = vec![
        route(&[], "/open/**", None),
        route(&[], "/analytics/public", None),
        route(&[], "/analytics/**", Some("analytics")),
        route(&[], "/cameras/*/alarms", Some("alarms")),
        route(&[], "/cameras/**", None),
    ];
    for otherwise in [Otherwise::Allow, Otherwise::Deny] {
        let table = RouteTable::new(routes.clone(), otherwise, false);
        for path in [
            "/analytics/x/../../open",
            "/analytics/x/%2e%2e/%2e%2e/open",
            "/analytics/x%2f..%2f..%2fopen",
            "/analytics/x%252f..%252f..%252fopen",
            "/analytics/x%5c..%5c..%5copen",
            "/analytics/x/..;/public",
            "/analytics/./public",
            "/open/../analytics/x",
            "/cameras/7%252Fx/alarms",
            "/cameras/;x/alarms",
            "/cameras//alarms",
            "/analytics/x%252f..%252f..%252fopen%25",
            "/cameras/7%5Cx/alarms",
        ] {
            assert_eq!(need(&table, "GET", path), "Ambiguous", "{path}");
        }
        // Where it makes no difference, unusual paths are normal paths.
        for (path, expected) in [
            ("/analytics//heat", "analytics"),
            ("/analytics/a%2Fb", "analytics"),
            ("/analytics/100%25.png", "analytics"),
            ("/analytics/x/../heat", "analytics"),
            ("/analytics;v=2/heat", "Ambiguous"),
            ("/cameras/caf%C3%A9/alarms", "alarms"),
            ("/cameras/1/..hidden", "-"),
        ] {
            assert_eq!(need(&table, "GET", path), expected, "{path}");
        }
    }
}

#[test]
fn the_table_decides_about_unlisted_paths() {
    let routes = || vec![route(&[], "/a/**", Some("a")), route(&[], "/free", None)];
    let deny = RouteTable::new(routes(), Otherwise::Deny, false);
    assert_eq!(need(&deny, "GET", "/a"), "a");
    assert_eq!(need(&deny, "GET", "/free"), "-");
    assert_eq!(need(&deny, "GET", "/b"), "unlisted");
    assert_eq!(need(&RouteTable::default(), "GET", "/b"), "-");
    assert!(RouteTable::default().is_empty() && !deny.is_empty() && deny.len() == 2);
}

#[test]
fn case_may_be_ignored_where_services_ignore_it() {
    let routes = vec![route(&[], "/Api/Straße/**", Some("a"))];
    let table = RouteTable::new(routes, Otherwise::Allow, true);
    assert_eq!(need(&table, "GET", "/api/STRAßE/x"), "a");
    assert_eq!(need(&table, "GET", "/aPI/straße"), "a");
}

#[test]
fn a_misleading_pattern_is_rejected() {
    let parse = |text: &str| Pattern::parse(text).unwrap_err();
    assert_eq!(parse("/a/**/b"), PatternError::OpenInside);
    assert_eq!(parse("/a/b*"), PatternError::PartOfSegment("b*".into()));
    assert_eq!(parse("/***"), PatternError::PartOfSegment("***".into()));
    assert_eq!(parse("a"), PatternError::Path(PathError::NotAbsolute));
    assert!(Pattern::parse("/**").is_ok());
}

#[test]
fn a_table_of_ten_thousand_lines_finds_the_first_match() {
    let mut routes: Vec<Route> = (0..10_000)
        .map(|n| {
            route(
                &[],
                &format!("/api/v{}/part-{n}/**", n % 7),
                Some(&format!("f{n}")),
            )
        })
        .collect();
    routes.push(route(&[], "/api/*/part-5/**", Some("late")));
    routes.insert(9_000, route(&[], "/api/v3/**", Some("whole")));
    let table = RouteTable::new(routes, Otherwise::Allow, false);
    assert_eq!(need(&table, "GET", "/api/v5/part-5/x"), "f5");
    assert_eq!(need(&table, "GET", "/api/v6/part-5/x"), "late");
    assert_eq!(need(&table, "GET", "/api/v3/part-10/x"), "f10");
    // 9998 = 7 * 1428 + 2; 9999 is of v3, and comes after all of v2.
    assert_eq!(need(&table, "GET", "/api/v3/part-9999"), "whole");
}

proptest! {
    /// For any input: spellings that a server may treat as equal are equal here, and a plain
    /// path is left unchanged.
    #[test]
    fn a_plain_path_stays_as_it_is(raw in "(/|/\\.\\.|/\\.|;|%2[eEfF]|%25|%5c|\\\\|[a-c]|%6[1-3]){0,12}") {
        let raw = format!("/{raw}");
        if let Ok(path) = PlainPath::parse(&raw) {
            for segment in path.segments() {
                let slashes = segment.contains(['/', '\\', ';']);
                prop_assert!(!slashes && !["", ".", ".."].contains(&segment.as_str()));
            }
            let again = format!("/{}", path.segments().join("/"));
            if !again.contains('%') {
                prop_assert_eq!(PlainPath::parse(&again).unwrap(), path);
            }
        }
    }

    /// The index changes nothing: the first match is found.
    #[test]
    fn the_table_finds_what_reading_line_by_line_finds(
        patterns in prop::collection::vec("(/(a|b|\\*)){0,5}(/\\*\\*)?", 1..20),
        path in "(/(a|b|c)){0,6}",
    ) {
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let routes: Vec<Route> = patterns
            .iter()
            .enumerate()
            .map(|(n, pattern)| route(&[], &format!("/{pattern}"), Some(&format!("f{n}"))))
            .collect();
        let alone = |it: &Route| RouteTable::new(vec![it.clone()], Otherwise::Deny, false);
        let first = routes.iter().find(|it| need(&alone(it), "GET", &path) != "unlisted");
        let expected = first.and_then(|it| it.feature.clone());
        let expected = expected.map_or("unlisted".to_owned(), |key| key.as_str().to_owned());
        let table = RouteTable::new(routes, Otherwise::Deny, false);
        prop_assert_eq!(need(&table, "GET", &path), expected);
    }

    /// A slow reader with 768 readings per path is never stricter.
    #[test]
    fn no_reading_of_a_path_needs_a_feature_that_the_table_does_not_ask_for(
        lines in prop::collection::vec(("(/(a|b|\\*)){0,4}(/\\*\\*)?", 0..4_usize), 1..6),
        path in "(/|/\\.\\.|/\\.|;|//|%2[eEfF]|%25|%252[ef]|%5c|%3b|a|b|%6[12]|%2561|c|\u{e9}|%C3%A9|%25C3%A9|\u{ff0f}|%EF%BC%8F|%25EF%25BC%258E|\u{ff41}|\u{2025}|%20|%2520|\\.){0,10}",
    ) {
        let features = [None, Some("f1"), Some("f2"), Some("f3")];
        let path = format!("/{path}");
        let lines: Vec<(String, Option<&str>)> = lines
            .into_iter()
            .map(|(pattern, feature)| (format!("/{pattern}"), features[feature]))
            .collect();
        let routes = lines.iter().map(|(pattern, feature)| route(&[], pattern, *feature));
        let table = RouteTable::new(routes.collect(), Otherwise::Allow, false);
        let lines: Vec<naive_paths::Line> =
            lines.iter().map(|(pattern, feature)| (pattern.as_str(), *feature)).collect();
        let found = table.need("GET", &path);
        // Paths that the slow reader cannot read are refused.
        let needs = naive_paths::needs(&lines, &path).unwrap_or_default();
        for (is_narrowed, needed) in needs {
            // Where characters of ordinary paths are replaced, only features count.
            if is_narrowed && needed.is_none() {
                continue;
            }
            let is_met = match found {
                Need::BadPath(_) => true,
                Need::Feature(key) => Some(key.as_str()) == needed,
                Need::Nothing => needed.is_none(),
                Need::Unlisted => false,
            };
            prop_assert!(is_met, "{path}: {found:?}, and {needed:?} in one reading");
        }
    }

    /// The table is not stricter than necessary: if only slashes, dots and parameters are
    /// unusual, it refuses exactly the paths whose readings differ.
    #[test]
    fn a_path_is_refused_only_where_readings_differ(
        patterns in prop::collection::vec("(/(a|b|\\*)){0,4}(/\\*\\*)?", 1..6),
        path in "(/|/\\.\\.|;|a|b|/a|/b|c){0,10}",
    ) {
        let path = format!("/c{path}");
        let names: Vec<String> = (0..patterns.len()).map(|n| format!("f{n}")).collect();
        let patterns: Vec<String> = patterns.iter().map(|it| format!("/{it}")).collect();
        let lines: Vec<naive_paths::Line> = patterns
            .iter()
            .zip(&names)
            .map(|(pattern, name)| (pattern.as_str(), Some(name.as_str())))
            .collect();
        let routes = lines.iter().map(|(pattern, feature)| route(&[], pattern, *feature));
        let table = RouteTable::new(routes.collect(), Otherwise::Allow, false);
        let needs = naive_paths::needs(&lines, &path).unwrap();
        let needs = needs.into_iter().map(|(_, needed)| needed);
        let needs: Vec<Option<&str>> = needs.collect();
        let expected = match needs.iter().all(|it| *it == needs[0]) {
            true => needs[0].unwrap_or("-"),
            false => "Ambiguous",
        };
        let found = need(&table, "GET", &path);
        prop_assert!([expected, "AboveRoot"].contains(&found.as_str()), "{path}: {found}");
    }

    /// Any bytes in a path get an answer, and an unknown method requires no less than a known
    /// one.
    #[test]
    fn any_method_needs_what_each_method_needs(
        path in prop::collection::vec(any::<u8>(), 0..60),
        odd in "(/|/\\.|;|%|%[0-9a-f]{2}|a|api|%c0%a[ef]|\u{e9}){0,12}",
    ) {
        let routes = vec![
            route(&["GET"], "/api/a/**", Some("get")),
            route(&["POST"], "/api/**", Some("post")),
            route(&[], "/a/*", Some("all")),
        ];
        let table = RouteTable::new(routes, Otherwise::Deny, false);
        for path in [[b"/", &*path].concat(), format!("/{odd}").into_bytes()] {
            let any = table.needs_of_any_method(&path);
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                prop_assert!(any.contains(&table.need(method, &path)));
            }
        }
    }
}
