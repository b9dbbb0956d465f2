//! A verifier in another language, which was written from
//! `docs/license-format.md` alone.

use std::process::Command;

#[test]
fn a_verifier_in_another_language_accepts_and_refuses_what_ours_does() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let output = Command::new("/usr/bin/python3")
        .args(["examples/verify_license.py", "--vectors"])
        .arg("crates/core/tests/vectors/conformance.json")
        .current_dir(root)
        .output()
        .expect("python3 is installed by 'cargo xtask test'");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("152 of 152"), "{said}");
}
