//! The command line, as people and scripts use it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::database::Engine;
use crate::harness::Site;
use crate::latin_1::what_is_not_utf_8_is_named;
use crate::supervised::a_program_tells_its_supervisor;
use crate::vendor::Vendor;

async fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command.args(arguments).args(["--url", &site.url]);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_supervisor_is_told_of_the_start_signs_of_life_reloads_and_the_end() {
    a_program_tells_its_supervisor(crate::PROGRAM, true);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_is_managed_from_the_command_line() {
    let mut vendor = Vendor::start().await;
    let keys = vendor.trusted_keys();
    let flags = ["--license-trusted-keys", keys.as_str()];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;

    let status = run(&site, &["status"]).await;
    assert_eq!(status.status.code(), Some(3));
    assert!(text(&status).contains("No license is activated"));
    let check = run(&site, &["check", "module.live_view", "module.map_view"]).await;
    assert_eq!(check.status.code(), Some(3));
    assert!(text(&check).contains("yes  module.live_view  (core)"));
    assert!(text(&check).contains("no   module.map_view  (no_license)"));

    let wrong = run(&site, &["activate", "FXSGHT-AAAA-BBBB-CCCC-DDDD"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong).contains("typing error"), "{}", text(&wrong));

    let key = vendor.issue_professional().await;
    let sloppy = key.to_lowercase().replace('-', " ");
    let activate = run(&site, &["activate", &sloppy]).await;
    assert_eq!(activate.status.code(), Some(0), "{}", text(&activate));
    assert!(text(&activate).contains("professional"));

    let status = run(&site, &["status", "--json"]).await;
    assert_eq!(status.status.code(), Some(0));
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["licenseKey"], key.as_str());

    for command in ["validate", "heartbeat", "health"] {
        let done = run(&site, &[command]).await;
        assert_eq!(done.status.code(), Some(0), "{command}: {}", text(&done));
    }
    let check = run(&site, &["check", "module.map_view", "--json"]).await;
    let answers: Value = serde_json::from_slice(&check.stdout).unwrap();
    assert_eq!(answers[0]["available"], true);

    vendor.go_away().await;
    let deactivate = run(&site, &["deactivate"]).await;
    assert_eq!(deactivate.status.code(), Some(1));
    assert!(text(&deactivate).contains("force"));
    let deactivate = run(&site, &["deactivate", "--force"]).await;
    assert_eq!(deactivate.status.code(), Some(0));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_there_is_named_with_what_to_do() {
    let output = Command::new(env!("CARGO_BIN_EXE_license-client"))
        .args(["health", "--url", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("license-client serve"));
}

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
        let expected = "error: standard output cannot be written: No space left on device";
        assert!(text.starts_with(expected), "{shell}: {text}");
    }
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_without_certificate_authorities_is_no_reason_not_to_run() {
    let directory = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
        command
            .args(arguments)
            .args(["--port", &port])
            .env("SSL_CERT_DIR", directory.path())
            .env("SSL_CERT_FILE", directory.path().join("none"));
        command
    };
    let state_dir = directory.path().join("state").display().to_string();
    let serve = ["serve", "--state-dir", &state_dir];
    let mut service = bare(&serve)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut healthy = false;
    for _ in 0..250 {
        healthy = bare(&["health"]).output().unwrap().status.success();
        if healthy {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(healthy);
}

/// The README's table names every setting, with its default.
#[test]
fn the_readme_lists_every_setting_with_its_default() {
    use clap::CommandFactory as _;
    let readme = include_str!("../../../../README.md");
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

fn client(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
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
    let template = include_str!("../../../../.env.template");
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
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let output = client(
        &["doctor", "--json", "--port", "1"],
        &[
            ("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d"),
            ("LICENSE_API_URL", "http://127.0.0.1:1/api"),
        ],
    );
    assert_eq!(output.status.code(), Some(3));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let find = |what: &str| {
        let findings = findings.as_array().unwrap();
        let found = findings.iter().find(|finding| finding["what"] == what);
        found.unwrap_or_else(|| panic!("{what}")).clone()
    };
    for broken in ["database", "License Server"] {
        assert_eq!(find(broken)["health"], "error");
        assert!(find(broken)["found"].as_str().unwrap().contains("refused"));
        assert!(find(broken)["advice"].is_string());
    }
    assert_eq!(find("STATE_DIR")["health"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_say_what_is_over_and_what_would_fit() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &[]).await;
    let key = vendor.issue_professional().await;
    site.activate(&key).await;
    let report = |cameras: u64| serde_json::json!({"source": "s", "cameras": cameras});
    for (cameras, arguments, code, expected) in [
        (
            63,
            &["limits"][..],
            0,
            "ok   63 of 64 cameras are in use  (within_limit)",
        ),
        (
            64,
            &["limits"],
            0,
            "ok   64 of 64 cameras are in use  (within_limit)",
        ),
        (
            70,
            &["limits"],
            3,
            "over 70 of 64 cameras are in use (6 over)  (over_limit)",
        ),
        (70, &["limits", "cameras", "0"], 3, "over 70 of 64 cameras"),
        (
            70,
            &["limits", "cameras"],
            3,
            "no   70 of 64 cameras are in use (6 over)  (limit_reached)",
        ),
        (
            63,
            &["limits", "cameras"],
            0,
            "yes  63 of 64 cameras are in use  (within_limit)",
        ),
    ] {
        site.put("/api/license/usage", report(cameras)).await;
        let output = run(&site, arguments).await;
        assert!(
            text(&output).contains(expected),
            "{arguments:?}: {}",
            text(&output)
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    site.end().await;
}

/// Only `serve` makes anything; commands ask the service.
#[test]
fn no_command_makes_a_database_or_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    for arguments in [
        &["status"][..],
        &["activate", "FXSGHT-2222-2222-2222-2222"],
        &["validate"],
        &["heartbeat"],
        &["check", "module.map_view"],
        &["features"],
        &["limits"],
        &["attempts"],
        &["hardware"],
        &["deactivate", "--force"],
        &["offline", "request"],
        &["health"],
        &["config"],
        &["doctor"],
    ] {
        Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(arguments)
            .env("PORT", "1")
            .env("STATE_DIR", &state)
            .env("LICENSE_API_URL", "http://127.0.0.1:1/api")
            .current_dir(directory.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_not_there_is_a_page_for_a_browser_and_json_for_programs() {
    let vendor = Vendor::start().await;
    let site = Site::start(Engine::Sqlite, &vendor.url, &[]).await;
    for (path, accept, is_page) in [
        ("/nothing", "text/html,*/*;q=0.8", true),
        ("/console/nothing", "text/html", true),
        ("/nothing", "*/*", false),
        ("/api/license/nothing", "text/html", false),
    ] {
        let request = site
            .http
            .get(format!("{}{path}", site.url))
            .header("accept", accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let text = answer.text().await.unwrap();
        assert_eq!(text.contains("Page not found"), is_page, "{path}: {text}");
        assert_eq!(
            text.starts_with(r#"{"detail":"Not Found","requestId":""#),
            !is_page,
            "{path}: {text}"
        );
    }
    site.end().await;
}
