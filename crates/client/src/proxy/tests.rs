use super::*;

fn settings(variables: &[(&str, &str)]) -> ProxySettings {
    ProxySettings::read(|asked| {
        let found = variables.iter().find(|(variable, _)| *variable == asked);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn route(variables: &[(&str, &str)], url: &str) -> String {
    let route = settings(variables).route(&url.parse().unwrap());
    route.map_or_else(|error| error.to_string(), |route| route.to_string())
}

#[test]
fn the_first_variable_for_the_scheme_names_the_proxy() {
    let https = "https://license.example/api";
    let http = "http://license.example/api";
    for (variables, url, expected) in [
        (&[][..], https, "directly"),
        (
            &[("HTTPS_PROXY", "proxy:3128")],
            https,
            "through http://proxy:3128 (HTTPS_PROXY)",
        ),
        (
            &[("https_proxy", " http://u:p@proxy:3128\r\n")],
            https,
            "through http://proxy:3128 (https_proxy)",
        ),
        (&[("HTTPS_PROXY", "proxy:3128")], http, "directly"),
        (&[("HTTP_PROXY", "proxy:3128")], https, "directly"),
        (
            &[("HTTP_PROXY", "proxy:3128")],
            http,
            "through http://proxy:3128 (HTTP_PROXY)",
        ),
        (
            &[("ALL_PROXY", "SOCKS5://u:p@proxy")],
            http,
            "through socks5://proxy (ALL_PROXY)",
        ),
        (
            &[("all_proxy", "socks5h://proxy:9050")],
            https,
            "through socks5h://proxy:9050 (all_proxy)",
        ),
        (
            &[("HTTPS_PROXY", ""), ("ALL_PROXY", "https://proxy")],
            https,
            "through https://proxy (ALL_PROXY)",
        ),
        (
            &[("HTTPS_PROXY", "one"), ("ALL_PROXY", "quic://two")],
            https,
            "through http://one (HTTPS_PROXY)",
        ),
    ] {
        assert_eq!(route(variables, url), expected, "{variables:?} {url}");
    }
}

#[test]
fn no_proxy_lists_hosts_networks_and_ports() {
    for (entry, url, is_listed) in [
        ("*", "https://license.example", true),
        ("*", "https://10.1.2.3:4000", true),
        ("*", "https://[fd00::1]:4000", true),
        ("10.1.2.3", "https://10.1.2.3:4000", true),
        ("10.1.2.3:4000", "https://10.1.2.3:4000", true),
        ("10.1.2.3:4000", "https://10.1.2.3:4001", false),
        ("10.1.2.3:443", "https://10.1.2.3", true),
        ("10.0.0.0/8", "https://10.1.2.3:4000", true),
        ("10.0.0.0/8:4000", "https://10.1.2.3:4000", true),
        ("10.0.0.0/8:4000", "https://10.1.2.3", false),
        ("10.0.0.0/8", "https://11.1.2.3", false),
        ("10.0.0.0/8", "https://license.example", false),
        ("fd00::1", "https://[fd00::1]:4000", true),
        ("[fd00::1]", "https://[fd00::1]:4000", true),
        ("[FD00:0::1]:4000", "https://[fd00::1]:4000", true),
        ("[fd00::1]:4000", "https://[fd00::1]", false),
        ("fd00::/8", "https://[fd00::1]", true),
        ("[fd00::]/8", "https://[fd00::1]", false),
        ("::1", "https://[fd00::1]", false),
        ("10.1.2.3", "https://[::ffff:10.1.2.3]", true),
        ("license.example", "https://license.example", true),
        ("license.example", "https://LICENSE.example.:443", true),
        ("License.Example.", "https://license.example", true),
        ("license.example:443", "https://license.example", true),
        ("license.example:4000", "https://license.example", false),
        ("example", "https://license.example", true),
        (".example", "https://license.example", true),
        ("*.example", "https://license.example", true),
        (".license.example", "https://license.example", true),
        (".example:443", "https://license.example", true),
        (".example:444", "https://license.example", false),
        ("ample", "https://license.example", false),
        (".ample", "https://license.example", false),
        ("license.exam", "https://license.example", false),
        ("https://license.example/", "https://license.example", true),
        ("grün.example", "https://xn--grn-ioa.example", true),
        ("localhost", "https://127.0.0.1", false),
    ] {
        for list in [
            entry.to_owned(),
            format!(" other.test, {entry} ,"),
            format!("other.test;{entry}\r\n"),
            format!("other.test {entry}"),
        ] {
            let variables = [("HTTPS_PROXY", "proxy"), ("no_proxy", list.as_str())];
            let expected = match is_listed {
                true => format!("directly, because NO_PROXY lists '{entry}'"),
                false => "through http://proxy (HTTPS_PROXY)".to_owned(),
            };
            assert_eq!(route(&variables, url), expected, "{list:?} {url}");
        }
    }
}

#[test]
fn entries_that_cannot_be_read_are_named_without_secrets() {
    let list = "10.*, a/b, host:99999, u:pa55@host, , fe80::1%eth0, ok.example";
    let found = settings(&[("NO_PROXY", list)]);
    let expected = ["10.*", "a/b", "host:99999", "****", "fe80::1%eth0"];
    assert_eq!(found.unreadable(), expected);
}

#[test]
fn a_proxy_that_is_not_supported_is_refused_only_where_it_would_be_used() {
    let variables = [("ALL_PROXY", "quic://u:pa55@proxy")];
    let refused = route(&variables, "https://license.example");
    assert_eq!(
        refused,
        "ALL_PROXY names a proxy with an unsupported scheme; expected http://, \
         https://, socks5://, socks5h://, socks4://, socks4a://. List the License Server \
         in NO_PROXY to call it directly"
    );
    let listed = [variables[0], ("NO_PROXY", ".example")];
    let route = route(&listed, "https://license.example");
    assert_eq!(route, "directly, because NO_PROXY lists '.example'");
}

#[test]
fn proxies_are_shown_without_secrets_and_malformed_ones_are_refused() {
    for (proxy, shown) in [
        ("corp:pa55@proxy:3128", "http://proxy:3128"),
        ("http://corp:pa55@proxy:3128", "http://proxy:3128"),
        ("https://corp:pa%23s@proxy/pa55?pa55", "https://proxy"),
        ("proxy:3128", "http://proxy:3128"),
        ("socks5h://corp:pa55@proxy", "socks5h://proxy"),
        ("quic://corp:pa55@proxy", "****"),
    ] {
        let found = settings(&[("HTTPS_PROXY", proxy)]).shown();
        assert_eq!(found, [format!("HTTPS_PROXY={shown} for https addresses")]);
    }
    for malformed in [
        "corp:20#pa55@proxy:3128",
        "corp:20/pa55@proxy:3128",
        "corp:20?pa55@proxy:3128",
        "http://corp:pa55@x@proxy:3128",
        "http://corp:pa 55@proxy:3128",
        "corp:a://pa55@proxy:3128",
    ] {
        for variable in HTTPS.into_iter().chain(HTTP) {
            let error = route(&[(variable, malformed)], "https://license.example");
            let start = format!("{variable} is malformed (its value is not shown)");
            assert!(error.starts_with(&start), "{error}");
            assert!(
                error.contains("# is %23") && !error.contains("pa55"),
                "{error}"
            );
        }
    }
}
