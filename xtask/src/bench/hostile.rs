//! The maximum cost of a request: expensive paths, queries, headers and bodies, on every open
//! route of the License Client and of the License Server. Heads have 4 KiB, or the maximum size of
//! both services, and bodies the maximum size of the route.

mod bodies;
mod case;
mod gateway;
mod measure;
mod routes;

use std::fmt::Write as _;

use anyhow::{Result, bail};

use self::gateway::gateway;
use self::measure::measure;
use self::routes::{open, probes, server_routes};
use super::programs::{license_client, license_server};
use crate::program::{cargo, step};

/// Routes in the table, with two patterns each.
const ROUTES: u32 = 1_000;

pub(super) fn run() -> Result<()> {
    let build = ["build", "--release", "--locked", "--bins"];
    let packages = ["-p", "license-client", "-p", "license-server"];
    step("release build", cargo(&build).args(packages))?;
    let directory = tempfile::tempdir()?;
    let table = directory.path().join("routes.toml");
    std::fs::write(&table, routes())?;
    let table = table.display().to_string();
    let with_table = license_client(&directory.path().join("a"), &["--gate-routes", &table])?;
    let without = license_client(&directory.path().join("b"), &[])?;
    let server = license_server(&directory.path().join("c"))?;
    let mut over = Vec::new();
    for (client, group, cases) in [
        (&with_table, "gateway, with a table", gateway()),
        (&without, "gateway, without a table", gateway()),
        (&without, "probes", probes()),
        (&without, "other open routes", open()),
        (&server, "License Server", server_routes()),
    ] {
        let mut measured = Vec::new();
        for case in cases {
            let cpu_us = measure(client, &case.request)?;
            if cpu_us > case.limit_us() {
                over.push(format!("{group}: {} takes {cpu_us:.0} µs", case.name));
            }
            measured.push((cpu_us, case.name));
        }
        measured.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("{group}: {} requests, the most expensive", measured.len());
        for (cpu_us, name) in measured.iter().take(8) {
            println!("  {cpu_us:>7.1} µs  {name}");
        }
    }
    if !over.is_empty() {
        bail!("over the limit:\n{}", over.join("\n"));
    }
    Ok(())
}

fn routes() -> String {
    let mut table = String::new();
    for n in 0..ROUTES {
        for pattern in [format!("/api/v{}/part-{n}/**", n % 7), format!("/p{n}/*/x")] {
            let _ = writeln!(
                table,
                "[[route]]\npath = \"{pattern}\"\nmethods = [\"GET\"]\nfeature = \"f{n}\""
            );
        }
    }
    table.push_str("[[route]]\npath = \"/*/*/*/export\"\nfeature = \"export\"\n");
    table
}
