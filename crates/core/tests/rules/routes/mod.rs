//! The meaning of every spelling of a path, and the first matching route.

mod characters;
mod properties;
mod spellings;
mod tables;

use license_core::feature::FeatureKey;
use license_core::route::{Need, Otherwise, Pattern, PlainPath, Route, RouteTable};

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
