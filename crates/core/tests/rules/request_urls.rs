//! Where the path begins in a URL whose host may be a visitor's word.

use license_core::route::{Need, Otherwise, PathError, RouteTable, path_of_url};
use proptest::prelude::*;

fn path(url: &str) -> &str {
    std::str::from_utf8(path_of_url(url.as_bytes())).unwrap()
}

fn refusal(url: &str) -> Option<PathError> {
    let table = RouteTable::new(Vec::new(), Otherwise::Allow, false);
    match table.need("GET", path_of_url(url.as_bytes())) {
        Need::BadPath(error) => Some(error),
        _ => None,
    }
}

#[test]
fn the_path_is_what_follows_the_host_and_port() {
    for (url, expected) in [
        ("https://vms.example/map/1?zoom=2", "/map/1?zoom=2"),
        ("http://10.1.2.3:8080/map", "/map"),
        ("HTTPS://[2001:db8::1]:443//map", "//map"),
        ("https://vms.example", "/"),
        ("https://vms.example/", "/"),
        ("https://camera_1/a?u=http://b/c", "/a?u=http://b/c"),
        ("/map/1?u=https://x/y", "/map/1?u=https://x/y"),
        ("//vms.example/map", "//vms.example/map"),
        ("", ""),
    ] {
        assert_eq!(path(url), expected, "{url}");
    }
}

#[test]
fn a_url_whose_path_may_begin_elsewhere_is_refused() {
    for url in [
        "https:///map",
        "https://",
        "https://vms.example?/live/1",
        "https://vms.example#/live/1",
        "https://vms.example\\/live/1",
        "https://live@vms.example/map",
        "https://vms.example%2flive/map",
        "https://vms.example,other/map",
        "https://vms example/map",
        "https:/vms.example/map",
        "https:vms.example/map",
        "ftp://vms.example/map",
        "javascript:/map",
        " https://vms.example/map",
        "vms.example/map",
        "*",
        "",
    ] {
        assert_eq!(refusal(url), Some(PathError::NotAbsolute), "{url}");
    }
}

proptest! {
    #[test]
    fn no_host_moves_the_beginning_of_the_path(
        scheme in "(?i)https?",
        host in "[^/]{0,24}",
        path_and_query in "/\\PC{0,40}",
    ) {
        let url = format!("{scheme}://{host}{path_and_query}");
        let found = path(&url);
        prop_assert!(found == path_and_query || found == url, "{found}");
        if found == url {
            prop_assert_eq!(refusal(&url), Some(PathError::NotAbsolute));
        }
    }

    #[test]
    fn a_path_stays_as_it_is(path_and_query in "/\\PC{0,60}") {
        prop_assert_eq!(path(&path_and_query), path_and_query.as_str());
    }
}
