//! The report: a table for the terminal, and the same results as a page.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::plots;
use super::results::{Plot, Results, Server};
use super::rows::{ROWS, Row, Target};
use super::statistics::Summary;
use super::thousands::thousands;
use super::wrk::PERCENTILES;
use crate::program::root;

/// The page, whose measured part is replaced.
const PAGE: &str = "docs/benchmarks/README.md";
/// The results, beside the page.
const RESULTS: &str = "results.json";
/// The lines around the measured part.
const BEGIN: &str = "<!-- bench: written by cargo xtask bench -->";
const END: &str = "<!-- bench: end -->";
/// The measured part before the first run.
#[cfg(test)]
const NOTHING: &str = "Not measured yet: run `cargo xtask bench`.\n";

/// The verdict on a row; targets apply to what is shipped.
fn verdict(results: &Results, row: &Row, summary: Summary) -> &'static str {
    match row.target.is_reached_by(summary.median) {
        Some(_) if !results.is_release() => "no meaning",
        Some(true) => "reached",
        Some(false) => "not reached",
        None => "–",
    }
}

/// The measured rows.
fn measured(results: &Results) -> impl Iterator<Item = (&'static Row, Summary)> {
    ROWS.iter().filter_map(|row| {
        let figure = results.figures.get(row.id)?;
        Some((row, Summary::of(&figure.rounds)?))
    })
}

/// The measured rows whose target was not reached.
pub(super) fn missed(results: &Results) -> Vec<&'static str> {
    let missed = measured(results)
        .filter(|(row, summary)| row.target.is_reached_by(summary.median) == Some(false));
    missed.map(|(row, _)| row.name).collect()
}

/// For the terminal: a row of the table in each line.
pub(super) fn as_text(results: &Results) -> String {
    let mut text = format!(
        "{:<76} {:>12} {:>21} {:>12}  verdict\n",
        "figure", "median", "min – max", "target"
    );
    for (row, summary) in measured(results) {
        let [figure, range, target] = cells(row, summary);
        let verdict = verdict(results, row, summary);
        let _ = writeln!(
            text,
            "{:<76} {figure:>12} {range:>21} {target:>12}  {verdict}",
            row.name
        );
    }
    text
}

/// The median, the range and the target.
fn cells(row: &Row, summary: Summary) -> [String; 3] {
    let unit = row.unit;
    let figure = format!("{} {unit}", number(summary.median));
    let range = format!("{} – {}", number(summary.min), number(summary.max));
    let target = match row.target {
        Target::AtLeast(bound) => format!("≥ {bound} {unit}"),
        Target::AtMost(bound) => format!("≤ {bound} {unit}"),
        Target::Any => "–".to_owned(),
    };
    [
        figure.trim_end().to_owned(),
        range,
        target.trim_end().to_owned(),
    ]
}

/// With three digits.
fn number(number: f64) -> String {
    match number.abs() {
        1_000.0.. => thousands(number),
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Writes results, plots and page into a directory.
pub(super) fn write(results: &Results, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    results.write(&directory.join(RESULTS))?;
    // The page shows what the file says.
    let results = Results::read(&directory.join(RESULTS))?;
    for plot in &results.plots {
        let file = directory.join(format!("{}.svg", plot.id));
        let svg = plots::draw(plot).with_context(|| format!("cannot draw {}", plot.id))?;
        std::fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let page = std::fs::read_to_string(root().join(PAGE))?;
    let page = with_measured(&page, &as_page(&results))?;
    std::fs::write(directory.join("README.md"), page)?;
    Ok(())
}

/// The page with another measured part.
fn with_measured(page: &str, measured: &str) -> Result<String> {
    let (before, _, after) = parts(page)?;
    Ok(format!("{before}{BEGIN}\n\n{measured}\n{END}{after}"))
}

/// What is before, in and after the measured part.
fn parts(page: &str) -> Result<(&str, &str, &str)> {
    let begin = page
        .split_once(BEGIN)
        .context("the page has no benchmark section")?;
    let (measured, after) = begin
        .1
        .split_once(END)
        .context("the benchmark section has no end marker")?;
    Ok((begin.0, measured, after))
}

/// The measured part of the page.
fn as_page(results: &Results) -> String {
    let mut page = conditions(results);
    page.push_str("\n| figure | median | min – max | target | verdict |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for (row, summary) in measured(results) {
        let [figure, range, target] = cells(row, summary);
        let verdict = verdict(results, row, summary);
        let name = row.name;
        let _ = writeln!(
            page,
            "| {name} | {figure} | {range} | {target} | {verdict} |"
        );
    }
    page.push_str("\nThe servers under load (medians):\n\n");
    page.push_str("| server | requests/s | CPU per request | 50 % | 99 % | 99.9 % |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for server in &results.servers {
        page.push_str(&server_row(server));
    }
    for plot in &results.plots {
        page.push_str(&plot_of_page(plot));
    }
    page
}

fn conditions(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "{}: version {} on {} ({} processors, {} MiB, {}; load before the run: {}); rounds: {}, \
         {} s each; {}.\n",
        machine.date,
        machine.version,
        machine.processor,
        machine.processors,
        thousands(machine.memory_mib as f64),
        machine.kernel,
        machine.load_before,
        results.rounds,
        results.seconds,
        machine.others.join(", "),
    );
    if results.is_quick || !results.is_release() {
        text.push_str("\n**A quick run or a dev build: these figures have no meaning.**\n");
    }
    text
}

fn server_row(server: &Server) -> String {
    let of = |of: &dyn Fn(&super::wrk::Measured) -> f64| {
        let rounds: Vec<f64> = server.rounds.iter().map(of).collect();
        Summary::of(&rounds).map_or(f64::NAN, |summary| summary.median)
    };
    let latency = |percentile: f64| {
        let at = PERCENTILES.iter().position(|it| *it == percentile);
        of(&|round| {
            at.and_then(|at| round.latency_ms.get(at))
                .copied()
                .unwrap_or(f64::NAN)
        })
    };
    format!(
        "| {} | {} | {:.1} µs | {:.2} ms | {:.2} ms | {:.2} ms |\n",
        server.name,
        thousands(of(&|round| round.requests_per_second)),
        of(&|round| round.cpu_us),
        latency(50.0),
        latency(99.0),
        latency(99.9),
    )
}

fn plot_of_page(plot: &Plot) -> String {
    let Plot {
        id, title, x, y, ..
    } = plot;
    format!("\n![{title}: {y} by {x}]({id}.svg)\n")
}

#[cfg(test)]
mod tests;
