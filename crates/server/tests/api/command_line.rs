//! The command line itself: mistakes, help, output, and the supervisor.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::PROGRAM;
use crate::commands::{run, said};
use crate::database::Engine;
use crate::harness::Vendor;
use crate::latin_1::what_is_not_utf_8_is_named;
use crate::supervised::{
    a_program_survives_signals_that_it_does_not_use, a_program_tells_its_supervisor,
};

#[test]
fn a_supervisor_is_told_of_the_start_signs_of_life_and_the_end() {
    a_program_tells_its_supervisor(PROGRAM, false);
}

#[test]
fn signals_that_are_not_used_are_logged() {
    a_program_survives_signals_that_it_does_not_use(PROGRAM);
}

#[test]
fn a_setting_or_argument_that_is_not_utf_8_is_named() {
    let settings = [("DATABASE_URL", "--database-url"), ("ISSUER", "--issuer")];
    what_is_not_utf_8_is_named(PROGRAM, &["serve", "--port", "1"], &settings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_named_with_what_is_accepted() {
    let vendor = Vendor::start(Engine::Sqlite).await;
    for (arguments, code, expected) in [
        (&["issue", "--tier", "gold"][..], 2, "professional"),
        (
            &["issue", "--tier", "standard", "--seats", "0"],
            1,
            "1 to 1000000",
        ),
        (
            &["issue", "--tier", "standard", "--without", "x"],
            1,
            "no feature 'x'",
        ),
        (
            &["issue", "--tier", "standard", "--max-users", "-2"],
            1,
            "-1 for unlimited",
        ),
        (
            &["issue", "--tier", "standard", "--expires-at", "2020-01-01"],
            1,
            "has passed",
        ),
        (
            &[
                "issue",
                "--tier",
                "standard",
                "--expires-in-days",
                "4000000",
            ],
            1,
            "9999",
        ),
        (
            &["issue", "--tier", "standard", "--expires-at", "soon"],
            2,
            "2030-12-31",
        ),
        (
            &[
                "issue",
                "--tier",
                "standard",
                "--key",
                "FXSGHT-AAAA-BBBB-CCCC-DDDD",
            ],
            1,
            "typing error",
        ),
        (
            &["show", "FXSGHT-2222-2222-2222-2222"],
            1,
            "license has the key",
        ),
        (
            &["issue", "--tier", "standard", "--moves", "1001"],
            1,
            "0 to 1000",
        ),
        (
            &["issue", "--tier", "standard", "--moves-period-days", "0"],
            1,
            "1 to 3650",
        ),
        (&["list", "--limit", "0"], 2, "1..=10000"),
        (&["suspicions", "--limit", "10001"], 2, "1..=10000"),
        (
            &[
                "seats",
                "list",
                "FXSGHT-2222-2222-2222-2222",
                "--limit",
                "1001",
            ],
            2,
            "1..=1000",
        ),
        (&["show", "nonsense"], 1, "FXSGHT-XXXX"),
        (
            &["seats", "free", "FXSGHT-2222-2222-2222-2222", "m"],
            1,
            "no license",
        ),
    ] {
        let output = run(&vendor, arguments).await;
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    vendor.end().await;
}

#[test]
fn help_shows_examples() {
    for command in [
        &["serve"][..],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "export"],
        &["issue"],
        &["list"],
        &["show"],
        &["suspend"],
        &["reinstate"],
        &["revoke"],
        &["seats", "list"],
        &["seats", "free"],
        &["seats", "release"],
        &["completions"],
    ] {
        let output = Command::new(PROGRAM)
            .args(command)
            .arg("--help")
            .output()
            .unwrap();
        assert!(said(&output).contains("Example"), "{command:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().display().to_string();
    let run = |arguments: &[&str]| {
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(arguments).args(["--state-dir", &state]);
        command.stdout(full).output().unwrap()
    };
    for arguments in [
        &["init"][..],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["list", "--json"],
        &["keys", "list"],
    ] {
        let output = run(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        let expected = "error: cannot write to standard output: No space left on device";
        assert!(text.starts_with(expected), "{arguments:?}: {text}");
        assert!(!text.contains("panic"), "{text}");
    }
}

#[test]
fn no_name_in_an_error_controls_the_terminal() {
    let name = "rq\u{1b}]0;owned\u{7}\u{202e}.txt";
    for (arguments, code) in [
        (&["offline", "sign", name][..], 1),
        (
            &[
                "offline",
                "sign",
                "rq",
                "--output",
                "no/such\u{1b}[31m/file",
            ],
            1,
        ),
        (&["keys", "export", "--state-dir", name], 1),
        (&["show", name], 1),
        (&["list", "--status", name], 2),
        (&["health", "--port", name], 2),
        (&["serve", "--log-format", name], 2),
        (&[name], 2),
        (&["list", name], 2),
        (&["list", "--no\u{1b}[31m"], 2),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(&directory);
        let output = command.output().unwrap();
        let shown = [output.stdout.clone(), output.stderr.clone()].concat();
        let shown = String::from_utf8(shown).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        let is_odd = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(is_odd), "{arguments:?}: {shown:?}");
        assert!(shown.contains("error: "), "{arguments:?}: {shown:?}");
    }
}

/// A program that answers every connection with interim responses that never end.
fn endless_interim_responses() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                connection.read_exact(&mut [0; 4]).unwrap();
                let interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(1000);
                while connection.write_all(&interim).is_ok() {}
            });
        }
    });
    port
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "measures how long a command takes"
)]
fn health_ends_in_time_whatever_the_program_on_its_port_sends() {
    let port = endless_interim_responses().to_string();
    let begun = Instant::now();
    let mut command = Command::new(PROGRAM);
    let output = command.args(["health", "--port", &port]).output().unwrap();
    let took = begun.elapsed();
    println!("{took:?}");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(took < Duration::from_millis(6500), "{took:?}");
}
