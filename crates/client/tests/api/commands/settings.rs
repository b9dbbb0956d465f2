//! Settings: their names, values and sources.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output};

use serde_json::Value;

use super::text;
use crate::latin_1::what_is_not_utf_8_is_named;

#[test]
fn a_wrong_setting_stops_the_start_and_is_named() {
    for (variable, value, accepted) in [
        (
            "ALLOW_UNLICENSED_CORE_FEATURES",
            "maybe",
            "expected true or false",
        ),
        ("TRUSTED_NETWORKS", "everyone", "loopback"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
            .arg("serve")
            .env(variable, value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{variable}");
        let said = text(&output);
        let flag = variable.to_lowercase().replace('_', "-");
        assert!(said.contains(&flag) && said.contains(value), "{said}");
        assert!(said.contains(accepted), "{said}");
    }
}

/// The README's table names every setting, with its default.
#[test]
fn the_readme_lists_every_setting_with_its_default() {
    use clap::CommandFactory as _;
    let readme = include_str!("../../../../../README.md");
    let command = license_client::cli::Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let mut settings = 0;
    for argument in serve.get_arguments() {
        let Some(variable) = argument.get_env() else {
            continue;
        };
        let row = format!("| `{}` | ", variable.display());
        let row = readme
            .lines()
            .find_map(|line| line.strip_prefix(row.as_str()));
        let row = row.unwrap_or_else(|| panic!("{} is missing", variable.display()));
        if let Some(default) = argument.get_default_values().first() {
            let default = format!("`{}` |", default.display());
            assert!(row.starts_with(&default), "{}: {row}", variable.display());
        }
        settings += 1;
    }
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .count();
    assert_eq!(
        settings, rows,
        "the README lists settings that do not exist"
    );
}

pub(super) fn client(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .output()
        .unwrap()
}

#[test]
fn a_wrong_setting_is_one_line_with_its_name_its_value_and_what_is_accepted() {
    for (variable, value, line) in [
        (
            "HEARTBEAT_INTERVAL_HOURS",
            "four",
            "error: HEARTBEAT_INTERVAL_HOURS (--heartbeat-interval-hours) is 'four': expected a \
             number\n",
        ),
        (
            "LOG_FORMAT",
            "xml",
            "error: LOG_FORMAT (--log-format) is 'xml': expected text or json\n",
        ),
        (
            "PORT",
            "80000",
            "error: PORT (--port) is '80000': expected a number from 0 to 65535\n",
        ),
        (
            "DATABASE_URL",
            "mysql://u:p@h/d",
            "error: DATABASE_URL (--database-url) is malformed (its value is not shown): \
             expected postgresql://user:password@host:5432/name or sqlite:FILE\n",
        ),
        (
            "LICENSE_API_URL",
            "ftp://h",
            "error: LICENSE_API_URL (--license-api-url) is malformed (its value is not shown): \
             expected an http:// or https:// address\n",
        ),
        (
            "USAGE_CAMERAS_QUERY",
            "DROP TABLE cameras",
            "error: USAGE_CAMERAS_QUERY (--usage-cameras-query) is 'DROP TABLE cameras': \
             expected a single SELECT that returns one number\n",
        ),
    ] {
        let output = client(&["serve"], &[(variable, value)]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    }
}

#[test]
fn the_settings_are_shown_with_their_source_and_without_secrets() {
    let environment = [
        ("DATABASE_URL", "postgresql+psycopg2://vms:hunter2@db/vms"),
        ("ADMIN_TOKEN", "hunter2hunter2hunter2"),
        ("LICENSE_API_URL", ""),
        ("HEARTBEAT_INTERVAL_HOURS", "0.5"),
    ];
    let output = client(&["config", "--json", "--port", "1"], &environment);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let settings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(settings["of"], "command");
    let settings = &settings["settings"];
    for (variable, value, source) in [
        ("DATABASE_URL", "postgresql://db", "environment"),
        ("ADMIN_TOKEN", "****", "environment"),
        ("LICENSE_API_URL", "http://localhost:4000", "default"),
        ("HEARTBEAT_INTERVAL_HOURS", "0.5", "environment"),
        ("PORT", "1", "flag"),
    ] {
        assert_eq!(settings[variable]["value"], value, "{variable}");
        assert_eq!(settings[variable]["source"], source, "{variable}");
    }
}

#[test]
fn settings_of_a_file_are_read_and_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), "PORT=1\nLOG=debug\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["config", "--json"])
        .env("LOG", "warn")
        .current_dir(directory.path())
        .output()
        .unwrap();
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = &settings["settings"];
    assert_eq!(
        settings["PORT"],
        serde_json::json!({"value": "1", "source": ".env"})
    );
    assert_eq!(settings["LOG"]["source"], "environment");
}

/// Copied without changes, the template has no effect; it names every setting.
#[test]
fn the_template_of_settings_is_complete() {
    use clap::CommandFactory as _;
    let template = include_str!("../../../../../.env.template");
    let command = license_client::cli::Cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let mut settings = 0;
    for argument in serve.get_arguments() {
        let Some(variable) = argument.get_env() else {
            continue;
        };
        let default = argument.get_default_values().first();
        let default = default
            .map(|it| it.display().to_string())
            .unwrap_or_default();
        let line = format!("#{}={default}", variable.display());
        assert!(template.lines().any(|it| it == line), "{line} is missing");
        settings += 1;
    }
    let set = template
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(set.count(), 0);
    let named = template.lines().filter(|line| {
        line.starts_with('#')
            && line.as_bytes().get(1).is_some_and(u8::is_ascii_uppercase)
            && line.contains('=')
    });
    assert_eq!(named.count(), settings);
}

#[test]
fn a_setting_that_is_not_utf_8_is_named() {
    let settings = [
        ("INSTALLATION_NAME", "--installation-name"),
        ("LICENSE_API_URL", "--license-api-url"),
        ("ALLOWED_HOSTS", "--allowed-hosts"),
    ];
    what_is_not_utf_8_is_named(crate::PROGRAM, &["serve", "--port", "1"], &settings);
}

#[test]
fn a_state_directory_whose_name_is_not_valid_utf_8_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join(OsStr::from_bytes(b"lat\xfc"));
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
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
