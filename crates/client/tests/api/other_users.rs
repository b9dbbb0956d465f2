//! What other users of the machine can do to the commands of root. Only root can be two
//! users, so these tests need root.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// A user that exists on no machine.
const ATTACKER: u32 = 54_322;

/// Accepts connections, and says what it gets.
const LISTEN: &str = "import socket
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
while True:
    connection, _ = server.accept()
    print(connection.recv(65536), flush=True)
    connection.close()";

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn settings_that_another_user_wrote_are_not_obeyed() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let file = directory.join(".env");
    std::fs::write(&file, "PORT=1\nSTATE_DIR=.\nADMIN_TOKEN_FILE=/etc/shadow\n").unwrap();
    // No service listens at this address.
    let config = || run(directory, &["config", "--json"], &[("HOST", "127.0.0.77")]);
    let settings = |output: &Output| {
        let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        read["settings"].clone()
    };
    assert_eq!(settings(&config())["PORT"]["value"], "1");
    let refusal = "the file .env of the working directory is not read, because";
    for (path, owner) in [(&*file, ATTACKER), (directory, ATTACKER)] {
        chown(&file, Some(0), None).unwrap();
        chown(path, Some(owner), None).unwrap();
        let output = config();
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(
            said.starts_with(&format!("warning: {refusal}")) && said.contains("user 54322"),
            "{said}"
        );
        assert_eq!(said.matches("warning:").count(), 1, "{said}");
        for setting in ["PORT", "STATE_DIR", "ADMIN_TOKEN_FILE"] {
            let source = &settings(&output)[setting]["source"];
            assert_ne!(source, ".env", "{setting}");
        }
        // The service does not start with another database than its own.
        let output = run(directory, &["serve", "--port", "1"], &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("error: {refusal}")), "{said}");
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
    }
}

#[test]
fn no_command_sends_what_is_in_its_address_to_another_users_listener() {
    if !is_root() {
        return;
    }
    let (mut listener, mut heard, port) = listener_of(ATTACKER);
    let directory = tempfile::tempdir().unwrap();
    for user in ["token", "me:hunter2", ":hunter2"] {
        let url = format!("http://{user}@127.0.0.1:{port}");
        for command in [
            &["status"][..],
            &["features"],
            &["limits"],
            &["hardware"],
            &["attempts"],
            &["check", "module.map_view"],
        ] {
            let output = run(directory.path(), command, &[("LICENSE_CLIENT_URL", &url)]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                said.contains("but its user (id 54322) neither runs"),
                "{command:?}: {said}"
            );
            assert!(
                !said.contains("token@") && !said.contains("hunter2"),
                "{said}"
            );
        }
    }
    listener.kill().unwrap();
    listener.wait().unwrap();
    let mut got = String::new();
    heard.read_line(&mut got).unwrap();
    assert_eq!(got, "", "nothing was sent");
}

/// Starts a program of this user; what it gets, and its port.
fn listener_of(user: u32) -> (Child, BufReader<ChildStdout>, String) {
    let mut listener = Command::new("python3")
        .args(["-I", "-c", LISTEN])
        .uid(user)
        .gid(user)
        .current_dir("/")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(listener.stdout.take().unwrap());
    let mut port = String::new();
    heard.read_line(&mut port).unwrap();
    (listener, heard, port.trim().to_owned())
}

/// A working directory of root, with a state directory that the attacker owns.
fn state_of_attacker(directory: &Path) -> (PathBuf, PathBuf) {
    let place = directory.join("place");
    let state = place.join("license-client-data");
    let inner = state.join("inner");
    std::fs::create_dir_all(&inner).unwrap();
    chown(&state, Some(ATTACKER), Some(ATTACKER)).unwrap();
    chown(&inner, Some(ATTACKER), Some(ATTACKER)).unwrap();
    (place, state)
}

#[test]
fn a_directory_that_another_user_made_makes_no_user_trusted() {
    if !is_root() {
        return;
    }
    let (mut listener, heard, port) = listener_of(ATTACKER);
    let directory = tempfile::tempdir().unwrap();
    let (place, state) = state_of_attacker(directory.path());
    let inner = state.join("inner");
    let commands: [&[&str]; 5] = [
        &["config"],
        &["doctor"],
        &["validate"],
        &["heartbeat"],
        &["features", "off", "module.map_view"],
    ];
    let refused = |state_dir: Option<&str>, commands: &[&[&str]]| {
        for command in commands {
            let mut environment = vec![("PORT", &*port), ("ADMIN_TOKEN", "hunter2hunter2hunter2")];
            environment.extend(state_dir.map(|it| ("STATE_DIR", it)));
            let output = run(&place, command, &environment);
            let said = [&output.stdout[..], &output.stderr].concat();
            let said = String::from_utf8(said).unwrap();
            assert!(
                said.contains("but its user (id 54322) neither runs"),
                "{state_dir:?} {command:?}: {said}"
            );
        }
    };
    let set = |mode| std::fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
    // The default does not count as a setting, even if others can write to the working directory.
    for (mode, owner) in [(0o755, 0), (0o777, 0), (0o1777, 0), (0o755, ATTACKER)] {
        set(mode);
        chown(&place, Some(owner), None).unwrap();
        refused(None, &commands);
        if mode != 0o755 || owner != 0 {
            refused(Some("license-client-data"), &commands);
            refused(Some("./license-client-data"), &commands[..3]);
        }
    }
    chown(&place, Some(0), None).unwrap();
    set(0o755);
    refused(Some("license-client-data/inner"), &commands);
    symlink(&inner, place.join("link")).unwrap();
    refused(Some("link"), &commands[..3]);
    // A link of another user to a directory in which only root creates entries.
    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(ATTACKER), Some(ATTACKER)).unwrap();
    symlink(&home, place.join("to-home")).unwrap();
    for (mode, group) in [(0o777, 0), (0o775, ATTACKER)] {
        chown(&place, Some(0), Some(group)).unwrap();
        set(mode);
        refused(Some("to-home"), &commands[..3]);
    }
    listener.kill().unwrap();
    listener.wait().unwrap();
    // `doctor` asks every program on the port what it is.
    let got: Vec<String> = heard.lines().map(Result::unwrap).collect();
    assert!(!got.is_empty());
    let has_secret = |line: &String| line.contains("hunter2") || line.contains("authorization");
    assert!(!got.iter().any(has_secret), "{got:?}");
}

