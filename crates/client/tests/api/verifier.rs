//! A verifier in another language, which was written from
//! `docs/license-format.md` alone.

use std::process::Command;

#[test]
fn a_verifier_in_another_language_accepts_and_refuses_what_ours_does() {
    agrees_with("crates/core/tests/vectors/conformance.json");
}

#[test]
fn a_reader_in_another_language_grants_what_ours_does() {
    agrees_with("crates/core/tests/vectors/entitlements.json");
}

fn agrees_with(vectors: &str) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new("/usr/bin/python3")
        .args(["examples/verify_license.py", "--vectors"])
        .arg(vectors)
        .current_dir(root)
        .output()
        .expect("python3 is installed by 'cargo xtask test'");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let vectors = std::fs::read_to_string(format!("{root}/{vectors}")).unwrap();
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&vectors).unwrap();
    let all = format!("{0} of {0} vectors", vectors.len());
    assert!(said.contains(&all), "{said}");
}
