//! Load by wrk: requests per second, latencies, and the server's CPU time.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::process::cpu_ns;
use crate::program::output;
use crate::stage::{Running, Stage};

/// The percentiles of latencies that are measured.
pub(super) const PERCENTILES: [f64; 6] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9];
/// The place of the 99th among them.
const P99: usize = 4;
/// Precedes the results in wrk's output.
const MARK: &str = "measured: ";
/// Connections of every measurement that does not vary them.
pub(super) const CONNECTIONS: u32 = 32;

/// A request to a server.
pub(super) struct Question {
    /// The server, and what it is asked.
    pub(super) name: &'static str,
    url: String,
    script: PathBuf,
    pid: u32,
}

/// A server under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) requests_per_second: f64,
    /// The server's CPU time per request, in µs.
    pub(super) cpu_us: f64,
    /// At [`PERCENTILES`].
    pub(super) latency_ms: Vec<f64>,
}

impl Question {
    /// A request without a body is a GET, any other a POST of JSON.
    pub(super) fn new(
        stage: &Stage,
        name: &'static str,
        server: &Running,
        path: &str,
        body: &str,
    ) -> Result<Self> {
        let script = stage.path(&format!("{}.lua", name.replace([' ', ','], "-")));
        std::fs::write(&script, lua(body))?;
        Ok(Self {
            name,
            url: format!("http://127.0.0.1:{}{path}", server.port),
            script,
            pid: server.pid(),
        })
    }

    /// The same request to a server behind another, whose CPU time counts.
    pub(super) fn counting(self, pid: u32) -> Self {
        Self { pid, ..self }
    }

    /// Asks on so many connections for so long.
    pub(super) fn ask(&self, connections: u32, seconds: u64) -> Result<Measured> {
        let mut wrk = self.load(connections, seconds);
        let before = cpu_ns(self.pid)?;
        let text = output(&mut wrk)?;
        let after = cpu_ns(self.pid)?;
        let told = Told::parse(&text).with_context(|| self.name)?;
        Ok(told.measured(after.saturating_sub(before)))
    }

    /// The command that asks.
    pub(super) fn load(&self, connections: u32, seconds: u64) -> Command {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", "--timeout", "10s", "-c", &connections.to_string()]);
        wrk.args(["-d", &format!("{seconds}s"), "-s"]);
        wrk.arg(&self.script).arg(&self.url);
        wrk
    }
}

impl Measured {
    pub(super) fn p99_ms(&self) -> f64 {
        self.latency_ms.get(P99).copied().unwrap_or(f64::NAN)
    }
}

/// What our script prints.
#[derive(Debug, Deserialize)]
struct Told {
    requests: f64,
    us: f64,
    errors: u64,
    latency_us: Vec<f64>,
}

impl Told {
    fn parse(text: &str) -> Result<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix(MARK));
        let told: Self = serde_json::from_str(line.context("wrk printed no results")?)?;
        ensure!(told.errors == 0, "wrk reported errors:\n{text}");
        ensure!(told.requests > 0.0, "no request was answered:\n{text}");
        Ok(told)
    }

    fn measured(self, cpu_ns: u64) -> Measured {
        Measured {
            requests_per_second: rounded(self.requests / self.us * 1e6, 0),
            cpu_us: rounded(cpu_ns as f64 / 1e3 / self.requests, 3),
            latency_ms: self
                .latency_us
                .iter()
                .map(|us| rounded(us / 1e3, 3))
                .collect(),
        }
    }
}

/// With so many decimal places, so that results are easy to read.
pub(super) fn rounded(number: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    (number * scale).round() / scale
}

/// The script of a request.
fn lua(body: &str) -> String {
    let mut lua = String::new();
    if !body.is_empty() {
        let _ = writeln!(
            lua,
            "wrk.method = 'POST'\nwrk.body = '{body}'\n\
             wrk.headers['Content-Type'] = 'application/json'"
        );
    }
    let percentiles = PERCENTILES.map(|it| it.to_string()).join(", ");
    let _ = writeln!(
        lua,
        "done = function(summary, latency)\n\
         local e, at = summary.errors, {{}}\n\
         for i, p in ipairs({{{percentiles}}}) do at[i] = latency:percentile(p) end\n\
         io.write(string.format('{MARK}{{\"requests\":%d,\"us\":%d,\"errors\":%d,\"latency_us\":[%s]}}\\n',\n\
         summary.requests, summary.duration,\n\
         e.connect + e.read + e.write + e.status + e.timeout, table.concat(at, ',')))\n\
         end"
    );
    lua
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Running 1s test @ http://127.0.0.1:8001/\n  \
        1 threads and 32 connections\nRequests/sec:  105432.10\n\
        measured: {\"requests\":200000,\"us\":2000000,\"errors\":0,\"latency_us\":[310,350,400,450,540,1200]}\n";

    #[test]
    fn results_of_wrk_become_rates_latencies_and_cpu_time_of_a_request() {
        let measured = Told::parse(PRINTED).unwrap().measured(1_840_000_000);
        assert_eq!(measured.requests_per_second, 100_000.0);
        assert_eq!(measured.cpu_us, 9.2);
        assert_eq!(measured.latency_ms, [0.31, 0.35, 0.4, 0.45, 0.54, 1.2]);
        assert_eq!(measured.p99_ms(), 0.54);
        assert_eq!(PERCENTILES[P99], 99.0);
    }

    #[test]
    fn errors_and_missing_results_are_failures() {
        let refused = PRINTED.replace("\"errors\":0", "\"errors\":3");
        let error = Told::parse(&refused).unwrap_err().to_string();
        assert!(error.starts_with("wrk reported errors"), "{error}");
        let idle = PRINTED.replace("200000", "0");
        assert!(Told::parse(&idle).is_err());
        let error = Told::parse("Requests/sec: 12").unwrap_err().to_string();
        assert_eq!(error, "wrk printed no results");
    }
}
