//! A directory of state that cannot be used.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
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
            said.contains(&format!("'{state}' cannot be created or written: ")),
            "{said}"
        );
        assert!(
            said.contains("choose another path with STATE_DIR"),
            "{said}"
        );
    }
}

#[test]
fn a_link_to_something_missing_is_named_by_the_service_and_by_commands() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    symlink("volume", &link).unwrap();
    let (link, below) = (
        link.display().to_string(),
        format!("{}/state", link.display()),
    );
    let url = format!("sqlite:{link}");
    let named = format!(
        "'{link}' is a link to 'volume', which does not exist; mount its file system or correct \
         the link"
    );
    for setting in [
        ["--state-dir", &link],
        ["--state-dir", &below],
        ["--database-url", &url],
        ["--keys-dir", &below],
    ] {
        let commands = [&["serve", "--port", "0"][..], &["init"], &["list"]];
        // Lists need no keys.
        let commands = &commands[..commands.len() - usize::from(setting[0] == "--keys-dir")];
        for &command in commands {
            let output = Command::new(env!("CARGO_BIN_EXE_license-server"))
                .args(command)
                .args(setting)
                .current_dir(directory.path())
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1), "{command:?} {setting:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains(&named), "{command:?} {setting:?}: {said}");
            assert!(!said.contains("write permission"), "{said}");
        }
    }
}

#[test]
fn a_name_that_is_not_valid_utf_8_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join(OsStr::from_bytes(b"lat\xfc"));
    let output = Command::new(env!("CARGO_BIN_EXE_license-server"))
        .args(["serve", "--port", "0"])
        .env("STATE_DIR", &state)
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("STATE_DIR is not valid UTF-8; rename the directory"),
        "{said}"
    );
    assert!(!state.exists());
}
