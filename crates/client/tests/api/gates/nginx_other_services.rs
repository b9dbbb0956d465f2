//! nginx before services that are not called over HTTP/1: visitors' headers are removed on the way to
//! them as well, and their own errors are passed on.

use std::collections::BTreeSet;

use super::other_services::Protocol;
use super::requests::{send_raw, sent_headers};
use super::{Licensed, get, shipped, visitor_headers};
use crate::nginx::Nginx;

/// Error pages of the operator, and everything that would send errors of services to them.
const SURROUNDINGS: &str = "proxy_intercept_errors on; fastcgi_intercept_errors on; \
    grpc_intercept_errors on; scgi_intercept_errors on; uwsgi_intercept_errors on;";

/// The names in a file for nginx, as headers.
fn names_in(file: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(shipped::file(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| {
        let mut words = line.split_whitespace();
        let directive = words.next().unwrap();
        let name = words.next().unwrap();
        let is_hidden = match directive.ends_with("_param") {
            true => words.next_back() == Some("if_not_empty;"),
            false => directive.ends_with("_set_header"),
        };
        assert!(is_hidden, "{file}: {line}");
        let name = match directive.ends_with("_param") {
            true => name.strip_prefix("HTTP_").unwrap(),
            false => name,
        };
        name.to_lowercase().replace('_', "-")
    });
    names.collect()
}

#[test]
fn the_files_for_all_kinds_of_services_have_the_same_headers() {
    let mut expected: BTreeSet<_> = visitor_headers::names().into_iter().collect();
    expected.insert("http2-settings".to_owned());
    let names = Protocol::ALL.map(|it| format!("visitor_headers_{}.conf", it.name()));
    for name in names
        .iter()
        .map(String::as_str)
        .chain(["visitor_headers.conf"])
    {
        assert_eq!(
            names_in(&format!("deploy/nginx/{name}")),
            expected,
            "{name}"
        );
        for gated in ["gated_by_feature.conf", "gated_by_path.conf"] {
            let gated = std::fs::read_to_string(shipped::file(&format!("deploy/nginx/{gated}")));
            assert!(
                gated.unwrap().contains(&format!("include {name};")),
                "{name}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_all_kinds_are_gated_by_feature() {
    let licensed = Licensed::by_feature().await;
    let mut locations = format!(
        "location ^~ /map/ {{ set $license_feature module.map_view; \
         include gated_by_feature.conf; proxy_pass http://{}; }}\n",
        licensed.backend.address
    );
    let mut paths = Vec::new();
    for protocol in Protocol::ALL {
        let (name, pass) = (protocol.name(), protocol.pass(protocol.start().await));
        for (path, gate) in [
            (
                name.to_owned(),
                "set $license_feature module.map_view; include gated_by_feature.conf;",
            ),
            (
                format!("{name}-refused"),
                "set $license_feature module.alarm_advanced; include gated_by_feature.conf;",
            ),
            (
                format!("{name}-open"),
                &*format!("include visitor_headers_{name}.conf;"),
            ),
        ] {
            locations += &format!("location ^~ /{path}/ {{ {gate} {pass} }}\n");
        }
        paths.extend([format!("/{name}/1"), format!("/{name}-open/1")]);
    }
    let nginx = Nginx::gate_of_site(&licensed.site.url, SURROUNDINGS, "", &locations).await;
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    licensed.removes_visitor_headers(&nginx.url, &paths).await;
    for protocol in Protocol::ALL {
        is_gated(&nginx.url, protocol.name()).await;
        let refused = get(&nginx.url, &format!("/{}-refused/1", protocol.name()), &[]).await;
        assert_eq!(refused.status(), 403, "{protocol:?}");
        let body = refused.text().await.unwrap();
        assert!(body.contains("not_in_license"), "{protocol:?}: {body}");
    }
    licensed.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_all_kinds_are_gated_by_path() {
    let licensed = Licensed::by_path().await;
    let mut servers = Vec::new();
    for protocol in Protocol::ALL {
        let (name, pass) = (protocol.name(), protocol.pass(protocol.start().await));
        let locations = format!(
            "include gated_by_path.conf; \
             location / {{ include visitor_headers_{name}.conf; {pass} }}\n"
        );
        let nginx = Nginx::gate_of_site(&licensed.site.url, SURROUNDINGS, "", &locations).await;
        licensed
            .removes_visitor_headers(&nginx.url, &["/map/1"])
            .await;
        is_gated(&nginx.url, "map").await;
        let refused = get(&nginx.url, "/alarms/1", &[]).await;
        assert_eq!(refused.status(), 403, "{protocol:?}");
        servers.push(nginx);
    }
    licensed.end().await;
}

/// The service gets the reason from the gate, and its own refusal reaches the visitor.
async fn is_gated(gateway: &str, location: &str) {
    let answer = send_raw(gateway, format!("/{location}/1"), "Connection: close\r\n").await;
    assert_eq!(answer.get(9..12), Some("200"), "{location}: {answer}");
    let seen = sent_headers(&answer);
    assert_eq!(seen["x-license-reason"], "licensed", "{location}: {answer}");
    let own = get(gateway, &format!("/{location}/own-error"), &[]).await;
    assert_eq!(own.status(), 403, "{location}");
    let body = own.text().await.unwrap();
    assert!(body.contains("\"headers\""), "{location}: {body}");
}
