//! Any path and any table, beside a slow reference implementation.

use license_core::route::{Effort, Need, Otherwise, PlainPath, Route, RouteTable};
use proptest::prelude::*;

use super::{need, route};
use crate::naive_paths;

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
            let any = table.needs_of_any_method(&mut Effort::default(), &path);
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                prop_assert!(any.contains(&table.need(method, &path)));
            }
        }
    }
}
