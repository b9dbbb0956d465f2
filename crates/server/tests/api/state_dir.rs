//! A directory of state that cannot be written.

use std::process::Command;

#[test]
fn it_is_named_with_what_to_do() {
    // Not even root can create a file in /proc.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for state in ["/proc".to_owned(), format!("{}/state", file.display())] {
        let output = Command::new(env!("CARGO_BIN_EXE_license-server"))
            .args(["serve", "--port", "0", "--state-dir", &state])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(&format!("'{state}' is not writable by user ")),
            "{said}"
        );
        assert!(
            said.contains("choose another path with STATE_DIR"),
            "{said}"
        );
    }
}
