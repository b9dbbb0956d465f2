//! `TRUSTED_NETWORKS=attached` in a container's network: siblings are trusted, and callers that the
//! container engine forwards from outside are not.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::gates::shipped;

/// What `tests/python/container.py` prints, or `None` if the system permits no namespaces.
fn in_container(trusted_networks: &str) -> Option<Value> {
    let mut namespace = Command::new("unshare");
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        namespace.args(["--user", "--map-root-user"]);
    }
    namespace.arg("--net");
    let mut attempt = Command::new("unshare");
    attempt.args(namespace.get_args()).arg("true");
    if !attempt.status().is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this system permits no network namespaces");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = namespace
        .args(["/usr/bin/python3", "-B"])
        .arg(shipped::file("crates/client/tests/python/container.py"))
        .arg(env!("CARGO_BIN_EXE_license-client"))
        .arg(directory.path())
        .arg(trusted_networks)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Which callers may make changes.
fn assert_statuses(found: &Value, expected: &[(&str, u16)]) {
    for (caller, status) in expected {
        assert_eq!(found[caller], json!(status), "{caller}: {found}");
    }
}

fn access_in_doctor(found: &Value) -> &str {
    let findings = found["doctor"].as_array().unwrap();
    let mut findings = findings.iter();
    let access = findings.find(|it| it["what"] == "permission to make changes");
    access.unwrap()["found"].as_str().unwrap()
}

const NETWORKS: &str = "10.89.0.0/24, 127.0.0.0/8, ::1/128, fd89::/64 without 10.89.0.1, \
    10.89.0.2, 10.89.0.9, fd89::1, fd89::2";

#[test]
fn a_gateway_that_forwards_callers_from_outside_is_no_neighbour() {
    let Some(found) = in_container("loopback,attached") else {
        return;
    };
    assert_statuses(
        &found,
        &[
            ("gateway", 401),
            ("gateway by IPv6", 401),
            ("gateway with the token", 200),
            ("another router", 401),
            ("the container's own address", 401),
            ("sibling", 200),
            ("sibling by IPv6", 200),
            ("loopback", 200),
        ],
    );
    let doctor = access_in_doctor(&found);
    assert!(doctor.contains("loopback,attached (attached: "), "{doctor}");
    assert!(doctor.contains(NETWORKS), "{doctor}");
    let log = found["log"].as_str().unwrap();
    assert!(
        log.contains(NETWORKS) && log.contains("need the ADMIN_TOKEN"),
        "{log}"
    );
}

#[test]
fn an_operator_may_trust_the_gateway() {
    for (networks, router, own) in [
        ("loopback,attached,gateway", 200, 200),
        ("attached,10.89.0.1,fd89::1", 401, 401),
        ("gateway", 200, 200),
    ] {
        let Some(found) = in_container(networks) else {
            return;
        };
        let sibling = if networks == "gateway" { 401 } else { 200 };
        assert_statuses(
            &found,
            &[
                ("gateway", 200),
                ("gateway by IPv6", 200),
                ("another router", router),
                ("the container's own address", own),
                ("sibling", sibling),
                ("sibling by IPv6", sibling),
            ],
        );
    }
}
