//! What was measured: the content of `results.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::plan::Plan;
use super::rows::ROWS;
use super::statistics::Summary;
use super::wrk::{Measured, rounded};

/// All measurements of one run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Results {
    pub(super) machine: Machine,
    /// `release` or `dev`.
    pub(super) profile: String,
    /// Everything was measured only briefly.
    pub(super) is_quick: bool,
    pub(super) rounds: u64,
    /// Of each measurement of requests.
    pub(super) seconds: u64,
    /// By the id of the row.
    pub(super) figures: BTreeMap<String, Figure>,
    /// Each server in each round, in the order of the report.
    pub(super) servers: Vec<Server>,
    pub(super) plots: Vec<Plot>,
}

/// A figure of the table.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Figure {
    /// For readers of the file.
    median: f64,
    pub(super) rounds: Vec<f64>,
}

/// A server under load.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) rounds: Vec<Measured>,
}

/// How something grows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plot {
    /// Name of the SVG file, without its extension.
    pub(super) id: String,
    pub(super) title: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) lines: Vec<Line>,
}

/// A line of a plot.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// A point of a line, in all rounds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) x: f64,
    median: f64,
    pub(super) rounds: Vec<f64>,
}

impl Results {
    pub(super) fn new(plan: &Plan, machine: Machine) -> Self {
        Self {
            machine,
            profile: plan.profile_name().to_owned(),
            is_quick: plan.is_quick,
            rounds: plan.rounds,
            seconds: plan.seconds,
            figures: BTreeMap::new(),
            servers: Vec::new(),
            plots: Vec::new(),
        }
    }

    /// Adds one round of a figure.
    pub(super) fn add(&mut self, id: &str, number: f64) -> Result<()> {
        ensure!(ROWS.iter().any(|row| row.id == id), "no row is called {id}");
        let figure = self.figures.entry(id.to_owned()).or_default();
        figure.rounds.push(rounded(number, 4));
        figure.median = median(&figure.rounds);
        Ok(())
    }

    /// Adds one round of a server.
    pub(super) fn add_server(&mut self, name: &str, measured: Measured) {
        match self.servers.iter_mut().find(|it| it.name == name) {
            Some(server) => server.rounds.push(measured),
            None => self.servers.push(Server {
                name: name.to_owned(),
                rounds: vec![measured],
            }),
        }
    }

    /// Whether these are the figures of what is shipped.
    pub(super) fn is_release(&self) -> bool {
        self.profile == "release"
    }

    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot parse {}", file.display()))
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Line {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            points: Vec::new(),
        }
    }

    /// Adds one round of a point.
    pub(super) fn add(&mut self, x: f64, y: f64) {
        let at = match self.points.iter().position(|point| point.x == x) {
            Some(at) => at,
            None => {
                self.points.push(Point {
                    x,
                    median: 0.0,
                    rounds: Vec::new(),
                });
                self.points.len() - 1
            }
        };
        let point = &mut self.points[at];
        point.rounds.push(rounded(y, 4));
        point.median = median(&point.rounds);
    }
}

impl Point {
    pub(super) fn new(x: f64, rounds: &[f64]) -> Self {
        Self {
            x,
            median: median(rounds),
            rounds: rounds.to_vec(),
        }
    }

    pub(super) fn summary(&self) -> Option<Summary> {
        Summary::of(&self.rounds)
    }
}

fn median(rounds: &[f64]) -> f64 {
    Summary::of(rounds).map_or(0.0, |summary| rounded(summary.median, 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_collect_their_rounds() {
        let mut line = Line::new("bare axum");
        for (x, y) in [(1.0, 10.0), (2.0, 20.0), (1.0, 12.0), (2.0, 24.0)] {
            line.add(x, y);
        }
        let expected = [
            Point::new(1.0, &[10.0, 12.0]),
            Point::new(2.0, &[20.0, 24.0]),
        ];
        assert_eq!(line.points, expected);
        assert_eq!(line.points[1].median, 22.0);
    }

    #[test]
    fn figures_without_a_row_are_refused() {
        let mut results = Results::new(&Plan::quick(), Machine::default());
        results.add("start", 12.0).unwrap();
        results.add("start", 14.0).unwrap();
        assert_eq!(results.figures["start"].median, 13.0);
        let error = results.add("sart", 12.0).unwrap_err().to_string();
        assert_eq!(error, "no row is called sart");
    }
}
