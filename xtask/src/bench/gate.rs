//! nginx serving a small file: without a gate, with the License Client as the gate, and with
//! a minimal axum route that answers 204 as the gate.

use anyhow::{Context as _, Result};

use super::clients::licensed;
use super::peers::{bare_axum, nginx};
use super::plan::Plan;
use super::results::Results;
use super::throughput::show;
use super::wrk::{CONNECTIONS, Question};
use crate::program::{free_port, root};
use crate::stage::{Running, Size, Stage};

/// In each round.
pub(super) const MEASUREMENTS: u64 = 3;

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let bare = bare_axum(&stage)?;
    let (client, _server) = licensed(&stage, &[])?;
    let nginx = gated_nginx(&stage, client.port, bare.port)?;
    let question = |name, path: &str, gate: &Running| {
        let question = Question::new(&stage, name, &nginx, &format!("{path}/file"), "")?;
        anyhow::Ok(question.counting(gate.pid()))
    };
    let questions = [
        question("nginx without a gate", "/open", &nginx)?,
        question("nginx gated by bare axum", "/bare", &bare)?,
        question("nginx gated by the License Client", "/ours", &client)?,
    ];
    for round in 1..=plan.rounds {
        let mut rates = Vec::new();
        for question in &questions {
            let measured = question.ask(CONNECTIONS, plan.seconds)?;
            show(round, question.name, &measured);
            rates.push(measured.requests_per_second);
            results.add_server(question.name, measured);
        }
        if let [_, bare, ours] = rates[..] {
            results.add("gate-rate", ours / bare)?;
        }
    }
    Ok(())
}

/// nginx with one worker and our rules.
fn gated_nginx(stage: &Stage, client: u16, bare: u16) -> Result<Running> {
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
    let (_, block) = rules
        .split_once("location = /_license {")
        .context("deploy/nginx/gate.conf has no location /_license")?;
    let (block, _) = block.split_once('}').unwrap_or((block, ""));
    let bare_rules = block.replace(
        "http://$license_client/api/license/authorize",
        "http://bare/gate",
    );
    let port = free_port()?;
    let directory = stage.path("files");
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("file"), "behind the gate\n")?;
    let files = directory.display();
    let location =
        |path: &str, gate: &str| format!("location /{path}/ {{ {gate} alias {files}/; }}\n");
    let gated = "set $license_asked module.map_view; auth_request";
    let http = format!(
        "{ours}{groups}\nserver {{ listen 127.0.0.1:{port};\n{rules}\n\
         location = /_bare {{{bare_rules}}}\n{}{}{} }}\n",
        location("open", ""),
        location("bare", &format!("{gated} /_bare;")),
        location("ours", &format!("{gated} /_license;")),
    );
    nginx(stage, port, &http)
}
