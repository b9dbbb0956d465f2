//! Commands whose environment is not the service's.

use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};

use crate::program::Program;

const TOKEN: &str = "hunter2hunter2hunter2";

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory.path());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_tell_the_settings_of_the_service_and_where_their_own_differ() {
    let flags = [
        "--heartbeat-interval-hours",
        "5",
        "--license-api-url",
        "http://127.0.0.1:1/of-service",
    ];
    let environment = [
        ("ADMIN_TOKEN", TOKEN.to_owned()),
        ("INSTALLATION_NAME", "Harbour".to_owned()),
    ];
    let program = Program::start_with(&flags, &environment).await;
    let port = program.port.to_string();
    let state = program.file("state").display().to_string();
    let here = [
        ("PORT", port.as_str()),
        ("HEARTBEAT_INTERVAL_HOURS", "6"),
        ("LICENSE_API_URL", "http://127.0.0.1:2/of-command"),
        ("DATABASE_URL", "postgresql://vms:hunter2@127.0.0.1:1/vms"),
    ];

    let config = run(&["config", "--json"], &here).await;
    let config = json_of(&config);
    assert_eq!(config["of"], "service");
    let settings = &config["settings"];
    assert_eq!(
        settings["HEARTBEAT_INTERVAL_HOURS"],
        json!({"value": "5", "source": "flag"})
    );
    assert_eq!(
        settings["INSTALLATION_NAME"],
        json!({"value": "Harbour", "source": "environment"})
    );
    assert_eq!(settings["ADMIN_TOKEN"]["value"], "****");
    assert_eq!(settings["STATE_DIR"]["value"], state);
    let file = format!("sqlite:{state}/license-client.sqlite");
    assert_eq!(config["database"], file);
    let differing = &config["differences"];
    assert_eq!(
        differing["HEARTBEAT_INTERVAL_HOURS"],
        json!({"service": "5", "command": "6"})
    );
    assert_eq!(
        differing["DATABASE_URL"],
        json!({"service": null, "command": "postgresql://127.0.0.1:1"})
    );
    assert_eq!(
        differing["ADMIN_TOKEN"],
        json!({"service": "****", "command": null})
    );
    assert!(differing.get("MAX_CONNECTIONS").is_none(), "{differing}");
    let text = run(&["config"], &here).await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("The settings of this command differ from those of the service:"),
        "{text}"
    );

    the_doctor_compares_settings(&program, &here[1..], &state).await;

    // The same settings differ nowhere.
    let same = [
        ("STATE_DIR", state.as_str()),
        ("HEARTBEAT_INTERVAL_HOURS", "5"),
        ("LICENSE_API_URL", "http://127.0.0.1:1/of-service"),
        ("INSTALLATION_NAME", "Harbour"),
        ("ADMIN_TOKEN", TOKEN),
        ("PORT", port.as_str()),
    ];
    let config = json_of(&run(&["config", "--json"], &same).await);
    assert_eq!(config["differences"], json!({}));
}

