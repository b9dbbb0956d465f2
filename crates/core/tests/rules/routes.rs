//! Which spelling of a path means what, and which route is the first.

use license_core::feature::FeatureKey;
use license_core::route::{
    LONGEST_PATH, Need, Otherwise, PathError, Pattern, PatternError, PlainPath, Route, RouteTable,
};
use proptest::prelude::*;

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

/// The feature, `-` for none, or why not.
fn need(table: &RouteTable, method: &str, path: &str) -> String {
    match table.need(method, path) {
        Need::Feature(key) => key.as_str().to_owned(),
        Need::Nothing => "-".to_owned(),
        Need::Unlisted => "unlisted".to_owned(),
        Need::BadPath(error) => format!("{error:?}"),
    }
}

/// Spellings of `/api/analytics/heat` that somebody may hope slip past.
const SPELLINGS: [&str; 34] = [
    "/api/analytics/heat",
    "/api/analytics/heat/",
    "/api/analytics/heat?x=1",
    "/api/analytics/heat?x=/../../public",
    "/api/analytics/heat#/x",
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
    "/api\\analytics\\heat",
    "/api/x\\..\\analytics/heat",
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
    // What services may read differently is refused where that matters.
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
fn a_path_that_nobody_means_is_refused() {
    for (path, error) in [
        ("", PathError::NotAbsolute),
        ("api", PathError::NotAbsolute),
        ("?x", PathError::NotAbsolute),
        ("http://h/api", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("/a%", PathError::BadEscape),
        ("/a%2", PathError::BadEscape),
        ("/a%zz", PathError::BadEscape),
        ("/a%2g", PathError::BadEscape),
        ("/%ff", PathError::BadEscape),
        ("/%c0%ae%c0%ae/", PathError::BadEscape),
        ("/a%00b", PathError::ControlCharacter),
        ("/a%0d%0ab", PathError::ControlCharacter),
        ("/a\tb", PathError::ControlCharacter),
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
    // A percent sign may be meant, and a query is no part of a path.
    assert_eq!(plain("/100%25.png"), "/100%.png");
    assert_eq!(plain("/100%25"), "/100%");
    assert_eq!(plain(&format!("/a?{}", "q".repeat(LONGEST_PATH))), "/a");
    assert_eq!(LONGEST_PATH, 8192);
    let long = format!("/{}", "a".repeat(LONGEST_PATH - 1));
    assert!(PlainPath::parse(&long).is_ok());
    assert_eq!(
        PlainPath::parse(&format!("{long}a")),
        Err(PathError::TooLong)
    );
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
fn what_may_be_read_differently_is_refused_where_that_matters() {
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
            "/analytics/x\\..\\..\\open",
            "/analytics/x%5c..%5c..%5copen",
            "/analytics/x/..;/public",
            "/analytics/./public",
            "/open/../analytics/x",
            "/cameras/7%252Fx/alarms",
            "/cameras/;x/alarms",
            "/cameras//alarms",
            "/analytics/x%252f..%252f..%252fopen%25",
            "/cameras/7\\x/alarms",
            "/cameras/7%5Cx/alarms",
        ] {
            assert_eq!(need(&table, "GET", path), "Ambiguous", "{path}");
        }
        // Where it does not, odd paths are paths.
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
fn what_no_route_is_for_is_allowed_or_refused_as_the_table_says() {
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
fn a_pattern_that_says_something_else_than_it_means_is_refused() {
    let parse = |text: &str| Pattern::parse(text).unwrap_err();
    assert_eq!(parse("/a/**/b"), PatternError::OpenInside);
    assert_eq!(parse("/a/b*"), PatternError::PartOfSegment("b*".into()));
    assert_eq!(parse("/***"), PatternError::PartOfSegment("***".into()));
    assert_eq!(parse("a"), PatternError::Path(PathError::NotAbsolute));
    assert!(Pattern::parse("/**").is_ok());
}

#[test]
fn a_table_of_ten_thousand_lines_finds_the_first_of_those_that_match() {
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
    // 9998 = 7 * 1428 + 2; 9999 is of v3, and comes after the whole of it.
    assert_eq!(need(&table, "GET", "/api/v3/part-9999"), "whole");
}

proptest! {
    /// Whatever is sent: two spellings that a server may take for the same are
    /// the same here, and a plain path is as plain as it gets.
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

    /// The index changes nothing: the first of all that match is found.
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
}
