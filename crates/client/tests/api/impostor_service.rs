//! Another program listens where the service should: what commands read from it is bounded, and
//! controls no terminal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// Starts a program that answers each request with these bytes. If `is_endless`, it repeats the
/// last byte until the client disconnects.
fn impostor(answer: Vec<u8>, is_endless: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::from("x");
            while !line.trim().is_empty() {
                line.clear();
                stream.read_line(&mut line).unwrap();
            }
            let mut stream = stream.into_inner();
            let _ = stream.write_all(&answer);
            let more = vec![*answer.last().unwrap(); 64 * 1024];
            while is_endless && stream.write_all(&more).is_ok() {}
        }
    });
    url
}

const COMMANDS: [&[&str]; 7] = [
    &["status"],
    &["features"],
    &["attempts"],
    &["health"],
    &["limits"],
    &["check", "module.map_view"],
    &["hardware"],
];

fn run(arguments: &[&str], url: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command.args(arguments).args(["--url", url]);
    command.output().unwrap()
}

#[test]
fn an_answer_that_does_not_end_is_not_read_to_its_end() {
    let url = impostor(b"HTTP/1.1 200 OK\r\n\r\n{\"a\":\"x".to_vec(), true);
    for arguments in COMMANDS {
        let output = run(arguments, &url);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.contains("its response is too long"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn the_doctor_reads_no_more_of_the_program_on_its_port() {
    static SENT: AtomicU64 = AtomicU64::new(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let start = b"HTTP/1.1 200 OK\r\n\r\n{\"a\":\"";
            let mut more = stream.write_all(start);
            while more.is_ok() {
                SENT.fetch_add(64 * 1024, Ordering::Relaxed);
                more = stream.write_all(&[b'x'; 64 * 1024]);
            }
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    let arguments = [
        "doctor",
        "--port",
        &port,
        "--license-api-url",
        "http://127.0.0.1:1",
    ];
    command.args(arguments).env("STATE_DIR", directory.path());
    command.current_dir(directory.path()).output().unwrap();
    let sent = SENT.load(Ordering::Relaxed) / (1024 * 1024);
    // A few answers of at most 16 MiB, and what the system keeps for a reader.
    assert!((1..200).contains(&sent), "{sent} MiB");
}

#[test]
fn no_text_of_an_answer_controls_the_terminal() {
    const ODD: &str = "\u{1b}]52;c;aGk=\u{7}\u{9b}31m\u{202e}x";
    let body = json!({
        "status": ODD, "standing": ODD, "message": ODD, "licenseKey": ODD, "tier": ODD,
        "reason": ODD, "featureKey": ODD, "available": true, "allowed": true, "detail": ODD,
        "features": [{"featureKey": ODD, "available": true, "reason": ODD}],
        "attempts": [{"result": ODD, "licenseKey": ODD, "errorMessage": ODD, "attemptedAt": ODD}],
        "components": {ODD: {"value": ODD, "state": ODD}}, "hardwareId": ODD, "verdict": ODD,
        "lastFailure": {"at": ODD, "reason": ODD, "message": ODD},
    });
    let body = body.to_string();
    let is_harmless = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
    for status in ["200 OK", "503 Service Unavailable"] {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let url = impostor(answer.into_bytes(), false);
        for arguments in COMMANDS {
            for json in [&[][..], &["--json"]] {
                let output = run(&[arguments, json].concat(), &url);
                let printed = [&output.stdout[..], &output.stderr].concat();
                let printed = String::from_utf8(printed).unwrap();
                assert!(
                    printed.chars().all(is_harmless),
                    "{arguments:?}: {printed:?}"
                );
                if !json.is_empty() && output.status.success() {
                    serde_json::from_slice::<Value>(&output.stdout).unwrap();
                }
            }
        }
        // The support file has the text of `/metrics` as well.
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("support.json");
        run(&["doctor", "--bundle", file.to_str().unwrap()], &url);
        let written = std::fs::read_to_string(file).unwrap();
        assert!(written.contains("/metrics"), "{written}");
        assert!(written.chars().all(is_harmless), "{written:?}");
    }
}
