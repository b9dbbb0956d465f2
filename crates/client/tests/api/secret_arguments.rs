//! Secrets come from files, standard input and prompts: arguments can be seen
//! by every user of a machine.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::database::Engine;
use crate::harness::Site;
use crate::program::Program;
use crate::vendor::Vendor;

const TOKEN: &str = "a-token-of-sixteen-characters";
const WARNING: &str = "every user of this machine can see the license key";

/// Runs a command with something on its standard input.
async fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_license-client"));
    command.args(arguments);
    let input = input.to_owned();
    let running = move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing closes it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(running).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_comes_from_standard_input_and_a_token_from_a_file() {
    let vendor = Vendor::start().await;
    let flags = [
        "--trusted-networks",
        "10.99.0.0/16",
        "--admin-token",
        TOKEN,
        "--license-trusted-keys",
        &vendor.trusted_keys(),
    ];
    let site = Site::start(Engine::Sqlite, &vendor.url, &flags).await;
    let key = vendor.issue_professional().await;
    let file = site.state_file("token");
    std::fs::write(&file, format!("\n{TOKEN}\n")).unwrap();
    let file = file.display().to_string();
    let at_site = ["--url", site.url.as_str(), "--admin-token-file", &file];

    let without = run(&["activate", "-", "--url", &site.url], &key).await;
    assert!(said(&without).contains("ADMIN_TOKEN"), "{}", said(&without));
    let input = format!(" {key}\nsomething else\n");
    let request = ["offline", "request", "activate", "-"];
    let request = run(&[&request[..], &at_site].concat(), &input).await;
    assert_eq!(request.status.code(), Some(0), "{}", said(&request));
    let activate = run(&[&["activate", "-"][..], &at_site].concat(), &input).await;
    assert_eq!(activate.status.code(), Some(0), "{}", said(&activate));
    assert!(!said(&activate).contains(WARNING), "{}", said(&activate));
    // A read sends no token, so that it shows what anyone may see.
    let status = run(&[&["status"][..], &at_site].concat(), "").await;
    assert!(said(&status).contains("FXSGHT-****"), "{}", said(&status));
    assert!(!said(&status).contains(&key));

    let argument = run(&[&["activate", &key][..], &at_site].concat(), "").await;
    assert_eq!(argument.status.code(), Some(0), "{}", said(&argument));
    let warnings = String::from_utf8(argument.stderr).unwrap();
    assert_eq!(warnings.lines().count(), 1, "{warnings}");
    assert!(
        warnings.contains(WARNING) && !warnings.contains(&key),
        "{warnings}"
    );
    let nothing = run(&[&["activate"][..], &at_site].concat(), &key).await;
    assert_eq!(nothing.status.code(), Some(1));
    assert!(said(&nothing).contains("- to read it from standard input"));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_as_an_argument_is_refused_by_every_command() {
    for command in [
        "serve", "status", "activate", "validate", "config", "doctor",
    ] {
        let output = run(&[command, "--admin-token", TOKEN], "").await;
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = said(&output);
        assert!(said.contains("--admin-token-file"), "{command}: {said}");
        assert!(!said.contains(TOKEN), "{command}: {said}");
    }
}

/// Waits until the terminal that `script` has opened for its child no longer shows what is typed.
fn until_silent(script: u32) {
    let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children"));
    let children = children.unwrap();
    let child = children.split_whitespace().next().unwrap();
    let terminal = std::fs::read_link(format!("/proc/{child}/fd/0")).unwrap();
    for _ in 0..1000 {
        let mut stty = Command::new("stty");
        let modes = stty.arg("-a").arg("-F").arg(&terminal).output().unwrap();
        if String::from_utf8(modes.stdout).unwrap().contains(" -echo ") {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the terminal shows what is typed");
}

/// What a terminal shows while a key is typed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_asks_for_the_key_and_does_not_show_it() {
    const KEY: &str = "FXSGHT-AAAA-BBBB-CCCC-DDDD";
    let asked = tokio::task::spawn_blocking(|| {
        let program = env!("CARGO_BIN_EXE_license-client");
        let command = format!("{program} activate --url http://127.0.0.1:1");
        let mut terminal = Command::new("script")
            .args([
                "--quiet",
                "--flush",
                "--return",
                "--command",
                &command,
                "/dev/null",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shown = Vec::new();
        let mut output = terminal.stdout.take().unwrap();
        let mut byte = [0];
        while !shown.ends_with(b"License key: ") && output.read(&mut byte).unwrap() == 1 {
            shown.push(byte[0]);
        }
        // The prompt comes before the terminal stops echoing; people type later.
        until_silent(terminal.id());
        let mut input = terminal.stdin.take().unwrap();
        input.write_all(format!("{KEY}\n").as_bytes()).unwrap();
        output.read_to_end(&mut shown).unwrap();
        terminal.wait().unwrap();
        String::from_utf8_lossy(&shown).into_owned()
    });
    let shown = asked.await.unwrap();
    assert!(shown.contains("typing error"), "the key is read: {shown}");
    assert!(!shown.contains("BBBB"), "{shown}");
    assert!(!shown.contains(WARNING), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_every_user_can_read_is_warned_of_and_a_group_may() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    for (mode, is_warned) in [(0o644, true), (0o440, false), (0o400, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let environment = [("ADMIN_TOKEN_FILE", file.display().to_string())];
        let mut program = Program::start_with(&[], &environment).await;
        program.terminate();
        let log = program.log();
        let warning = "every user of this machine can read the file named by ADMIN_TOKEN_FILE";
        assert_eq!(log.contains(warning), is_warned, "{mode:o}: {log}");
        assert!(!log.contains(TOKEN), "{log}");
    }
}

/// Answers every request with an empty object, and keeps what was sent.
fn overhear(listener: std::net::TcpListener) -> std::sync::mpsc::Receiver<String> {
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 64 * 1024];
            let mut length = 0;
            loop {
                length += stream.read(&mut request[length..]).unwrap();
                let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let wanted = head.split("content-length: ").nth(1);
                    let wanted =
                        wanted.map_or(0, |it| it.lines().next().unwrap().trim().parse().unwrap());
                    if body.len() >= wanted {
                        break;
                    }
                }
            }
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                          content-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_read_send_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let file = file.display().to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let heard = overhear(listener);
    for (command, is_change) in [
        (&["status"][..], false),
        (&["features"], false),
        (&["check", "module.map_view"], false),
        (&["limits", "cameras"], false),
        (&["attempts"], false),
        (&["hardware"], false),
        (&["health"], false),
        (&["validate"], true),
        (&["heartbeat"], true),
    ] {
        let at = ["--port", &port, "--admin-token-file", &file];
        let output = run(&[command, &at[..]].concat(), "").await;
        let requests: Vec<String> = heard.try_iter().collect();
        assert!(!requests.is_empty(), "{command:?}: {}", said(&output));
        let with_token = requests.iter().any(|it| it.contains(TOKEN));
        assert_eq!(with_token, is_change, "{command:?}: {requests:?}");
        let reads = requests.iter().filter(|it| it.starts_with("GET "));
        for read in reads {
            assert!(!read.to_lowercase().contains("authorization"), "{read}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_license_key_is_not_sent_to_an_address_without_a_listener() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    let key = "FXSGHT-2222-2222-2222-2222";
    let output = run(&["activate", "-", "--port", &port], key).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("no License Client is listening"),
        "{}",
        said(&output)
    );
    assert!(!said(&output).contains(key));
}
