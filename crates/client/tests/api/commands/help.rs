//! Help and completions.

use std::process::Command;

use super::text;

#[test]
fn help_shows_examples_and_completions_are_printed() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        text(&output)
    };
    for command in [
        "serve",
        "activate",
        "status",
        "validate",
        "check",
        "heartbeat",
        "deactivate",
        "health",
    ] {
        let help = run(&[command, "--help"]);
        assert!(help.contains("Example"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).contains("license-client"));
    }
}

#[test]
fn a_completion_script_that_cannot_be_written_is_an_error() {
    for shell in ["bash", "zsh"] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
        command.args(["completions", shell]).stdout(full.unwrap());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{shell}: {text}");
        let expected = "error: cannot write to standard output: No space left on device";
        assert!(text.starts_with(expected), "{shell}: {text}");
    }
}
