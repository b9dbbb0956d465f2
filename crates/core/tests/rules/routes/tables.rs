//! What a table of routes says about a request.

use license_core::route::{
    Effort, Need, Otherwise, PathError, Pattern, PatternError, Route, RouteTable,
};

use super::{in_short, need, route, table};

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
        let needs = table.needs_of_any_method(&mut Effort::default(), path);
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
fn the_paths_of_one_question_share_the_effort() {
    let table = table();
    for odd in [
        "\u{fdfa}",
        "%ef%b7%ba",
        "a%2f",
        "\u{e9}%ff",
        ";a=b",
        "%252f",
    ] {
        let mut effort = Effort::default();
        let mut refused = 0;
        for number in 0..200 {
            let path = format!("/open/{number}/{}", odd.repeat(20));
            let need = table.need_within(&mut effort, "GET", path);
            refused += usize::from(need == Need::BadPath(PathError::TooAmbiguous));
        }
        assert!((10..200).contains(&refused), "{odd}: {refused}");
        // Nothing is spent on ordinary paths.
        let need = table.need_within(&mut effort, "GET", "/api/analytics/1?a=b");
        assert!(matches!(need, Need::Feature(_)), "{odd}: {need:?}");
    }
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
