//! The License Gate in the process, measured by Criterion (`crates/gate/benches/check.rs`).

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::plan::Plan;
use super::results::{Line, Point, Results};
use crate::program::{cargo, root, step};

/// Numbers of features.
const FEATURES: [u32; 4] = [10, 1_000, 10_000, 100_000];

/// A median and its confidence interval, in ns.
#[derive(Debug, PartialEq)]
struct Estimate {
    lower: f64,
    median: f64,
    upper: f64,
}

pub(super) fn measure(plan: &Plan, results: &mut Results) -> Result<()> {
    if !plan.is_release() {
        println!("skipped: it needs its own release build (cargo bench -p license-gate)");
        return Ok(());
    }
    let mut bench = cargo(&[
        "bench",
        "--locked",
        "-p",
        "license-gate",
        "--bench",
        "check",
    ]);
    if plan.is_quick {
        bench.args(["--", "--quick"]);
    }
    step("cargo bench -p license-gate", &mut bench)?;
    for (id, features) in [("gate-10", 10), ("gate-10000", 10_000)] {
        for ns in check(features)?.all() {
            results.add(id, ns)?;
        }
    }
    results.add("gate-100000", check(10)?.median / check(100_000)?.median)?;
    let [one, two] = [1, 2].map(|threads| read(&format!("check, {threads} concurrent threads")));
    results.add("gate-threads", two?.median / one?.median)?;
    let [bare, gated] =
        ["without the layer", "with the layer"].map(|how| read(&format!("axum request, {how}")));
    results.add("layer", (gated?.median - bare?.median) / 1_000.0)
}

/// The speed with more and more features, over the speed with 10; nothing without release builds.
pub(super) fn by_features(plan: &Plan) -> Result<Line> {
    let mut line = Line::new("Gate::check");
    if plan.is_release() {
        let few = check(10)?.median;
        for features in FEATURES {
            let ratio = few / check(features)?.median;
            line.points.push(Point::new(f64::from(features), &[ratio]));
        }
    }
    Ok(line)
}

fn check(features: u32) -> Result<Estimate> {
    read(&format!("check, {features} features, licensed"))
}

/// What Criterion has written about a benchmark.
fn read(benchmark: &str) -> Result<Estimate> {
    let directory: PathBuf = root().join("target/criterion").join(benchmark);
    let file = directory.join("new/estimates.json");
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read {}; run cargo xtask bench in-process",
            file.display()
        )
    })?;
    Estimate::parse(&text).with_context(|| format!("unexpected content of {}", file.display()))
}

impl Estimate {
    fn parse(text: &str) -> Option<Self> {
        let estimates: Value = serde_json::from_str(text).ok()?;
        let median = &estimates["median"];
        let interval = &median["confidence_interval"];
        Some(Self {
            lower: interval["lower_bound"].as_f64()?,
            median: median["point_estimate"].as_f64()?,
            upper: interval["upper_bound"].as_f64()?,
        })
    }

    fn all(&self) -> [f64; 3] {
        [self.lower, self.median, self.upper]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_its_interval_are_read() {
        let text = r#"{"mean":{"point_estimate":99.0},"median":{"confidence_interval":
            {"confidence_level":0.95,"lower_bound":11.5,"upper_bound":12.5},
            "point_estimate":12.0,"standard_error":0.1}}"#;
        let estimate = Estimate::parse(text).unwrap();
        assert_eq!(estimate.all(), [11.5, 12.0, 12.5]);
        assert_eq!(Estimate::parse(r#"{"mean":{"point_estimate":1.0}}"#), None);
        assert_eq!(Estimate::parse("<html>"), None);
    }
}
