//! Commands that root runs, or another user: the service can read every file that they make.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::gates::process::copy_program;

/// Users that exist on no machine: the service's and another one.
const SERVICE: u32 = 54_321;
const ANOTHER: u32 = 54_322;

/// Only root can be several users.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// An empty directory of the service's user, in which others may write or not.
fn state(mode: u32) -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let state = outer.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
    chown(&state, Some(SERVICE), Some(SERVICE)).unwrap();
    (outer, state)
}

fn run(user: u32, state: &Path, arguments: &[&str]) -> Output {
    let program = state.with_file_name("license-server");
    if !program.exists() {
        copy_program(env!("CARGO_BIN_EXE_license-server"), &program);
    }
    let mut command = Command::new(program);
    command.args(arguments).arg("--state-dir").arg(state);
    command
        .current_dir("/")
        .uid(user)
        .gid(user)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn what_root_makes_belongs_to_the_user_of_the_service() {
    if !is_root() {
        return;
    }
    // Who makes the database: root, or the service itself.
    for user in [0, SERVICE] {
        let (_outer, state) = state(0o700);
        for (user, command) in [
            (user, &["init"][..]),
            (0, &["keys", "rotate", "--at-once"]),
            (0, &["issue", "--tier", "standard"]),
            (SERVICE, &["keys", "rotate"]),
            (0, &["keys", "rotate"]),
            (SERVICE, &["keys", "list"]),
            (SERVICE, &["list"]),
        ] {
            let output = run(user, &state, command);
            assert!(output.status.success(), "{command:?}: {}", said(&output));
            for file in files(&state) {
                let owner = fs::metadata(&file).unwrap().uid();
                assert_eq!(owner, SERVICE, "{} after {command:?}", file.display());
            }
        }
    }
}

#[test]
fn a_user_whose_files_the_service_could_not_read_is_refused_before_anything_is_written() {
    if !is_root() {
        return;
    }
    // Anyone may write there, and the service owns it.
    let (_outer, empty) = state(0o777);
    let output = run(ANOTHER, &empty, &["init"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    for expected in [
        format!("'{}'", empty.display()),
        format!("belongs to user {SERVICE}"),
        format!("new file of user {ANOTHER}"),
    ] {
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    assert!(files(&empty).is_empty(), "{:?}", files(&empty));
    // A key directory alone that anyone may write to.
    let (_outer, own) = state(0o700);
    chown(&own, Some(ANOTHER), Some(ANOTHER)).unwrap();
    let (_other, keys) = state(0o777);
    let keys_dir = keys.display().to_string();
    let made = run(SERVICE, &keys, &["init"]);
    assert!(made.status.success(), "{}", said(&made));
    let before = files(&keys);
    let output = run(ANOTHER, &own, &["init", "--keys-dir", &keys_dir]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains(&format!("belongs to user {SERVICE}")),
        "{}",
        said(&output)
    );
    assert_eq!(files(&keys), before);
}