/// By the address, too, and with a file for support.
async fn the_doctor_compares_settings(program: &Program, here: &[(&str, &str)], state: &str) {
    let bundle = program.file("support.json");
    let url = program.url("");
    let arguments = [
        "doctor",
        "--json",
        "--url",
        &url,
        "--bundle",
        bundle.to_str().unwrap(),
    ];
    let doctor = json_of(&run(&arguments, here).await);
    let find = |what: &str| {
        let findings = doctor.as_array().unwrap();
        let found = findings.iter().find(|finding| finding["what"] == what);
        found
            .unwrap_or_else(|| panic!("{what}: {doctor:#}"))
            .clone()
    };
    let compared = find("settings");
    assert_eq!(compared["health"], "warning");
    let found = compared["found"].as_str().unwrap();
    assert!(
        found.contains("HEARTBEAT_INTERVAL_HOURS: 5 (service), 6 (this command)"),
        "{found}"
    );
    let mode = std::fs::metadata(&bundle).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The checks are the service's: of its directory, database and License Server.
    assert!(find("STATE_DIR")["found"].as_str().unwrap().contains(state));
    assert_eq!(find("database")["health"], "ok");
    assert!(
        find("License Server")["found"]
            .as_str()
            .unwrap()
            .contains("127.0.0.1:1")
    );
    let bundle = std::fs::read_to_string(bundle).unwrap();
    assert!(!bundle.contains("hunter2"), "{bundle}");
    let bundle: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(bundle["settings"]["HEARTBEAT_INTERVAL_HOURS"]["value"], "5");
    assert_eq!(
        bundle["commandSettings"]["HEARTBEAT_INTERVAL_HOURS"]["value"],
        "6"
    );
    assert_eq!(bundle["service"]["/health"]["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_trusted_callers_see_the_settings() {
    let flags = ["--trusted-networks", "192.0.2.0/32"];
    let environment = [("ADMIN_TOKEN", TOKEN.to_owned())];
    let program = Program::start_with(&flags, &environment).await;
    for (method, path) in [
        (Method::GET, "/api/license/settings"),
        (Method::POST, "/api/license/diagnostics"),
    ] {
        let (status, text) = program.send(method, path, &json!({})).await;
        assert_eq!(status, 401, "{path}: {text}");
        assert!(!text.contains("TRUSTED_NETWORKS\":"), "{text}");
    }
    let port = program.port.to_string();
    let here = [("PORT", port.as_str()), ("MAX_CONNECTIONS", "99")];
    let output = run(&["config", "--json"], &here).await;
    let config = json_of(&output);
    assert_eq!(
        (&config["of"], &config["differences"]),
        (&json!("command"), &Value::Null)
    );
    assert_eq!(config["settings"]["MAX_CONNECTIONS"]["value"], "99");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("of this command, not of a running service"),
        "{said}"
    );
    let doctor = json_of(&run(&["doctor", "--json"], &here).await);
    assert_eq!(
        (&doctor[0]["what"], &doctor[0]["health"]),
        (&json!("settings"), &json!("warning"))
    );
    assert!(
        doctor[0]["advice"]
            .as_str()
            .unwrap()
            .contains("ADMIN_TOKEN_FILE")
    );
    let with_token = [here[0], here[1], ("ADMIN_TOKEN", TOKEN)];
    let config = json_of(&run(&["config", "--json"], &with_token).await);
    assert_eq!(config["of"], "service");
}

/// UTF-8 and UTF-16 with a byte order mark.
fn encoded(text: &str) -> [Vec<u8>; 3] {
    let marked = format!("\u{feff}{text}");
    let units = marked.encode_utf16();
    [
        marked.clone().into_bytes(),
        units.clone().flat_map(u16::to_le_bytes).collect(),
        units.flat_map(u16::to_be_bytes).collect(),
    ]
}

/// As Windows' editors and shells save them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_files_that_they_name_may_be_utf_16_or_marked() {
    for encoding in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let text = text.replace('\n', "\r\n");
            std::fs::write(directory.path().join(name), &encoded(&text)[encoding]).unwrap();
        };
        write(
            ".env",
            "INSTALLATION_NAME='K\u{f6}ln'\nHEARTBEAT_INTERVAL_HOURS=5\n",
        );
        let command = |arguments: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_license-client"))
                .args(arguments)
                .args(["--port", "1"])
                .current_dir(directory.path())
                .output()
                .unwrap()
        };
        let config = json_of(&command(&["config", "--json"]));
        let settings = &config["settings"];
        assert_eq!(
            settings["INSTALLATION_NAME"],
            json!({"value": "K\u{f6}ln", "source": ".env"})
        );
        assert_eq!(settings["HEARTBEAT_INTERVAL_HOURS"]["value"], "5");

        // Each file is read: what is in it is refused, and not its encoding.
        write("keys.json", r#"{"keys": []}"#);
        write(
            "routes.toml",
            "[[route]]\npath = \"/map\"\nfeature = \"module.map_view\"\nwrong = 1\n",
        );
        write("token", "short\n");
        for (flag, file, why) in [
            ("--license-trusted-keys", "keys.json", "key"),
            ("--gate-routes", "routes.toml", "line 4"),
            ("--admin-token-file", "token", "at least 16 visible"),
        ] {
            let output = command(&["serve", "--state-dir", "state", flag, file]);
            assert_eq!(output.status.code(), Some(1));
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(
                said.contains(why) && !said.contains("UTF"),
                "{file}: {said}"
            );
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let config = |text: &[u8]| {
        std::fs::write(directory.path().join(".env"), text).unwrap();
        Command::new(env!("CARGO_BIN_EXE_license-client"))
            .args(["config", "--json"])
            .current_dir(directory.path())
            .output()
            .unwrap()
    };
    let of_windows = json_of(&config(b"INSTALLATION_NAME=K\xf6ln\n"));
    let name = &of_windows["settings"]["INSTALLATION_NAME"];
    assert_eq!(name["value"], "K\u{f6}ln");
    let said = String::from_utf8(config(b"PK\x03\x04").stderr).unwrap();
    let expected = "the file .env cannot be read: this is a ZIP archive";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_dir_that_cannot_be_written_is_named_with_what_to_do() {
    // Not even root can create a file in /proc.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for state in ["/proc".to_owned(), format!("{}/state", file.display())] {
        let program = Program::start_with(&["--state-dir", &state], &[]).await;
        let ready = program.json("/readyz").await;
        let trouble = ready["database"].as_str().unwrap();
        assert!(
            trouble.contains(&format!("'{state}' cannot be created or written: ")),
            "{trouble}"
        );
        assert!(
            trouble.contains("choose another path with STATE_DIR"),
            "{trouble}"
        );
        assert!(!trouble.contains("code: 14"), "{trouble}");
        assert!(
            program.log().contains("cannot be created or written"),
            "{}",
            program.log()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relative_state_dir_is_shown_as_an_absolute_one() {
    for (set, start, end) in [
        ("not-there", "'/", "/not-there'"),
        ("\"not-there\"", "'/", "/not-there'"),
        // A mark without its partner is a part of the name.
        ("\"/not-there", "'/", "/\"/not-there'"),
        ("'/not-there'", "'/not-there'", ""),
    ] {
        let output = run(&["doctor", "--json", "--port", "1"], &[("STATE_DIR", set)]).await;
        let findings = json_of(&output);
        let mut findings = findings.as_array().unwrap().iter();
        let found = findings.find(|it| it["what"] == "STATE_DIR").unwrap();
        let found = found["found"].as_str().unwrap();
        let is_right =
            found.starts_with(start) && found.contains(&format!("{end} does not exist yet"));
        assert!(is_right, "{set}: {found}");
    }
}
