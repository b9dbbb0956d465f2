//! Settings and arguments that are not in UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output, Stdio};

/// `Köln` in Latin-1.
const LATIN_1: &[u8] = b"K\xf6ln";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Each setting is set in the environment, and as a flag, and is named.
pub fn what_is_not_utf_8_is_named(program: &str, command: &[&str], settings: &[(&str, &str)]) {
    let directory = tempfile::tempdir().unwrap();
    let run = |variable: Option<&str>, arguments: &[&OsStr]| {
        let mut run = Command::new(program);
        run.args(command).args(arguments).stdin(Stdio::null());
        if let Some(variable) = variable {
            run.env(variable, OsStr::from_bytes(LATIN_1));
        }
        run.current_dir(directory.path()).output().unwrap()
    };
    let is_refused = |output: Output, name: &str| {
        let said = said(&output);
        let expected = format!("error: {name} must be in UTF-8 ('iconv");
        assert!(said.starts_with(&expected), "{said}");
        assert!(!said.contains("ln is"), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    };
    for (variable, flag) in settings {
        is_refused(run(Some(variable), &[]), variable);
        let value = OsStr::from_bytes(LATIN_1);
        let named = format!("the argument after {flag}");
        is_refused(run(None, &[OsStr::new(flag), value]), &named);
        let both = [flag.as_bytes(), b"=", LATIN_1].concat();
        is_refused(run(None, &[OsStr::from_bytes(&both)]), flag);
    }
}
