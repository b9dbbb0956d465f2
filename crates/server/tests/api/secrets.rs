//! No password is shown by a command, and no key or token has to be an argument.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use license_core::license_key::LicenseKey;
use proptest::prelude::*;

/// A part of every password here, which must not be seen.
const MARK: &str = "zx9q";
const WARNING: &str = "every user of this machine can see the license key";

/// Runs a command in its own directory.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    run_in(directory.path(), arguments, environment, "")
}

fn run_in(
    directory: &std::path::Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> (Output, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_license-server"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, said)
}

fn hides(said: &str) -> bool {
    !said.to_lowercase().contains(MARK)
}

/// What is inside a password that is harder to read than letters are.
fn odd() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{0,5}", "[0-9]{1,4}[/?#@]"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn no_command_shows_a_password(before in odd(), after in odd()) {
        // What is accepted is not connected to: the scheme or the port is wrong.
        for url in [
            format!("mysql://vms:{before}{MARK}{after}@db/vms"),
            format!("postgresql://vms:{before}{MARK}{after}@127.0.0.1:port/vms"),
            format!("postgresql://vms:{before}{MARK}/{after}@127.0.0.1:1/vms"),
        ] {
            for arguments in [&["serve"][..], &["list"], &["keys", "list"]] {
                let (output, said) = run(arguments, &[("DATABASE_URL", &url)]);
                prop_assert_eq!(output.status.code(), Some(2), "{}: {}", url, said);
                prop_assert!(hides(&said), "{url}: {said}");
            }
            let (_, said) = run(&["list", "--database-url", &url], &[]);
            prop_assert!(hides(&said), "{url}: {said}");
            let (_, said) = run(&["serve", "--help"], &[("DATABASE_URL", &url)]);
            prop_assert!(hides(&said), "{url}: {said}");
        }
    }
}

#[test]
fn a_malformed_url_stops_the_start_unseen_with_the_hint_to_encode() {
    for (url, hint) in [
        ("postgresql://vms:2024/zx9q@db/vms", "/ is %2F"),
        ("postgresql://vms:2024#zx9q@db/vms", "# is %23"),
        ("postgresql://vms:2024?zx9q@db/vms", "? is %3F"),
        ("postgresql://vms:2@zx9q@db/vms", "@ is %40"),
        ("postgresql://u@h/d?sslmode=zx9q", "parameter"),
        ("mysql://u:zx9q@h/d", "sqlite:FILE"),
    ] {
        let (output, said) = run(&["serve"], &[("DATABASE_URL", url)]);
        assert_eq!(output.status.code(), Some(2), "{url}: {said}");
        assert!(said.starts_with("error: DATABASE_URL"), "{said}");
        assert!(said.contains(hint) && hides(&said), "{url}: {said}");
    }
    let url = "postgresql://vms:zx9q@127.0.0.1:1/zx9q?application_name=zx9q";
    let (output, said) = run(&["serve"], &[("DATABASE_URL", url)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("postgresql://127.0.0.1:1: "), "{said}");
    assert!(hides(&said), "{said}");
}

#[test]
fn keys_come_from_standard_input_and_tokens_are_no_arguments() {
    let directory = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &str| {
        let (output, said) = run_in(directory.path(), arguments, &[], input);
        (output.status.code(), said)
    };
    let key = LicenseKey::from_random(&[7; 20]).unwrap().to_string();
    let input = format!("{key}\n");
    assert_eq!(run(&["init"], "").0, Some(0));
    let (code, said) = run(&["issue", "--tier", "standard", "--key", "-"], &input);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&key) && !said.contains(WARNING), "{said}");
    for command in [
        &["show", "-"][..],
        &["suspend", "-"],
        &["reinstate", "-"],
        &["renew", "-", "--never"],
        &["seats", "list", "-"],
        &["suspicions", "-"],
        &["audit", "-"],
        &["list", "--search", "-"],
        &["revoke", "-"],
    ] {
        let (code, said) = run(command, &input);
        assert_eq!(code, Some(0), "{command:?}: {said}");
        assert!(!said.contains(WARNING), "{command:?}: {said}");
        let as_argument = command.iter().map(|it| if *it == "-" { &key } else { *it });
        let (_, said) = run(&as_argument.collect::<Vec<_>>(), "");
        let warnings = said.lines().filter(|line| line.contains(WARNING));
        assert_eq!(warnings.count(), 1, "{command:?}: {said}");
    }
    let (code, said) = run(&["serve", "--admin-token", "hunter2hunter2hunter2"], "");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--admin-token-file") && !said.contains("hunter2"),
        "{said}"
    );
}
