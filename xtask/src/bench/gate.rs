//! nginx serving a small file: without a gate, with the License Client as the gate, and with
//! a minimal axum route that answers 204 as the gate.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Bench;
use super::measure::{measure, median};
use super::programs::{Program, bare_axum, build, license_client};
use crate::packages::{self, Need};
use crate::program::{free_port, root};

pub(super) fn run(command: &Bench) -> Result<()> {
    for program in ["wrk", "nginx"] {
        packages::ensure(&[Need::program(program)])?;
    }
    build()?;
    let directory = tempfile::tempdir()?;
    let bare = bare_axum()?;
    let client = license_client(directory.path(), &[])?;
    let nginx = nginx(directory.path(), client.port, bare.port)?;
    let mut ratios = Vec::new();
    for round in 1..=command.rounds {
        let mut rates = Vec::new();
        for (name, path, gate) in [
            ("no gate", "/open/", None),
            ("bare axum", "/bare/", Some(&bare)),
            ("license-client", "/ours/", Some(&client)),
        ] {
            let url = format!("http://127.0.0.1:{}{path}file", nginx.port);
            let measured = measure(&url, None, command.seconds, gate.map(Program::pid))?;
            println!("round {round}  {name:<15} {measured}");
            rates.push(measured.per_second);
        }
        if let [_, bare, ours] = rates[..] {
            ratios.push(ours / bare);
        }
    }
    println!(
        "nginx gated by license-client / by bare axum: median {:.2} of {} rounds",
        median(ratios),
        command.rounds
    );
    Ok(())
}

/// nginx with one worker and our rules.
fn nginx(directory: &Path, client: u16, bare: u16) -> Result<Program> {
    let shipped = root().join("deploy/nginx");
    let upstream = std::fs::read_to_string(shipped.join("upstream.conf"))?;
    // Both by address, with keep-alive.
    let ours = upstream.replace("license-client:8010", "license-clients");
    let groups = [("license-clients", client), ("bare", bare)].map(|(name, port)| {
        format!("upstream {name} {{ server 127.0.0.1:{port} max_fails=0; keepalive 16; }}\n")
    });
    let groups = groups.concat();
    // The same rules, for the other gate.
    let rules = std::fs::read_to_string(shipped.join("gate.conf"))?;
    let start = rules.find("location = /_license {").unwrap_or_default();
    let end = rules[start..]
        .find('}')
        .map_or(rules.len(), |at| start + at + 1);
    let bare_rules = rules[start..end].replace("/_license ", "/_bare ").replace(
        "http://$license_client/api/license/authorize",
        "http://bare/gate",
    );
    let port = free_port()?;
    let root = directory.display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {root}/{kind};\n"))
        .collect();
    std::fs::write(directory.join("file"), "behind the gate\n")?;
    let location =
        |path: &str, gate: &str| format!("location /{path}/ {{ {gate} alias {root}/; }}\n");
    let gated = "set $license_feature module.live_view; auth_request";
    let config = format!(
        "daemon off;\nworker_processes 1;\npid {root}/pid;\nerror_log stderr warn;\n\
         user root;\nevents {{}}\nhttp {{\naccess_log off;\nkeepalive_requests 100000000;\n\
         {scratch}{ours}{groups}\nserver {{ listen 127.0.0.1:{port};\n{rules}\n{bare_rules}\n{}{}{} }}\n}}\n",
        location("open", ""),
        location("bare", &format!("{gated} /_bare;")),
        location("ours", &format!("{gated} /_license;")),
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(directory);
    Program::start(command, port)
}
