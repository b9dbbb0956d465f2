//! The maximum cost of a request: expensive paths, queries, headers and bodies, on every open
//! route of the License Client and of the License Server. Heads have 4 KiB, or the maximum size of
//! both services, and bodies the maximum size of the route. The License Client is measured without a
//! license, and with the largest one at an uncertain time.

mod bodies;
mod case;
mod gateway;
mod largest;
mod measure;
mod routes;

use std::fmt::Write as _;

use anyhow::Result;

use self::case::Case;
use self::gateway::gateway;
use self::largest::largest;
use self::measure::cpu_us;
use self::routes::{open, probes, server_routes};
use super::clients::alone;
use super::plan::Plan;
use super::results::Results;
use crate::stage::{Running, Size, Stage};

/// Routes in the table, with two patterns each.
const ROUTES: u32 = 1_000;
/// Requests of each kind.
const REQUESTS: u32 = 100;

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    let stage = Stage::new(Size::Small, plan.profile)?;
    let table = stage.path("routes.toml");
    std::fs::write(&table, routes())?;
    let mut with_table = alone(&stage, "license-client", "a");
    with_table.env("GATE_ROUTES", &table);
    let with_table = stage.serve(with_table)?;
    let without = stage.serve(alone(&stage, "license-client", "b"))?;
    let server = stage.serve(alone(&stage, "license-server", "c"))?;
    let largest = largest(&stage)?;
    let mut over = 0_u32;
    for (program, row, group, cases) in [
        (
            &with_table,
            "hostile-gateway",
            "gateway, with a table",
            gateway(),
        ),
        (
            &without,
            "hostile-gateway",
            "gateway, without a table",
            gateway(),
        ),
        (&without, "hostile-probe", "probes", probes()),
        (&without, "hostile-open", "other open routes", open()),
        (
            &largest,
            "hostile-largest-gateway",
            "gateway, with the largest license and an uncertain time",
            gateway(),
        ),
        (
            &largest,
            "hostile-largest-open",
            "other open routes, with the largest license and an uncertain time",
            open(),
        ),
        (&server, "hostile-server", "License Server", server_routes()),
    ] {
        let measured = measure_all(program, cases, plan.sized(REQUESTS / 20, REQUESTS))?;
        println!("{group}: the most expensive of {} requests", measured.len());
        for (cpu_us, case) in measured.iter().take(8) {
            println!("  {cpu_us:>7.1} µs  {}", case.name);
        }
        let is_over = |(us, case): &&(f64, Case)| plan.is_release() && *us > case.limit_us();
        for (cpu_us, case) in measured.iter().filter(is_over) {
            let (name, limit) = (&case.name, case.limit_us());
            println!("  over its limit of {limit} µs: {name} takes {cpu_us:.0} µs");
            over += 1;
        }
        if let Some((most, _)) = measured.first() {
            results.add(row, *most)?;
        }
    }
    match plan.is_release() {
        true => results.add("hostile-over", f64::from(over)),
        false => Ok(()),
    }
}

/// The CPU time of each request in µs, the most expensive first.
fn measure_all(program: &Running, cases: Vec<Case>, requests: u32) -> Result<Vec<(f64, Case)>> {
    let mut measured = Vec::new();
    for case in cases {
        measured.push((cpu_us(program, &case.request, requests)?, case));
    }
    measured.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(measured)
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
