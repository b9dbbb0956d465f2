//! The feature check compared with a minimal axum route.

use anyhow::Result;

use super::Bench;
use super::measure::{measure, median};
use super::programs::{bare_axum, build, license_client};
use crate::packages::{self, Need};

const PATH: &str = "/api/license/feature/check";

pub(super) fn run(command: &Bench) -> Result<()> {
    packages::ensure(&[Need::program("wrk")])?;
    build()?;
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("post.lua");
    std::fs::write(
        &script,
        "wrk.method = \"POST\"\n\
         wrk.body = '{\"featureKey\":\"module.analytics_advanced\"}'\n\
         wrk.headers[\"Content-Type\"] = \"application/json\"\n",
    )?;
    let bare = bare_axum()?;
    let client = license_client(directory.path(), &[])?;
    let mut ratios = Vec::new();
    for round in 1..=command.rounds {
        let [bare, client] = [("bare axum", &bare), ("license-client", &client)].map(
            |(name, program)| -> Result<f64> {
                let url = format!("http://127.0.0.1:{}{PATH}", program.port);
                let measured = measure(&url, Some(&script), command.seconds, Some(program.pid()))?;
                println!("round {round}  {name:<15} {measured}");
                Ok(measured.per_second)
            },
        );
        ratios.push(client? / bare?);
    }
    println!(
        "license-client / bare axum: median {:.2} of {} rounds",
        median(ratios),
        command.rounds
    );
    Ok(())
}
