//! Attacks by a website through an operator's browser.

use std::process::Command;

use anyhow::{Result, ensure};

use super::Outcome;
use crate::http::request;
use crate::packages::{self, Need};
use crate::program::{answers, free_port, now, root, stop};
use crate::stage::{Running, Stage, TOKEN, UNTRUSTED};

pub(super) fn lockout(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let client = stage.client(server.port, "site", UNTRUSTED)?;
    let mut seen = Vec::new();
    let mut held = true;
    for (name, running, method, path) in [
        ("client", &client, "POST", "/api/license/validate"),
        ("server", &server, "GET", "/api/admin/licenses"),
    ] {
        for _ in 0..stage.sized(20, 200) {
            let answer = request(running.port, method, path, &[], "")?;
            ensure!(answer.status != 200, "{path} needs no token");
        }
        let after_nothing = sign_in(running, TOKEN)?;
        for _ in 0..stage.sized(60, 200) {
            sign_in(running, "wrong-0123456789abcdef")?;
        }
        let after_wrong = sign_in(running, TOKEN)?;
        held &= after_nothing == 303 && after_wrong == 303;
        seen.push(format!(
            "{name}: {after_nothing} after calls without a token, {after_wrong} after sign-ins \
             with a wrong token"
        ));
    }
    Ok(Outcome::new(held, seen.join("; ")))
}

/// The status of a sign-in: 303 is a success.
fn sign_in(running: &Running, token: &str) -> Result<u16> {
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = format!("token={token}");
    Ok(request(running.port, "POST", "/console/sign-in", &[form], &body)?.status)
}

pub(super) fn framing(stage: &Stage) -> Result<Outcome> {
    let server = stage.server(&[])?;
    let client = stage.client(server.port, "site", &[])?;
    let mut bare = Vec::new();
    for (name, running, paths) in [
        (
            "client",
            &client,
            [
                "/",
                "/docs/",
                "/docs/index.css",
                "/openapi.json",
                "/metrics",
                "/nowhere",
            ],
        ),
        (
            "server",
            &server,
            [
                "/",
                "/docs/",
                "/docs/index.css",
                "/openapi.json",
                "/livez",
                "/nowhere",
            ],
        ),
    ] {
        for path in paths {
            let answer = request(running.port, "GET", path, &[], "")?;
            let policy = answer.header("content-security-policy").unwrap_or_default();
            let is_guarded = policy.contains("frame-ancestors 'none'")
                && answer.header("x-content-type-options") == Some("nosniff");
            if !is_guarded {
                bare.push(format!("{name} {path}"));
            }
        }
    }
    let seen = match bare.as_slice() {
        [] => "all responses forbid framing".to_owned(),
        bare => format!("allowed by {}", bare.join(", ")),
    };
    Ok(Outcome::new(bare.is_empty(), seen))
}

pub(super) fn rebinding(stage: &Stage) -> Result<Outcome> {
    packages::ensure(&[Need::program("nginx")])?;
    let server = stage.server(&[])?;
    let key = stage.issue(&[])?;
    let client = stage.client(server.port, "site", &[("ALLOWED_HOSTS", "vms.example")])?;
    client.activate(&key)?;
    let port = free_port()?;
    let mut nginx = nginx(stage, client.port, port)?;
    let asked = || -> Result<Outcome> {
        let start = now();
        while !answers(port) {
            ensure!(start.elapsed().as_secs() < 10, "nginx did not start");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let same = ("Sec-Fetch-Site", "same-origin");
        let mut statuses = Vec::new();
        for host in ["evil.example", "evil.example:8080"] {
            let origin = format!("http://{host}");
            for (method, path) in [
                ("GET", "/api/license/status"),
                ("POST", "/api/license/validate"),
                ("POST", "/api/license/deactivate"),
            ] {
                let headers = [("Host", host), ("Origin", origin.as_str()), same];
                statuses.push(request(port, method, path, &headers, "")?.status);
            }
        }
        let right = [
            ("Host", "vms.example:8443"),
            ("Origin", "http://vms.example:8443"),
        ];
        let right = request(port, "POST", "/api/license/validate", &right, "")?.status;
        let standing = client.standing()?;
        let held = statuses.iter().all(|it| *it == 421) && right == 200 && standing == "active";
        let seen = format!("evil.example: {statuses:?}, the correct name: {right}, {standing}");
        Ok(Outcome::new(held, seen))
    };
    let outcome = asked();
    stop(&mut nginx)?;
    outcome
}

/// nginx with the shipped rules, but other addresses.
fn nginx(stage: &Stage, client: u16, port: u16) -> Result<std::process::Child> {
    let shipped = root().join("deploy/nginx");
    let upstream = std::fs::read_to_string(shipped.join("upstream.conf"))?;
    let upstream = upstream.replace("license-client:8010", &format!("127.0.0.1:{client}"));
    let directory = stage.path("nginx");
    std::fs::create_dir(&directory)?;
    let here = directory.display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
        .collect();
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {here}/pid;\nerror_log {here}/log warn;\nevents {{}}\n\
         http {{\naccess_log off;\n{scratch}{upstream}\n\
         server {{ listen 127.0.0.1:{port}; include {}/api.conf; }}\n}}\n",
        shipped.display()
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(&directory);
    Ok(command.spawn()?)
}
