//! The method of a request.

use super::{PATH, gate, reason};

/// A table in which a method makes a difference.
pub(super) const METHODS: &str = r#"
[[route]]
path = "/api/alarms/**"
methods = ["GET"]

[[route]]
path = "/api/alarms/**"
feature = "module.alarm_advanced"

[[route]]
path = "/api/find"
methods = ["VERSION-CONTROL"]
feature = "module.alarm_advanced"

[[route]]
path = "/api/cameras/*/export"
feature = "module.alarm_advanced"

[[route]]
path = "/api/analytics/**"
feature = "module.analytics_advanced"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_counts_only_beside_its_own_path_and_one_time() {
    let gate = gate(METHODS).await;
    let alarms = "/api/alarms/7";
    for (own, other) in [("forwarded", "original"), ("original", "forwarded")] {
        let uri = format!("x-{own}-uri");
        let method = format!("x-{own}-method");
        let other_method = format!("x-{other}-method");
        let other_uri = format!("x-{other}-uri");
        let path = (uri.as_str(), alarms);
        let get = (method.as_str(), "GET");
        let elsewhere = (other_uri.as_str(), "/api/open");
        for (headers, expected) in [
            (vec![path, get], "no_feature_needed"),
            (vec![path, (&method, "get")], "no_feature_needed"),
            (vec![path, (&method, "POST")], "not_in_license"),
            (vec![path, (&method, "PROPFIND")], "not_in_license"),
            // Nothing says which method it is.
            (vec![path], "not_in_license"),
            (vec![path, (&other_method, "GET")], "not_in_license"),
            (vec![path, get, (&method, "POST")], "not_in_license"),
            (vec![path, get, get], "not_in_license"),
            (vec![path, (&method, "GET, POST")], "not_in_license"),
            (vec![path, (&method, "GET,GET")], "not_in_license"),
            (vec![path, (&method, "")], "not_in_license"),
            (vec![path, (&method, "G\tT")], "not_in_license"),
            (vec![path, (&method, &"G".repeat(33))], "not_in_license"),
            // A second path is judged by its own method, and does not lend it.
            (
                vec![path, elsewhere, (&other_method, "GET")],
                "not_in_license",
            ),
            (vec![path, elsewhere, get], "no_feature_needed"),
            (vec![elsewhere, get], "no_feature_needed"),
            // The same path twice: one may be the visitor's.
            (vec![path, get, (&uri, "/api/open")], "bad_path"),
            (vec![path, get, path], "bad_path"),
        ] {
            assert_eq!(reason(&gate, PATH, &headers).await, expected, "{headers:?}");
        }
    }
    // A method that only the table knows is one of those that it may be.
    let find = [("x-original-uri", "/api/find")];
    assert_eq!(reason(&gate, PATH, &find).await, "not_in_license");
    let get = [find[0], ("x-original-method", "GET")];
    assert_eq!(reason(&gate, PATH, &get).await, "no_feature_needed");
    // All three ways to name a path, and the strictest counts.
    let headers = [
        ("x-original-uri", "/api/open"),
        ("x-original-method", "GET"),
        ("x-forwarded-uri", "/api/open"),
        ("x-forwarded-method", "GET"),
    ];
    let below = format!("{PATH}/api/open");
    assert_eq!(reason(&gate, &below, &headers).await, "no_feature_needed");
    let below = format!("{PATH}/api/analytics/heat");
    assert_eq!(reason(&gate, &below, &headers).await, "licensed");
    let strict = [&headers[..3], &[("x-forwarded-method", "POST")]].concat();
    let strict = [&strict[..2], &[("x-forwarded-uri", alarms)], &strict[3..]].concat();
    assert_eq!(reason(&gate, &below, &strict).await, "not_in_license");
    gate.site.end().await;
}
