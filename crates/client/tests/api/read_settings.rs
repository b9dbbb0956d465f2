//! Settings as env files of all kinds bring them. Both programs run it.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::unread_log::{Service, TOKEN};
use crate::{Cli, PROGRAM};
use clap::CommandFactory as _;
use license_service::database_url::DatabaseUrl;

/// What env files leave before and behind values.
const AROUND: [(&str, &str); 10] = [
    ("\"", "\""),
    ("\r", "\r"),
    (" ", " "),
    ("\t\r", "\t\r"),
    ("\u{feff}", "\u{feff}"),
    ("\u{a0}\u{200b}", "\u{a0}\u{200b}"),
    ("'", "'\r"),
    (" \" ", " \" "),
    ("\u{201c}", "\u{201d}"),
    ("\u{201e}", "\u{201c}"),
];

/// A value for each setting of both programs, not the default.
fn example(variable: &str) -> &'static str {
    match variable {
        "ADMIN_TOKEN" => TOKEN,
        "ADMIN_TOKEN_FILE"
        | "AUTHOR_TOKEN_FILE"
        | "LICENSE_TRUSTED_KEYS"
        | "LICENSE_CA_FILE"
        | "GATE_ROUTES"
        | "RELEASE_DOCUMENT" => "a file",
        "ALLOWED_HOSTS" => "vms.example,other.example",
        "ALLOW_UNLICENSED_CORE_FEATURES" => "false",
        "APP_VERSION" => "3.1",
        "CORS_ALLOWED_ORIGINS" => "https://vms.example,https://other.example",
        "DATABASE_URL" => "sqlite:licenses.sqlite",
        "GRACE_HOURS"
        | "LEASE_HOURS"
        | "OFFLINE_DAYS"
        | "HEARTBEAT_INTERVAL_HOURS"
        | "OFFLINE_GRACE_PERIOD_HOURS"
        | "VALIDATION_INTERVAL_HOURS"
        | "LICENSE_API_TIMEOUT" => "7.5",
        "HOST" => "127.0.0.9",
        "INSTALLATION_ID" | "INSTALLATION_NAME" | "ISSUER" | "LICENSE_HARDWARE_ID" => "harbour",
        "KEYS_DIR" | "STATE_DIR" => "a directory",
        "LICENSE_API_URL" => "https://licenses.example/api",
        "LICENSE_CLIENT_URL" => "http://127.0.0.1:1",
        "LOG" => "warn",
        "LOG_FORMAT" => "json",
        "MAX_CONNECTIONS" => "77",
        "EXT_AUTHZ_PORT" => "2",
        "OPEN_TRIAL_PLAN" => "trial",
        "OPEN_TRIALS_PER_DAY" => "7",
        "PORT" => "1",
        "SITE_HOSTS" => "licenses.example,other.example",
        "TRUSTED_NETWORKS" => "192.0.2.0/32,loopback",
        "TRUSTED_PROXIES" => "2",
        "USAGE_CAMERAS_QUERY" | "USAGE_USERS_QUERY" | "USAGE_STORAGE_GB_QUERY" => "SELECT 1",
        other => panic!("{other} needs an example"),
    }
}

/// Every command with the settings that it reads from the environment.
fn commands(command: &clap::Command, path: &[String]) -> Vec<(Vec<String>, Vec<String>)> {
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    let variables = variables.map(|it| it.display().to_string()).collect();
    let mut all = vec![(path.to_vec(), variables)];
    for inner in command.get_subcommands() {
        let path = [path, &[inner.get_name().to_owned()]].concat();
        all.extend(commands(inner, &path));
    }
    all
}

