//! A damaged SQLite file, and the commands of docs/operations.md with which it is recovered and
//! backed up, run with the sqlite3 of this machine.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::PROGRAM;
use crate::commands::said;
use crate::gates::shipped;

const SECTION: &str = "Recovering a damaged SQLite file";
const FILE: &str = "state/license-server.sqlite";

/// The shell commands of the section about recovering, in their order.
fn recovery() -> Vec<String> {
    let operations = std::fs::read_to_string(shipped::file("docs/operations.md")).unwrap();
    let (_, section) = operations.split_once(&format!("**{SECTION}.**")).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let commands = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    commands.map(|it| it.trim().to_owned()).collect()
}

/// Runs a command of the documentation, which names the files `FILE`, `NEW` and `COPY`.
fn shell(directory: &Path, command: &str) -> Output {
    let names = format!("FILE={FILE} NEW=new.sqlite COPY=copy.sqlite");
    let mut command = command.to_owned();
    for name in names.split(' ') {
        let (name, file) = name.split_once('=').unwrap();
        command = command.replace(name, file);
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).current_dir(directory);
    shell.output().unwrap()
}

fn server(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(["--state-dir", "state"]);
    command.current_dir(directory).output().unwrap()
}

/// A License Server's directory with a license, and an audit log of several pages.
fn sold(directory: &Path) -> String {
    assert!(server(directory, &["init"]).status.success());
    let issue = ["issue", "--tier", "standard", "--json"];
    let issued: serde_json::Value =
        serde_json::from_slice(&server(directory, &issue).stdout).unwrap();
    let key = issued["licenseKey"].as_str().unwrap().to_owned();
    for _ in 0..8 {
        for command in ["suspend", "reinstate"] {
            assert!(server(directory, &[command, &key]).status.success());
        }
    }
    key
}

/// A page of the file.
fn page_of(directory: &Path, name: &str) -> u64 {
    let sql = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{name}'");
    let found = shell(directory, &format!("sqlite3 FILE \"{sql}\""));
    said(&found).trim().parse().unwrap()
}

/// Overwrites a page of the file, as a failing disk does.
fn damage(directory: &Path, page: u64) {
    let file = std::fs::File::options()
        .write(true)
        .open(directory.join(FILE))
        .unwrap();
    file.write_all_at(&[0xff; 4096], (page - 1) * 4096).unwrap();
}

/// Follows the steps, and returns what the check of the new file printed.
fn recover(directory: &Path) -> String {
    let commands = recovery();
    let is = |command: &String, text: &str| command.contains(text);
    let one = |text: &str| commands.iter().find(|it| is(it, text)).unwrap();
    // The first way fails where the distribution builds sqlite3 without it.
    let with_recover = shell(directory, one("FILE .recover"));
    if !with_recover.status.success() || !with_recover.stderr.is_empty() {
        let dumped = shell(directory, one("FILE .dump"));
        assert!(dumped.status.success(), "{}", said(&dumped));
    }
    shell(directory, one("NEW <"));
    let check = shell(directory, one("FROM licenses"));
    assert!(check.status.success(), "{}", said(&check));
    let in_place = commands.iter().skip_while(|it| !is(it, "rm "));
    for command in in_place {
        let done = shell(directory, command);
        assert!(done.status.success(), "{command}: {}", said(&done));
    }
    said(&check)
}

#[test]
fn a_damaged_file_is_recovered_with_the_documented_commands() {
    for damaged in [None, Some("audit_log"), Some("seats"), Some("key_record")] {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let key = sold(directory);
        if let Some(name) = damaged {
            damage(directory, page_of(directory, name));
        }
        if damaged == Some("audit_log") {
            let refused = said(&server(directory, &["audit"]));
            assert!(refused.contains("malformed"), "{refused}");
            assert!(refused.contains(SECTION), "{refused}");
        }
        assert_eq!(recover(directory), "ok\n1\n", "{damaged:?}");
        let shown = server(directory, &["show", &key]);
        assert!(shown.status.success(), "{damaged:?}: {}", said(&shown));
        // The program accepts the tables and the keys.
        let started = server(directory, &["init"]);
        assert!(started.status.success(), "{damaged:?}: {}", said(&started));
    }
}

#[test]
fn an_empty_result_of_the_recovery_is_noticed_by_the_check_and_by_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    sold(directory);
    for check in recovery()
        .iter()
        .filter(|it| it.contains("integrity_check"))
    {
        let checked = shell(directory, check);
        assert!(!checked.status.success(), "{check}: {}", said(&checked));
    }
    std::fs::rename(directory.join("new.sqlite"), directory.join(FILE)).unwrap();
    for command in [
        &["init"][..],
        &["serve", "--port", "0"],
        &["keys", "rotate"],
    ] {
        let refused = server(directory, command);
        assert!(!refused.status.success(), "{command:?}");
        let refused = said(&refused);
        assert!(
            refused.contains("the database is empty"),
            "{command:?}: {refused}"
        );
        assert!(refused.contains("keys accept"), "{command:?}: {refused}");
    }
    let accepted = server(directory, &["keys", "accept"]);
    assert!(accepted.status.success(), "{}", said(&accepted));
    let started = server(directory, &["init"]);
    assert!(started.status.success(), "{}", said(&started));
}

#[test]
fn a_backup_with_the_documented_command_has_the_license() {
    let operations = std::fs::read_to_string(shipped::file("docs/operations.md")).unwrap();
    let inline = operations.split('`').skip(1).step_by(2);
    let commands: Vec<_> = inline.filter(|it| it.starts_with("sqlite3 ")).collect();
    assert!(!commands.is_empty());
    for command in commands {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        sold(directory);
        let copied = shell(directory, command);
        assert!(copied.status.success(), "{command}: {}", said(&copied));
        assert!(said(&copied).is_empty(), "{command}: {}", said(&copied));
        let count = shell(directory, "sqlite3 COPY 'SELECT count(*) FROM licenses'");
        assert_eq!(said(&count), "1\n", "{command}");
    }
}