#[test]
fn the_owner_of_a_directory_that_no_other_user_can_have_made_is_trusted() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (place, state) = state_of_attacker(directory.path());
    for state_dir in ["license-client-data", state.to_str().unwrap()] {
        let (mut listener, mut heard, port) = listener_of(ATTACKER);
        let environment = [
            ("PORT", &*port),
            ("ADMIN_TOKEN", "hunter2hunter2hunter2"),
            ("STATE_DIR", state_dir),
        ];
        run(&place, &["validate"], &environment);
        let mut got = String::new();
        heard.read_line(&mut got).unwrap();
        assert!(got.contains("Bearer hunter2hunter2hunter2"), "{got}");
        listener.kill().unwrap();
        listener.wait().unwrap();
    }
}

/// The directories of systemd's `DynamicUser`.
#[test]
fn an_owner_that_may_not_be_read_is_not_called_foreign() {
    const SERVICE: u32 = 61_500;
    const OPERATOR: u32 = 54_323;
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let set_mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    std::fs::create_dir_all(at("private/state")).unwrap();
    chown(at("private/state"), Some(SERVICE), Some(SERVICE)).unwrap();
    set_mode(&at("private"), 0o700);
    set_mode(directory.path(), 0o755);
    symlink("private/state", at("state")).unwrap();
    let (mut listener, mut heard, port) = listener_of(SERVICE);
    let state = at("state").display().to_string();
    let ask = |arguments: &[&str]| {
        let asked = Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(arguments)
            .envs([("STATE_DIR", &*state), ("PORT", &*port)])
            .uid(OPERATOR)
            .gid(OPERATOR)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [asked.stdout, asked.stderr].concat();
        String::from_utf8(said).unwrap()
    };
    let unread = format!("'{state}' cannot be read as user {OPERATOR} (Permission denied");
    let said = ask(&["activate", "FXSGHT-AAAA-BBBB-CCCC-DDDD"]);
    assert!(said.contains(&format!("the owner of {unread}")), "{said}");
    assert!(said.contains("run the command as root (sudo)"), "{said}");
    assert!(!said.contains("nor owns STATE_DIR"), "{said}");
    listener.kill().unwrap();
    listener.wait().unwrap();
    let mut got = String::new();
    heard.read_line(&mut got).unwrap();
    assert_eq!(got, "", "nothing was sent");
    let said = ask(&["doctor"]);
    assert!(said.contains(&format!("STATE_DIR: {unread}")), "{said}");
    assert!(said.contains("database: "), "{said}");
    assert!(!said.contains("does not exist yet"), "{said}");
}

#[test]
fn the_service_uses_no_directory_that_another_user_may_have_prepared() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let shared = directory.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    for prepared in [None, Some("license-client-data")] {
        if let Some(prepared) = prepared {
            std::fs::create_dir(shared.join(prepared)).unwrap();
            chown(shared.join(prepared), Some(ATTACKER), Some(ATTACKER)).unwrap();
        }
        for (arguments, setting) in [
            (&["serve", "--port", "0"][..], "STATE_DIR"),
            (
                &[
                    "serve",
                    "--port",
                    "0",
                    "--state-dir",
                    "/nonexistent",
                    "--database-url",
                    "sqlite:x",
                ],
                "DATABASE_URL",
            ),
        ] {
            let output = run(&shared, arguments, &[]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{said}");
            let refusal = format!("error: {setting}: '");
            assert!(
                said.contains(&refusal) && said.contains("to an absolute path"),
                "{said}"
            );
        }
        // The doctor opens nothing there.
        if prepared.is_some() {
            let link = shared.join("license-client-data/license-client.sqlite");
            let linked = directory.path().join("linked");
            std::fs::write(&linked, "").unwrap();
            symlink(&linked, link).unwrap();
            let output = run(&shared, &["doctor", "--port", "1"], &[]);
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("STATE_DIR: '"), "{said}");
            assert!(said.contains("only the port was checked"), "{said}");
            assert_eq!(std::fs::read(&linked).unwrap(), b"");
        }
    }
}