fn output(arguments: &[String], environment: &BTreeMap<&str, String>) -> String {
    let directory = std::env::temp_dir();
    let output = Command::new(PROGRAM)
        .args(arguments)
        .envs(environment)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `--help` shows each setting as the command reads it.
#[test]
fn every_command_reads_every_setting_without_what_is_around_it() {
    let all = commands(&Cli::command(), &[]);
    let settings = all.iter().flat_map(|(_, variables)| variables);
    let plain: BTreeMap<&str, String> = settings
        .map(|it| (it.as_str(), example(it).to_owned()))
        .collect();
    assert!(plain.len() > 12);
    let of_service = [vec!["serve".to_owned()], vec!["health".to_owned()]];
    for (index, around) in AROUND.iter().enumerate() {
        let (before, behind) = around;
        let padded = plain.iter().map(|(variable, value)| {
            let value = value.replace(',', &format!("{behind},{before}"));
            (*variable, format!("{before}{value}{behind}"))
        });
        let padded: BTreeMap<&str, String> = padded.collect();
        for (path, variables) in &all {
            // All commands with one padding, and those of containers with each.
            if variables.is_empty() || index > 0 && !of_service.contains(path) {
                continue;
            }
            let arguments = [&path[..], &["--help".to_owned()]].concat();
            let read = output(&arguments, &plain);
            assert!(read.contains("[env: "), "{read}");
            assert_eq!(output(&arguments, &padded), read, "{path:?} {around:?}");
        }
        // What --help does not show.
        if !PROGRAM.ends_with("license-server") {
            let arguments = ["config", "--json"].map(str::to_owned);
            let (mut plain, mut padded) = (plain.clone(), padded);
            for environment in [&mut plain, &mut padded] {
                // Only one of the two is accepted.
                environment.remove("ADMIN_TOKEN_FILE");
            }
            let read = output(&arguments, &plain);
            assert_eq!(output(&arguments, &padded), read, "{around:?}");
        }
    }
}

/// A value that is nothing but what is around one counts as not set: it is not
/// refused (2).
#[test]
fn a_blank_value_is_no_value() {
    for blank in ["", "\r", " ", "\u{feff}", "\"\"", "''\r"] {
        let output = Command::new(PROGRAM)
            .arg("health")
            .envs([("HOST", "127.0.0.77"), ("PORT", blank)])
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{blank:?} {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("127.0.0.77:"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_and_its_probe_agree_on_settings_with_carriage_returns_and_quotes() {
    let directory = tempfile::tempdir().unwrap();
    // An absolute directory stays one: a relative one is lost with its container.
    let state = format!("\"{}\"\r", directory.path().join("s2").display());
    let environment = [
        ("STATE_DIR", &*state),
        ("HOST", " 127.0.0.1\r"),
        ("LOG", "warning\r"),
        ("LOG_FORMAT", "Text\r"),
        ("TRUSTED_NETWORKS", "192.0.2.0/32\r"),
        ("TRUSTED_PROXIES", "0\r"),
        ("MAX_CONNECTIONS", "64\r"),
    ];
    let token = format!("\"{TOKEN}\" \r");
    let mut environment = environment.to_vec();
    environment.push(("ADMIN_TOKEN", &token));
    let log = File::create(directory.path().join("log")).unwrap();
    let service = Service::start_in(directory, log, &environment).await;
    let made = service.file("s2").metadata().unwrap();
    assert!(made.is_dir());
    assert_eq!(made.permissions().mode() & 0o777, 0o700);
    service.change().await;
    let port = format!("{}\r", service.port);
    let probe = Command::new(PROGRAM)
        .arg("health")
        .envs(environment)
        .env("PORT", port)
        .stdin(Stdio::null())
        .current_dir(service.directory.path())
        .output()
        .unwrap();
    assert_eq!(probe.status.code(), Some(0), "{probe:?}");
    service.ready().await;
}

#[test]
fn a_word_that_is_no_level_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for word in [
        "warming",
        "on",
        "3",
        "license_client",
        "info,license_client=loud",
    ] {
        let output = Command::new(PROGRAM)
            .arg("serve")
            .env("LOG", word)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{word}");
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "error: LOG (--log) is '{word}': expected trace, debug, info, warn, error or off, \
             optionally with levels for parts of the program, as in 'info,license_client=debug'\n"
        );
        assert_eq!(said, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_logs_warnings_logs_them() {
    for (word, shows) in [("WARNING", true), ("critical", false), ("None", false)] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        let log = File::create(&file).unwrap();
        // A token that everyone can read is warned of.
        let token = directory.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
        let token = token.display().to_string();
        let environment = [
            ("LOG", word),
            ("ADMIN_TOKEN", ""),
            ("ADMIN_TOKEN_FILE", &token),
        ];
        let mut service = Service::start_in(directory, log, &environment).await;
        service.terminate().await;
        let log = std::fs::read_to_string(file).unwrap();
        assert!(!log.contains("INFO"), "{word}: {log}");
        assert_eq!(log.contains("WARN"), shows, "{word}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn left_over_temporary_files_are_removed_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let make = |name: &str| {
        let file = File::create(state.join(name)).unwrap();
        let old = file.metadata().unwrap().modified().unwrap() - hour;
        file.set_modified(old).unwrap();
    };
    for name in [".foxsight-tmp-aB3xY9", ".tmpaB3xY9", "other.tmp"] {
        make(name);
    }
    let service = Service::start_in(directory, Stdio::null(), &[]).await;
    service.change().await;
    let names = std::fs::read_dir(service.file("state")).unwrap();
    let names: Vec<String> = names
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.contains(&"other.tmp".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
}

/// Runs a command that only reads settings; returns what it says on standard error.
fn errors_of(environment: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let command: &[&str] = match PROGRAM.ends_with("license-server") {
        true => &["list"],
        false => &["doctor", "--url", "http://127.0.0.1:1"],
    };
    let output = Command::new(PROGRAM)
        .args(command)
        .env("STATE_DIR", directory.path())
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).unwrap()
}

/// Other images read every setting from a file, if its name has `_FILE` added.
#[test]
fn a_file_that_contains_a_value_is_read_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("url");
    std::fs::write(&file, "sqlite:/nowhere/at all/x.sqlite\r\n").unwrap();
    let file = file.to_str().unwrap();
    let said = errors_of(&[("DATABASE_URL_FILE", file)]);
    assert!(said.contains("/nowhere/at all/x.sqlite"), "{said}");
    let both = [("DATABASE_URL_FILE", file), ("DATABASE_URL", "sqlite:a")];
    let said = errors_of(&both);
    assert!(
        said.contains("DATABASE_URL and DATABASE_URL_FILE are both set"),
        "{said}"
    );
    let said = errors_of(&[("DATABASE_URL_FILE", "/nowhere/url")]);
    assert!(
        said.contains("DATABASE_URL_FILE: the file '/nowhere/url' cannot be read"),
        "{said}"
    );
    let empty = errors_of(&[("DATABASE_URL_FILE", ""), ("LOG_FILE", "x")]);
    assert!(!empty.contains("_FILE is"), "{empty}");
    for name in ["STATE_DIR", "MAX_CONNECTIONS", "LOG_FORMAT"] {
        let variable = format!("{name}_FILE");
        let said = errors_of(&[(&variable, file)]);
        let expected = format!("{variable} is not a setting: set {name} itself");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_misspelled_setting_is_named() {
    let said = errors_of(&[("DATABSE_URL", "sqlite:a"), ("LOGFORMAT", "json")]);
    assert!(
        said.contains("DATABSE_URL is not a setting of this program; did you mean DATABASE_URL?"),
        "{said}"
    );
    assert!(said.contains("did you mean LOG_FORMAT?"), "{said}");
    let said = errors_of(&[
        ("DATABASE_URI", "x"),
        ("DATABASE_URL", "sqlite:a"),
        ("PORTS", "1"),
    ]);
    assert!(!said.contains("did you mean"), "{said}");
}

/// `docker --env-file` and systemd's `EnvironmentFile` keep comments behind values.
#[test]
fn a_comment_behind_a_value_is_refused_and_names_nothing() {
    let all = commands(&Cli::command(), &[]);
    let of_serve = all.iter().find(|(path, _)| *path == ["serve"]);
    let (_, variables) = of_serve.unwrap();
    for variable in variables {
        let directory = tempfile::tempdir().unwrap();
        let mut value = example(variable).to_owned();
        if ["STATE_DIR", "KEYS_DIR", "DATABASE_URL"].contains(&variable.as_str()) {
            value = value.replace("sqlite:", "");
            value = directory.path().join(value).display().to_string();
        }
        let may_have_it = ["INSTALLATION_NAME", "ISSUER"].contains(&variable.as_str())
            || variable.ends_with("_QUERY");
        let output = Command::new(PROGRAM)
            .args(["serve", "--help"])
            .env(variable, format!("{value} \t# a comment"))
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), may_have_it, "{variable}: {said}");
        if !may_have_it {
            let expected = format!("{variable}: the value contains a comment");
            assert!(said.contains(&expected), "{variable}: {said}");
        }
        assert_eq!(
            directory.path().read_dir().unwrap().count(),
            0,
            "{variable}"
        );
    }
}

/// The settings of a command that are paths, and what is before the path in their values.
fn paths(command: &clap::Command) -> Vec<(String, &'static str)> {
    let arguments = command.get_arguments();
    let paths = arguments.filter_map(|argument| {
        let variable = argument.get_env()?.display().to_string();
        let kind = argument.get_value_parser().type_id();
        let before = [
            (TypeId::of::<PathBuf>(), ""),
            (TypeId::of::<DatabaseUrl>(), "sqlite:"),
        ];
        let before = before.into_iter().find(|(id, _)| kind == *id);
        before.map(|(_, before)| (variable, before))
    });
    paths.collect()
}

/// Nothing replaces placeholders in files that systemd and container engines read: taken literally,
/// they would lead to a new, empty installation.
#[test]
fn a_path_with_a_placeholder_is_refused() {
    let program = Cli::command();
    let mut found = 0;
    for name in ["serve", "init", "list", "status"] {
        let Some(command) = program.find_subcommand(name) else {
            continue;
        };
        for (variable, before) in [paths(&program), paths(command)].concat() {
            found += 1;
            for placeholder in ["~", "~vms", "$HOME", "${HOME}", "%h"] {
                let directory = tempfile::tempdir().unwrap();
                let value = format!("{before}{placeholder}/x");
                let output = Command::new("timeout")
                    .args(["10", PROGRAM, name])
                    .env(&variable, &value)
                    .env("HOME", "/root")
                    .current_dir(directory.path())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(2), "{variable}={value}: {said}");
                let why =
                    format!("{variable}: the path '{placeholder}/x' contains '{placeholder}'");
                assert!(said.contains(&why), "{variable}={value}: {said}");
                let made = std::fs::read_dir(directory.path()).unwrap().count();
                assert_eq!(made, 0, "{variable}={value}");
            }
        }
    }
    assert!(found > 5, "{found}");
}
