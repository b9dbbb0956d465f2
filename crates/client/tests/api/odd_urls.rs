//! URLs with odd passwords: refused without being shown, or shown without them.

use std::process::{Command, Output};

use proptest::prelude::*;

/// A part of every password here, which must not be seen.
const MARK: &str = "zx9q";
/// The settings that are URLs.
const SETTINGS: [&str; 9] = [
    "DATABASE_URL",
    "LICENSE_API_URL",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "LICENSE_CLIENT_URL",
    "CORS_ALLOWED_ORIGINS",
];

fn client(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .output()
        .unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    if let Ok(bundle) = std::fs::read_to_string(directory.path().join("support.json")) {
        said.push_str(&bundle);
    }
    (output, said)
}

fn hides(said: &str) -> bool {
    !said.to_lowercase().contains(MARK)
}

/// What is inside a password that is harder to read than letters are.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{0,5}", "[@:/?#%]{1,3}", "[0-9]{1,4}[/?#]"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    /// Every setting, every command that reads it, every output.
    #[test]
    fn no_command_shows_a_password(before in odd(), after in odd()) {
        let password = format!("{before}{MARK}{after}");
        let urls = [
            format!("postgresql+psycopg2://vms:{password}@127.0.0.1:1/vms"),
            format!("http://vms:{password}@127.0.0.1:1/{password}"),
            format!("corp:{password}@127.0.0.1:1"),
            format!("http://corp:{password}@127.0.0.1:1"),
            format!("http://127.0.0.1:1/?k={password}"),
            format!("socks5://{password}@127.0.0.1:1"),
            format!("http://vms:{password}@127.0.0.1"),
            format!("http://vms:{password}@127.0.0.1:1"),
            format!("https://vms:{password}@vms.example"),
        ];
        let all: Vec<_> = SETTINGS.into_iter().zip(urls.iter().map(String::as_str)).collect();
        let flags = ["config", "--license-api-url", &urls[1], "--database-url", &urls[0]];
        for arguments in [&["config", "--json"][..], &["status"], &["serve", "--help"], &flags] {
            let (_, said) = client(arguments, &all);
            prop_assert!(hides(&said), "{arguments:?} {password}: {said}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    /// The same with passwords that are encoded as they should be: then all of
    /// them are accepted.
    #[test]
    fn no_check_and_no_support_file_shows_a_password(password in odd()) {
        let encode = |text: &str| {
            let bytes = text.bytes().map(|byte| format!("%{byte:02x}"));
            format!("{}{MARK}", bytes.collect::<String>())
        };
        let password = encode(&password);
        let server = format!("http://vms:{password}@127.0.0.1:1/{password}?k={password}");
        let proxy = format!("corp:{password}@127.0.0.1:1");
        let settings = [
            ("LICENSE_API_URL", server.as_str()),
            ("HTTP_PROXY", &proxy),
            ("ALL_PROXY", &proxy),
        ];
        let (_, said) = client(&["doctor", "--bundle", "support.json", "--port", "1"], &settings);
        prop_assert!(said.contains("HTTP_PROXY=http://127.0.0.1:1"), "{said}");
        prop_assert!(said.contains("\"LICENSE_API_URL\""), "{said}");
        prop_assert!(hides(&said), "{said}");
    }
}

#[test]
fn a_malformed_url_stops_the_start_unseen_with_the_hint_to_encode() {
    for (variable, value, hint) in [
        (
            "DATABASE_URL",
            "postgresql://vms:2024/zx9q@db/vms",
            "/ is %2F",
        ),
        (
            "DATABASE_URL",
            "postgresql://vms:2024#zx9q@db/vms",
            "# is %23",
        ),
        (
            "DATABASE_URL",
            "postgresql://vms:2024?zx9q@db/vms",
            "? is %3F",
        ),
        ("DATABASE_URL", "postgresql://vms:2@zx9q@db/vms", "@ is %40"),
        (
            "DATABASE_URL",
            "postgresql://u@h/d?sslmode=zx9q",
            "parameter",
        ),
        ("LICENSE_API_URL", "https://vms:20#zx9q@h/api", "# is %23"),
        ("LICENSE_API_URL", "zx9q", "https://"),
        ("HTTPS_PROXY", "corp:20#zx9q@proxy:3128", "# is %23"),
        ("https_proxy", "http://corp:20/zx9q@proxy:3128", "/ is %2F"),
        ("ALL_PROXY", "corp:20?zx9q@proxy:3128", "? is %3F"),
        (
            "ALL_PROXY",
            "quic://corp:zx9q@proxy",
            "expected http://, https://, socks5://",
        ),
        (
            "CORS_ALLOWED_ORIGINS",
            "https://u:zx9q@h",
            "must not contain",
        ),
    ] {
        let (output, said) = client(&["serve", "--port", "1"], &[(variable, value)]);
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{value}: {said}"
        );
        assert!(
            said.starts_with(&format!("error: {variable}")),
            "{value}: {said}"
        );
        assert!(said.contains(hint), "{value}: {said}");
        assert!(hides(&said), "{value}: {said}");
    }
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let url = "postgresql://vms:zx9q@127.0.0.1:1/zx9q?password=zx9q";
    let (_, said) = client(&["doctor"], &[("DATABASE_URL", url)]);
    assert!(said.contains("postgresql://127.0.0.1:1: "), "{said}");
    assert!(hides(&said), "{said}");
}
