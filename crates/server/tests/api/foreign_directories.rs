//! Directories and files that another user has prepared where root runs a command. Only root can
//! be two users, so these tests need root.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// A user that exists on no machine.
const ATTACKER: u32 = 54_322;

/// The exit code and the errors of a command of root.
fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-server"));
    command.args(arguments).current_dir(directory);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), errors)
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A directory with this mode that belongs to this user.
fn make(path: &Path, mode: u32, user: u32) {
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    chown(path, Some(user), Some(user)).unwrap();
}

/// A command of root does not start, because of this setting.
fn is_refused(directory: &Path, arguments: &[&str], setting: &str) {
    let (code, errors) = run(directory, arguments);
    assert_eq!(code, Some(1), "{arguments:?}: {errors}");
    let said = format!("error: {setting}: '");
    assert!(errors.starts_with(&said), "{arguments:?}: {errors}");
    assert!(errors.contains("to an absolute path"), "{errors}");
}

#[test]
fn no_command_uses_what_another_user_has_prepared() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let shared = root.path().join("shared");
    make(&shared, 0o1777, 0);
    // Nothing is there yet, and anyone may create it first.
    is_refused(&shared, &["init"], "STATE_DIR");
    make(&shared.join("license-server-data"), 0o755, ATTACKER);
    for arguments in [
        &["init"][..],
        &["serve", "--port", "0"],
        &["issue", "--tier", "standard"],
        &["keys", "export", "--output", "trusted.json"],
        &["list"],
        &["list", "--state-dir", "./license-server-data/deeper"],
    ] {
        is_refused(&shared, arguments, "STATE_DIR");
    }
    let state = root.path().join("state");
    let state = state.to_str().unwrap();
    let keys = [
        "init",
        "--state-dir",
        state,
        "--keys-dir",
        "license-server-data",
    ];
    is_refused(&shared, &keys, "KEYS_DIR");
    let file = "sqlite:license-server-data/x.db";
    let database = ["init", "--state-dir", state, "--database-url", file];
    is_refused(&shared, &database, "DATABASE_URL");
    let foreign = std::fs::read_dir(shared.join("license-server-data"));
    assert_eq!(foreign.unwrap().count(), 0, "something was written");
    assert!(!shared.join("trusted.json").exists());

    // In a directory of root, in one below a shared one, and at an absolute path.
    let own = shared.join("own");
    make(&own, 0o755, 0);
    assert_eq!(run(&own, &["init"]), (Some(0), String::new()));
    assert_eq!(run(&own, &["list"]).0, Some(0));
    assert_eq!(run(&shared, &["init", "--state-dir", state]).0, Some(0));
    assert_eq!(run(&shared, &["health", "--port", "1"]).0, Some(1));
    // What root has given to the user of the service is root's choice.
    make(&own.join("given"), 0o755, ATTACKER);
    symlink("given", own.join("link")).unwrap();
    for chosen in ["given", "link"] {
        assert_eq!(run(&own, &["init", "--state-dir", chosen]).0, Some(0));
    }
}

#[test]
fn no_command_uses_a_directory_that_another_user_can_replace() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let own = root.path().join("own");
    make(&own, 0o755, 0);
    assert_eq!(run(&own, &["init"]).0, Some(0));
    let state = root.path().join("state");
    let state = state.to_str().unwrap();
    assert_eq!(run(&own, &["init", "--state-dir", state]).0, Some(0));
    // Another user can replace what is in the directory, with a link to a closed one.
    let open = root.path().join("open");
    make(&open, 0o755, ATTACKER);
    symlink(&own, open.join("license-server-data")).unwrap();
    is_refused(&open, &["init"], "STATE_DIR");
    let up = ["init", "--state-dir", "../open/license-server-data"];
    is_refused(&own, &up, "STATE_DIR");
    // No name leads to the directory, or the last one leads out of it again.
    let below = open.join("below");
    make(&below, 0o755, 0);
    for (directory, path) in [
        (&open, "."),
        (&open, "./"),
        (&open, "./."),
        (&open, "below/.."),
        (&below, ".."),
        (&below, "../."),
        (&below, "./../"),
    ] {
        is_refused(directory, &["list", "--state-dir", path], "STATE_DIR");
    }
    let keys = ["init", "--state-dir", state, "--keys-dir", "."];
    is_refused(&open, &keys, "KEYS_DIR");
    let token = open.join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let serve = [
        "serve",
        "--state-dir",
        state,
        "--port",
        "0",
        "--admin-token-file",
        "token",
    ];
    is_refused(&open, &serve, "ADMIN_TOKEN_FILE");
    let group = root.path().join("group");
    make(&group, 0o755, 0);
    chown(&group, None, Some(ATTACKER)).unwrap();
    std::fs::set_permissions(&group, Permissions::from_mode(0o775)).unwrap();
    is_refused(&group, &["init"], "STATE_DIR");
}
