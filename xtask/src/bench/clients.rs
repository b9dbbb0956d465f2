//! License Clients to measure.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::stage::{Running, Stage};

/// One thread serves, as in the servers that we compare with.
pub(super) const ONE_WORKER: (&str, &str) = ("TOKIO_WORKER_THREADS", "1");
/// The maximum number of features that a License Client accepts in a license.
pub(super) const MAX_FEATURES: u32 = 10_000;

/// One of our programs without a license, a License Server, or a token.
pub(super) fn alone(stage: &Stage, program: &str, state: &str) -> Command {
    let mut command = stage.command(program, state);
    command.env_remove("ADMIN_TOKEN_FILE").env("LOG", "warn");
    command
}

/// Features that the product itself does not have.
const EXTRA_FEATURES: &str = r#"
    catalogue = [
        { key = "module.extra_1", kind = "feature", name = "Extra 1" },
        { key = "module.extra_2", kind = "feature", name = "Extra 2" },
    ]
"#;

/// A License Client with a signed license for 12 features and 3 limits, and its License Server.
pub(super) fn licensed(stage: &Stage, settings: &[(&str, &str)]) -> Result<(Running, Running)> {
    let server = stage.server(&[("LOG", "warn")])?;
    let plans = stage.path("extra-features.toml");
    std::fs::write(&plans, EXTRA_FEATURES)?;
    stage.vendor(&["plans", "apply", &plans.display().to_string()])?;
    let key = stage.issue(&["--with", "module.extra_1", "--with", "module.extra_2"])?;
    let settings = [&[ONE_WORKER, ("LOG", "warn")], settings].concat();
    let client = stage.client(server.port, "client", &settings)?;
    client.activate(&key)?;
    Ok((client, server))
}

/// A License Client with so many licensed features. It accepts unsigned licenses, because signed
/// ones are limited to 40 KiB.
pub(super) fn with_features(stage: &Stage, features: u32) -> Result<Running> {
    let port = scripted_server(&license_with(features))?;
    let mut command = stage.command("license-client", &format!("features-{features}"));
    command
        .envs([ONE_WORKER, ("LOG", "warn")])
        .env("LICENSE_API_URL", format!("http://127.0.0.1:{port}/api"));
    let client = stage.serve(command)?;
    client.activate("FXSGHT-BNCH-BNCH-BNCH-BNCH")?;
    Ok(client)
}

fn license_with(features: u32) -> Value {
    let keys: Vec<String> = (1..features)
        .map(|number| format!("module.feature_{number}"))
        .chain(["module.analytics_advanced".to_owned()])
        .collect();
    json!({
        "licenseKey": "FXSGHT-BNCH-BNCH-BNCH-BNCH",
        "tier": "enterprise",
        "status": "active",
        "expiresAt": "2099-12-31T00:00:00Z",
        "enabledFeatures": keys,
    })
}

/// A License Server that answers every call with this license, until this command ends.
fn scripted_server(license: &Value) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let data = json!({"isValid": true, "license": license, "gracePeriodActive": false});
    let body = json!({"success": true, "data": data}).to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The License Client reports a call that failed.
            if let Err(error) = answer(stream, &body) {
                eprintln!("warning: scripted License Server: {error}");
            }
        }
    });
    Ok(port)
}

/// Reads one request, and answers it.
fn answer(stream: TcpStream, body: &str) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink())?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    Ok(())
}
